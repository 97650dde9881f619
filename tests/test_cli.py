"""The command line, as typed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from antiphon.settings import Settings, SettingsError, from_file, keys_of, parse_model
from serving import ServerFactory

PHIL = '[[turns]]\nrecall = "name is (\\\\w+)"\ntext = "Your name is {0}."\n'


def antiphon(*arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "antiphon", *arguments]
    return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)


def test_ask_prints_the_answer_and_tells_its_id_for_the_next_question(server: ServerFactory) -> None:
    one = server(PHIL)
    first = antiphon("ask", "--url", one.url, "My name is Phil.")
    assert (first.returncode, first.stdout) == (0, "Your name is Phil.\n")
    status, id = first.stderr.split()
    assert status == "completed"
    second = antiphon("ask", "--url", one.url, "--previous", id, "-", stdin="What is my name?")
    assert second.stdout == "Your name is Phil.\n"


def test_a_failed_interaction_is_an_error_of_the_command(server: ServerFactory) -> None:
    one = server('[[turns]]\ntext = "a b"\nfault = { kind = "error", after = 1, message = "out of luck" }\n')
    asked = antiphon("ask", "--url", one.url, "x")
    assert asked.returncode == 1 and "out of luck" in asked.stderr


def test_without_a_server_the_command_says_how_to_start_one() -> None:
    asked = antiphon("ask", "--url", "http://127.0.0.1:9", "x")
    assert asked.returncode == 1 and "antiphon serve" in asked.stderr


def test_a_conversation_moves_from_one_server_to_another(server: ServerFactory, tmp_path: Path) -> None:
    one, other = server(PHIL), server(PHIL)
    first = one.create("My name is Phil.")
    second = one.create("What is my name?", previous_interaction_id=first["id"])
    lines = tmp_path / "conversation.jsonl"
    lines.write_text(antiphon("export", "--url", one.url, second["id"]).stdout)
    exported = [json.loads(line) for line in lines.read_text().splitlines()]
    assert [line["record"]["id"] for line in exported] == [first["id"], second["id"]]
    assert antiphon("import", "--url", other.url, str(lines)).returncode == 0
    assert other.get(second["id"]) == one.get(second["id"])
    third = other.create("And now?", previous_interaction_id=second["id"])
    assert third["steps"][-1]["content"][0]["text"] == "Your name is Phil."


def test_models_are_listed() -> None:
    listed = antiphon("models", "list")
    assert listed.returncode == 0 and "smollm2-135m" in listed.stdout


def test_without_keys_the_server_does_not_listen_beyond_this_machine() -> None:
    refused = antiphon("serve", "--host", "0.0.0.0", "--port", "0", "--model", "scripted", "--memory")
    assert refused.returncode == 1 and "no API keys" in refused.stderr


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("scripted", ("scripted", "scripted", "")),
        ("scripted:a.toml", ("scripted", "scripted", "a.toml")),
        ("big=http://localhost:8000/v1#Qwen/Qwen3-32B", ("big", "openai_chat", "http://localhost:8000/v1")),
        ("http://localhost:11434#gemma3", ("gemma3", "openai_chat", "http://localhost:11434")),
        ("http://localhost:8000/v1?a=b#m", ("m", "openai_chat", "http://localhost:8000/v1?a=b")),
        ("./weights/My Model.gguf", ("my-model", "llamacpp", "./weights/My Model.gguf")),
        ("small=smollm2-135m", ("small", "llamacpp", "smollm2-135m")),
        ("hf:owner/repo/file.gguf", ("file", "llamacpp", "hf:owner/repo/file.gguf")),
    ],
)
def test_a_model_is_given_in_one_word(text: str, expected: tuple[str, str, str]) -> None:
    setting = parse_model(text)
    assert (setting.name, setting.backend, setting.source) == expected


def test_settings_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPSTREAM_KEY", "sk-1")
    file = tmp_path / "antiphon.toml"
    file.write_text(
        '[server]\nport = 9000\nretention_days = 2\nallow_origins = ["https://a.example"]\ndefault = "big"\n'
        '[aliases]\n"my-model" = "big"\n[models.big]\nsource = "http://h:1/v1#q"\nserver = "vllm"\n'
        'api_key_env = "UPSTREAM_KEY"\n'
    )
    fields = from_file(file)
    chosen = Settings(**fields)
    assert (chosen.port, chosen.retention, chosen.origins) == (9000, 172800.0, ("https://a.example",))
    assert chosen.models[0].options == {"server": "vllm", "api_key": "sk-1", "model": "q"}
    chosen.check()


@pytest.mark.parametrize("text", ["[server]\nprot = 1\n", "nonsense = 1\n", "[models.a]\n", "not toml"])
def test_a_setting_that_is_not_one_is_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "antiphon.toml"
    file.write_text(text)
    with pytest.raises(SettingsError):
        from_file(file)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model", "scripted:none.toml"], "none.toml"),
        (["--model", "scripted", "--alias", "a=nothing"], "nothing"),
        (["--model", "scripted", "--tool", "teleport=scripted"], "teleport"),
        (["--model", "scripted", "--tool", "google_search=nothing"], "nothing"),
        (["--model", "scripted", "--retention-days", "0"], "kept for some time"),
        (["--model", "nonsense.gguf"], "nonsense.gguf"),
    ],
)
def test_a_server_that_cannot_be_started_says_why_in_a_line(arguments: list[str], words: str) -> None:
    refused = antiphon("serve", "--port", "0", "--memory", *arguments)
    assert refused.returncode == 1 and words in refused.stderr
    assert "Traceback" not in refused.stderr


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ('source = "scripted"\nspeed = 1', "speed"),
        ('source = "http://h/v1"\nserver = "unheard-of"', "unheard-of"),
        ('source = "http://h/v1"\napi_key_env = "NOT_SET_ANYWHERE"', "NOT_SET_ANYWHERE"),
        ('backend = "nosuchmodule:Model"', "nosuchmodule"),
    ],
)
def test_an_option_that_a_model_does_not_have_is_refused(table: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "antiphon.toml"
    file.write_text(f'[models."a:b"]\n{table}\n')
    refused = antiphon("serve", "--port", "0", "--memory", "--config", str(file))
    assert refused.returncode == 1 and words in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_key_may_name_its_project() -> None:
    assert keys_of(["secret-key-1", "team:secret-key-2"]) == {"secret-key-1": "default", "secret-key-2": "team"}
    with pytest.raises(SettingsError):
        keys_of(["short"])
