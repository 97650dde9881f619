"""Every file of `examples/` does what its page says, through the official clients, against a real server."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from antiphon import app, settings, wire
from antiphon.ports import Finish, Text, Turn
from serving import PATIENCE

EXAMPLES = Path(__file__).parents[2] / "examples"
JOKE = re.escape("Why do programmers prefer dark mode? Because light attracts bugs.")

# What each program prints, as a regular expression.
PRINTS = {
    "triggers.py": r"active 20\d\d-.*\ncompleted The report: all is well.\npaused",
    "triggers.mjs": r"active 20\d\d-.*\ncompleted The report: all is well.\npaused",
    "quickstart.py": JOKE,
    "quickstart.mjs": JOKE,
    "quickstart.sh": rf'\{{"status":"completed",.*"text":"{JOKE}".*\}}',
    "conversation.py": "Your name is Phil.",
    "conversation.mjs": "Your name is Phil.",
    "timeline.py": r"POST: \['model_output'\]\nGET: \['user_input', 'model_output'\]\ninput: \['user_input'\]",
    "branches.py": "Your name is Phil. Your name is Phil.",
    "stateless.py": rf"\['thought', 'model_output'\]\n{JOKE}",
    "read_thought.py": "3 and 4 make 7.",
    "list_and_move.sh": r'\{"interactions":\[\{[^\n]*\}\{"interaction_ids":\["v1_[0-9a-f]+"\]\}',
    "stream.py": rf"{JOKE}\ncompleted: \d+ tokens",
    "stream.mjs": rf"{JOKE}\ncompleted",
    "stream.sh": r"event: interaction.created\n.*event: interaction.completed\n.*event: done\ndata: \[DONE\]",
    "resume.py": JOKE,
    "background.py": "completed The report: all is well.",
    "background.mjs": "completed The report: all is well.",
    "cancel.py": r"cancelled 'It was.*'",
    "functions.py": r"requires_action get_weather \{'city': 'Paris'\}\ncompleted It is 21 degrees in Paris.",
    "functions.mjs": r"requires_action get_weather \{ city: 'Paris' \}\ncompleted It is 21 degrees in Paris.",
    "research.py": r"\*\*\*Generating research plan\*\*\*\n.*An antiphon is a sung response\. \[1\].*\*\*Sources\*\*\n.*",
    "research.mjs": r"An antiphon is a sung response\. <- https://example.org/antiphon",
    "research_plan.py": r"# Research plan: What is an antiphon.*is a sung response\. \[1\].*\*\*Sources\*\*\n.*",
    "server_tool.py": "google_search_call\ngoogle_search_result\nmodel_output\nAn antiphon is sung in answer.",
    "tool_search.py": "tool_search_call\ntool_search_result\nfunction_call",
    "structured_output.py": "Pancakes",
    "draw.py": r"A yellow sun stands over a calm sea.\n\n\(Drawn as a vector picture by .*\.\)\nsun.jpg image/jpeg",
    "draw.mjs": "sun.png image/png",
    "draw_edit.py": "yellow.png image/png\nred.png image/png",
    "decisions.py": r"urgent 0.9 0.9\nabout repair 0.9\nanger 1.9\d* 0.9\n\d+ tokens, and of them read before: \d+",
    "decisions.mjs": r"urgent 0.9\nabout repair",
    "speech.py": "audio/l16 24000 audio",
    "speech.mjs": "true joke.mp3",
    "speech_two_speakers.py": "audio/wav",
    "voices.py": r"en_US-joe-medium en-US - A voice of this machine.\n(\w+ en-US - Spoken by [^\n]*\n){2}Kore",
    "thinking.py": r"3 and 4 make 7. -> Seven.\n5 tokens of thought",
    "errors.py": r"Error code: 400 .*Missing input.*\nError code: 404 .*Did you mean.*\n"
    r"error event: service_unavailable The model has left.\nfailed",
}
# Those with a test of their own, below.
OTHERS = {"antiphon.toml", "scripted.toml", "test_my_program.py", "notes_search.py", "echo_model.py", "keys.sh"} | {
    "webhook_receiver.py",
    "webhook_config.py",
    *("document.py", "document.mjs", "image.py", "image.mjs"),  # test_document_examples.py
    *("files.py", "files.mjs", "files.sh"),  # test_files_examples.py
    "audio.py",  # these five: test_hearing_examples.py
    "audio.mjs",
    "transcribe.py",
    "transcribe.mjs",
    "video.py",
}


def load(name: str) -> Any:
    """An example as a module."""
    specification = importlib.util.spec_from_file_location(Path(name).stem, EXAMPLES / name)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_every_example_is_tried_here():
    there = {path.name for path in EXAMPLES.iterdir() if path.is_file()}
    assert there == set(PRINTS) | OTHERS


@pytest.mark.sdk
@pytest.mark.parametrize("name", PRINTS)
def test_an_example_prints_what_its_page_promises(run_example, name):
    assert re.fullmatch(PRINTS[name], run_example(name).strip(), re.DOTALL)


@pytest.mark.sdk
def test_the_test_of_ones_own_program_passes():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(EXAMPLES / "test_my_program.py")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout


def test_keys_let_each_project_see_its_own(server, run_example):
    keys = ("--api-key", "kitchen:a-long-secret-1", "--api-key", "garden:a-long-secret-2")
    locked = server("", *keys)
    kitchen = {"x-goog-api-key": "a-long-secret-1"}
    made = locked.request("POST", "/v1/interactions", {"model": "scripted", "input": "Hi"}, kitchen).json()
    refused, *seen = re.findall(r"\{.*?\}(?=\{|$)", run_example("keys.sh", server=locked).strip())
    assert json.loads(refused)["error"]["code"] == "authentication"
    first, second, other = map(json.loads, seen)
    assert first == second and [one["id"] for one in first["interactions"]] == [made["id"]]
    assert other == {}


def test_a_tool_of_ones_own_is_served_under_the_apis_name(server):
    script = """
    [[turns]]
    when = "canon"
    calls = [{ name = "google_search", arguments = { queries = ["canon"] } }]
    """
    mine = server(script, "--tool", "google_search=notes_search:NotesSearch", PYTHONPATH=str(EXAMPLES))
    call, result, _ = mine.create("What is a canon?", tools=[{"type": "google_search"}])["steps"]
    assert call["arguments"] == {"queries": ["canon"]}
    assert result["call_id"] == call["id"]
    assert result["result"] == [{"title": "Canon", "snippet": "One voice follows another."}]


def test_the_smallest_back_end_answers():
    async def answer():
        question = wire.UserInputStep(content=[wire.TextContent(text="hello")])
        return [
            delta
            async for delta in load("echo_model.py")
            .Echo()
            .stream(Turn(model="echo", steps=[question], conversation="c"))
        ]

    text, finish = asyncio.run(answer())
    assert text == Text("HELLO") and isinstance(finish, Finish)


@pytest.fixture
def upstream_key(monkeypatch):
    """The variable that the example takes its key from."""
    monkeypatch.setenv("VLLM_API_KEY", "sk-example")


def test_the_settings_file_is_understood(upstream_key):
    fields = settings.from_file(EXAMPLES / "antiphon.toml")
    chosen = settings.Settings(**fields)
    chosen.check()
    assert {model.backend for model in chosen.models} == {"openai_chat", "llamacpp", "scripted"}


def test_the_settings_file_gives_each_back_end_options_that_it_has(upstream_key):
    for model in settings.from_file(EXAMPLES / "antiphon.toml")["models"]:
        known = inspect.signature(app.load(app.MODELS, "models", model.backend)).parameters
        assert set(model.options) <= set(known)
