"""The built-in tools as programs meet them: the official client, a real server, real parts behind the tools.

The model is scripted, so that it calls what it is told to; what a real model does with the tools is measured (`bench/`).
"""

from __future__ import annotations

import base64
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from google import genai
from google.genai import types

from serving import PATIENCE, Server, ServerFactory

PAGE = b"""<html><head><title>The Ostra tower</title></head><body><article>
<h1>The tower of Ostra</h1><p>The tower of Ostra was built in 1832 by Anna Lindqvist, who also drew the bridge.</p>
<p>It is 48 metres high and has stood empty since the fire of 1911.</p></article></body></html>"""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """A little web site on this machine."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(PAGE)))
            self.end_headers()
            self.wfile.write(PAGE)

        def log_message(self, format: str, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def script(site: str) -> str:
    return f"""
[[turns]]
when = "read the page"
after = "url_context"
text = "It was built in 1832 by Anna Lindqvist. I do not know its colour."
[[turns]]
when = "read the page"
calls = [{{ name = "url_context", arguments = {{ urls = ["{site}/tower"] }} }}]

[[turns]]
when = "compute"
after = "code_execution"
text = "There you are."
[[turns]]
when = "compute"
calls = [{{ name = "code_execution", arguments = {{ code = "x = 6 * 7\\nprint(x)" }} }}]

[[turns]]
when = "plot"
after = "code_execution"
text = "A line."
[[turns]]
when = "plot"
calls = [{{ name = "code_execution", arguments = {{ code = "import matplotlib.pyplot as p\\np.plot([1, 2])" }} }}]

[[turns]]
when = "do it all"
after = "url_context"
calls = [{{ name = "code_execution", arguments = {{ code = "1" }} }}]
[[turns]]
when = "do it all"
after = "code_execution"
calls = [{{ name = "get_weather" }}]
[[turns]]
after = "get_weather"
text = "All done."
[[turns]]
when = "do it all"
calls = [{{ name = "url_context", arguments = {{ urls = ["{site}/tower"] }} }}]

[[turns]]
when = "leave"
after = "google_search"
text = "You have 31 days of paid leave a year. Enjoy them!"
[[turns]]
when = "leave"
calls = [{{ name = "google_search", arguments = {{ queries = ["paid leave days"] }} }}]

[[turns]]
when = "metadata"
after = "url_context"
text = "No."
[[turns]]
when = "metadata"
calls = [{{ name = "url_context", arguments = {{ urls = ["http://169.254.169.254/latest"] }} }}]
"""


HANDBOOK = """# Holidays

Everybody has 31 days of paid leave a year. Leave is asked for in writing, two weeks before.

# Travel

Trains are booked by Mira in room 12.
"""


@pytest.fixture(scope="module")
def built_in(session_server: ServerFactory, site: str, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server with every tool there is, and a model that uses them when it is told to."""
    folder = tmp_path_factory.mktemp("built-in")
    (folder / "handbook").mkdir()
    (folder / "handbook" / "staff.md").write_text(HANDBOOK, encoding="utf-8")
    add = ["add", str(folder / "handbook"), "--url", "https://intranet.example/", "--data", str(folder / "data")]
    subprocess.run([sys.executable, "-m", "antiphon", "index", *add], check=True, timeout=PATIENCE)
    reachable = site.removeprefix("http://")
    return session_server(script(site), "--reachable", reachable, data=folder / "data")


@pytest.fixture(scope="module")
def client(built_in: Server) -> genai.Client:
    return genai.Client(api_key="none", http_options=types.HttpOptions(base_url=built_in.url))


def kinds(interaction: Any) -> list[str]:
    return [step.type for step in interaction.steps]


def test_a_page_is_fetched_read_and_cited(client: genai.Client, site: str) -> None:
    made = client.interactions.create(model="scripted", input="Please read the page.", tools=[{"type": "url_context"}])
    assert kinds(made) == ["url_context_call", "url_context_result", "model_output"]
    assert made.steps[0].arguments.urls == [f"{site}/tower"]
    assert [(item.url, item.status) for item in made.steps[1].result] == [(f"{site}/tower", "success")]
    text = made.steps[-1].content[0]
    (citation,) = text.annotations
    said = text.text.encode()[citation.start_index : citation.end_index].decode()
    assert said == "It was built in 1832 by Anna Lindqvist."
    assert (citation.url, citation.title) == (f"{site}/tower", "The Ostra tower")
    assert made.usage.total_tool_use_tokens > 0


def test_a_search_of_ones_own_folder_is_cited_with_its_readers_address(client: genai.Client, built_in: Server) -> None:
    made = client.interactions.create(model="scripted", input="How much leave?", tools=[{"type": "google_search"}])
    assert kinds(made) == ["google_search_call", "google_search_result", "model_output"]
    assert made.steps[0].arguments.queries == ["paid leave days"]
    (kept,) = [step for step in built_in.get(made.id)["steps"] if step["type"] == "google_search_result"]
    assert kept["result"][0]["url"] == "https://intranet.example/staff.md"  # the client's own type knows no url
    text = made.steps[-1].content[0]
    (citation,) = text.annotations
    assert text.text.encode()[citation.start_index : citation.end_index] == b"You have 31 days of paid leave a year."
    assert citation.url == "https://intranet.example/staff.md"
    assert [(count.type, count.count) for count in made.usage.grounding_tool_count] == [("google_search", 1)]


def test_code_is_run_and_keeps_its_state_within_an_interaction(client: genai.Client) -> None:
    made = client.interactions.create(model="scripted", input="Please compute.", tools=[{"type": "code_execution"}])
    assert kinds(made) == ["code_execution_call", "code_execution_result", "model_output"]
    assert made.steps[0].arguments.language == "python"
    assert made.steps[1].result.strip() == "42" and not made.steps[1].is_error


def test_a_figure_comes_back_as_an_image_in_the_models_output(client: genai.Client) -> None:
    made = client.interactions.create(model="scripted", input="Please plot.", tools=[{"type": "code_execution"}])
    assert kinds(made) == ["code_execution_call", "code_execution_result", "model_output", "model_output"]
    (picture,) = made.steps[2].content
    assert (picture.type, picture.mime_type) == ("image", "image/png")
    assert base64.b64decode(picture.data).startswith(b"\x89PNG")


def test_a_stream_shows_each_call_and_result_as_typed_deltas(client: genai.Client) -> None:
    events = list(
        client.interactions.create(
            model="scripted", input="Please compute.", tools=[{"type": "code_execution"}], stream=True
        )
    )
    deltas = [event.delta.type for event in events if event.event_type == "step.delta"]
    assert deltas[:2] == ["code_execution_call", "code_execution_result"]
    assert set(deltas[2:]) == {"text"}
    started = [event.step.type for event in events if event.event_type == "step.start"]
    assert started == ["code_execution_call", "code_execution_result", "model_output"]


def test_tools_work_beside_each_other_and_beside_functions(client: genai.Client, site: str) -> None:
    weather = {"type": "function", "name": "get_weather", "parameters": {"type": "object", "properties": {}}}
    tools = [{"type": "url_context"}, {"type": "code_execution"}, weather]
    made = client.interactions.create(model="scripted", input="Please do it all.", tools=tools)
    assert made.status == "requires_action"
    assert kinds(made) == [
        *("url_context_call", "url_context_result"),
        *("code_execution_call", "code_execution_result"),
        "function_call",
    ]
    result = {"type": "function_result", "call_id": made.steps[-1].id, "result": "Rain."}
    ended = client.interactions.create(model="scripted", input=[result], previous_interaction_id=made.id)
    assert (ended.status, ended.output_text) == ("completed", "All done.")


def test_a_client_that_keeps_nothing_on_the_server_replays_the_steps_of_tools(client: genai.Client) -> None:
    tools = [{"type": "url_context"}]
    first = client.interactions.create(model="scripted", input="Please read the page.", tools=tools, store=False)
    steps = [step.model_dump(exclude_none=True) for step in first.steps]
    asked = {"type": "user_input", "content": [{"type": "text", "text": "Who built it? Recall."}]}
    again = client.interactions.create(model="scripted", input=[*steps, asked], store=False)
    assert again.status == "completed"


def test_a_page_at_a_private_address_is_unsafe_unless_the_operator_says_otherwise(client: genai.Client) -> None:
    made = client.interactions.create(model="scripted", input="Read metadata.", tools=[{"type": "url_context"}])
    assert [item.status for item in made.steps[1].result] == ["unsafe"]
    assert made.steps[1].is_error


@pytest.mark.parametrize(
    ("tool", "words"),
    [
        ({"type": "retrieval"}, "not supported for 'tools[0].type' on the Gemini API"),
        ({"type": "google_maps"}, "'tools[0]' is not available on this server"),
        ({"type": "mcp_server", "name": "x"}, "tools[0]"),
        ({"type": "mcp_server", "name": "x", "url": "ftp://x"}, "tools[0].url"),
        ({"type": "google_search", "search_types": ["image_search"]}, "tools[0]"),
        ({"type": "file_search", "file_search_store_names": ["fileSearchStores/none"]}, "fileSearchStores/none"),
        ({"type": "computer_use", "excluded_predefined_functions": ["fly"]}, "tools[0]"),
        ({"type": "function", "name": "f", "defer_loading": True}, "tools[0].defer_loading"),
    ],
)
def test_a_tool_that_cannot_be_had_is_refused_with_its_place(built_in: Server, tool: Any, words: str) -> None:
    body = {"model": "scripted", "input": "hi", "tools": [tool]}
    answer = built_in.request("POST", "/v1beta/interactions", body)
    assert answer.status in (400, 404) and words in answer.error["message"], answer.body
