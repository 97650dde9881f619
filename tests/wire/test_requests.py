"""What is refused and in which words; what every request passes before it is read; and the document that says so."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from openapi_spec_validator import validate as validate_openapi

from antiphon import intake
from antiphon.addresses import Guard
from antiphon.server import triggers, webhooks
from antiphon.stores.memory_ledger import MemoryLedger
from antiphon.webhooks.deliveries import Deliveries

MODEL = "scripted"
CALL = {"type": "function_call", "id": "c1", "name": "f", "arguments": {"x": 1}}
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object", "properties": {"x": {"type": "integer"}}}}
PICTURE = {"type": "image", "data": "iVBORw0KGgo=", "mime_type": "image/png"}
TEXT = {"type": "text", "text": "Hello"}


def message(*parts: Any, **fields: Any) -> dict[str, Any]:
    """A request with this input, where any is given."""
    return {"model": MODEL} | ({"input": parts[0]} if parts else {}) | fields


def said(*content: Any) -> list[dict[str, Any]]:
    return [{"type": "user_input", "content": list(content)}]


def config(**fields: Any) -> dict[str, Any]:
    return message("Hello", generation_config=fields)


@pytest.fixture(scope="module")
def running(session_server):
    return session_server(SCRIPT)


SCRIPT = """
[[turns]]
when = "for ever"
text = "Well, "
fault = { kind = "stall", after = 1 }
"""


def post(server, body: Any, path: str = "/v1beta/interactions", **headers: str):
    return server.request("POST", path, body, headers)


# ---------------------------------------------------------------------------------------------------- what is taken

TAKEN = {
    "text": message("Hello"),
    "a content": message(TEXT),
    "contents": message([TEXT, PICTURE]),
    "a step": message(said(TEXT)[0]),
    "steps": message(said(TEXT)),
    "a step with plain text": message([{"type": "user_input", "content": "Hello"}]),
    "a whole conversation": message([*said(TEXT), CALL, {"type": "function_result", "call_id": "c1", "result": "1"}]),
    "a result within a user's input": message(
        [*said(TEXT), CALL, *said({"type": "function_result", "call_id": "c1", "result": {"x": [1]}})]
    ),
    "an unsigned thought": message([*said(TEXT), {"type": "thought"}, *said(TEXT)]),
    "every setting": message(
        "Hello",
        system_instruction="Be brief.",
        store=True,
        stream=False,
        background=False,
        service_tier="standard",
        labels={"team": "blue"},
        response_modalities=["text"],
        generation_config={
            "temperature": 1.5,
            "top_p": 0.5,
            "seed": 1,
            "max_output_tokens": 10,
            "stop_sequences": ["."],
            "thinking_level": "high",
            "thinking_summaries": "auto",
        },
    ),
    "a function": message("Hello", tools=[FUNCTION]),
    "a function that must be called": message(
        "Hello", tools=[FUNCTION], generation_config={"tool_choice": {"allowed_tools": {"mode": "any", "tools": ["f"]}}}
    ),
    "a schema": message("Hello", response_format={"type": "text", "mime_type": "application/json", "schema": {}}),
    "formats": message("Hello", response_format=[{"type": "text"}]),
    "a bare schema": message("Hello", response_format={"type": "object", "properties": {"x": {"type": "string"}}}),
    "a bare schema of two types": message("Hello", response_format={"type": ["object", "null"]}),
    "the older way to ask for JSON": message("Hello", response_mime_type="application/json"),
}


@pytest.mark.parametrize("name", TAKEN)
def test_a_request_that_means_something_is_taken(running, name):
    answer = post(running, TAKEN[name])
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"


def test_role_turns_of_the_first_client_are_taken(running):
    turns = [{"role": "user", "content": "Hi"}, {"role": "model", "content": [TEXT]}, {"role": "user", "content": TEXT}]
    assert post(running, message(turns)).json()["steps"][0]["content"][0]["text"] == "You said: Hello"


# ---------------------------------------------------------------------------------------------------- what is refused

# Each request with the whole message, or with its beginning where that ends in an ellipsis.
REFUSED = {
    "an unknown field": (message("Hello", colour="red"), "Unknown parameter 'colour'."),
    "a field in camel case": (
        message("Hello", generationConfig={}),
        "Unknown parameter 'generationConfig'. Did you mean 'generation_config'?",
    ),
    "an unknown field in the settings": (
        config(topP=0.5),
        "Unknown parameter 'topP' at 'generation_config'. Did you mean 'top_p'?",
    ),
    "an unknown field in a tool": (
        message("Hello", tools=[FUNCTION, {"type": "google_search", "depth": 2}]),
        "Unknown parameter 'depth' at 'tools[1]'.",
    ),
    "an unknown field in a step": (
        message([{"type": "user_input", "content": [TEXT], "when": "now"}]),
        "Unknown parameter 'when' at 'input[0]'.",
    ),
    "an unknown field in a content": (
        message(said(TEXT, TEXT | {"bold": True})),
        "Unknown parameter 'bold' at 'input[0].content[1]'.",
    ),
    "an unknown field in a result": (
        message([*said(TEXT), CALL, {"type": "function_result", "call_id": "c1", "result": "1", "isError": True}]),
        "Unknown parameter 'isError' at 'input[2]'. Did you mean 'is_error'?",
    ),
    "an unknown field in a tool choice": (
        config(tool_choice={"allowed_tools": {"mode": "any", "names": []}}),
        "Unknown parameter 'names' at 'generation_config.tool_choice.allowed_tools'.",
    ),
    "an unknown field in a format": (
        message("Hello", response_format={"type": "text", "strict": True}),
        "Unknown parameter 'strict' at 'response_format'.",
    ),
    "a number as model": ({"model": 3, "input": "Hello"}, "Expected 'str | null', got 'int' at 'model'."),
    "a number as input": (message(3), "Expected 'str | object | array | null', got 'int' at 'input'."),
    "a text as temperature": (config(temperature="hot"), "Expected 'float | null', got 'str' at …"),
    "too high a temperature": (config(temperature=2.5), "Expected 'float' <= 2.0 at 'generation_config.temperature'."),
    "no tokens at all": (config(max_output_tokens=0), "Expected 'int' >= 1 at 'generation_config.max_output_tokens'."),
    "a text for store": (message("Hello", store="no"), "Expected 'bool | null', got 'str' at 'store'."),
    "a list as body": ([], "Expected 'object', got 'array'."),
    "a bad level of thought": (
        config(thinking_level="hard"),
        "Invalid enum value 'hard' at 'generation_config.thinking_level'.",
    ),
    "a bad tier": (message("Hello", service_tier="gold"), "Invalid enum value 'gold' at 'service_tier'."),
    "a bad type of picture": (
        message([PICTURE | {"mime_type": "image/svg"}]),
        "Invalid enum value 'image/svg' at 'input[0].mime_type'.",
    ),
    "a bad type of tool": (
        message("Hello", tools=[{"type": "telepathy"}]),
        "The value 'telepathy' is not supported for 'type' at 'tools[0]'. Supported values: 'function', …",
    ),
    "a bad type of step": (
        message([{"type": "telepathy"}]),
        "The value 'telepathy' is not supported for 'type' at 'input[0]'. Supported values: 'text', 'image', …",
    ),
    "a bad type of content": (
        message(said(TEXT, {"type": "smell"})),
        "The value 'smell' is not supported for 'type' at 'input[0].content[1]'. Supported values: 'text', …",
    ),
    "a bad mode of choice": (config(tool_choice="perhaps"), "Invalid enum value 'perhaps' at …"),
    "a step without its type": (message([{"content": [TEXT]}]), "Missing required parameter 'type' at 'input[0]'."),
    "a tool without its type": (
        message("Hello", tools=[{"name": "f"}]),
        "Missing required parameter 'type' at 'tools[0]'.",
    ),
    "a text without its text": (message([{"type": "text"}]), "Missing required parameter 'text' at 'input[0]'."),
    "a call without its id": (
        message([*said(TEXT), {"type": "function_call", "name": "f", "arguments": {}}]),
        "Missing required parameter 'id' at 'input[1]'.",
    ),
    "a result without its call_id": (
        message([{"type": "function_result", "result": "1"}]),
        "Missing required parameter 'call_id' at 'input[0]'.",
    ),
    "a result of no call": (
        message([{"type": "function_result", "call_id": "c9", "result": "1"}]),
        "call_id 'c9' at 'input' does not answer any call of this conversation.",
    ),
    "a function without a name": (
        message("Hello", tools=[{"type": "function"}]),
        "Missing required parameter 'name' at 'tools[0]'.",
    ),
    "a function twice": (
        message("Hello", tools=[FUNCTION, FUNCTION]),
        "'f' at 'tools[1]' is declared twice.",
    ),
    "a choice of nothing": (config(tool_choice="any"), "tool_choice 'any' at 'generation_config.tool_choice' needs …"),
    "neither model nor agent": (
        {"input": "Hello"},
        "Exactly one of 'model' and 'agent' is required; neither was given.",
    ),
    "both model and agent": (
        message("Hello", agent="deep-research-preview-04-2026"),
        "Exactly one of 'model' and 'agent' is required; both were given.",
    ),
    "no input": (message(), "Missing input."),
    "an empty list": (message([]), "Missing input."),
    "an empty text": (message(""), "Request has empty input. (at 'input')"),
    "an empty step": (message(said()), "Request has empty input. (at 'input[0]')"),
    "a step without content": (message([{"type": "user_input"}]), "Request has empty input. (at 'input[0]')"),
    "a background run that is not stored": (
        message("Hello", store=False, background=True),
        "store=true is required for background interactions",
    ),
    "a picture that is no base64": (message([PICTURE | {"data": "?"}]), "Invalid base64 at 'input[0].data'."),
    "a picture that is nowhere": (
        message([{"type": "image"}]),
        "Exactly one of 'data' and 'uri' is required at 'input[0]'.",
    ),
    "a picture of no type": (
        message([{"type": "image", "data": "iVBORw0KGgo="}]),
        "'mime_type' is required beside 'data' at 'input[0]'.",
    ),
    "a strange signature": (
        message([*said(TEXT), {"type": "thought", "signature": "bm90IG91cnM="}, *said(TEXT)]),
        "The thought signature at 'input[1].signature' was not issued by this server. …",
    ),
    "a tool that is not here": (
        message("Hello", tools=[{"type": "google_maps"}]),
        "The tool 'google_maps' at 'tools[0]' is not available on this server: set where places are looked up, …",
    ),
    "a role where none belongs": (message([], role="user"), "Unknown parameter 'role'."),
    "two faults at once": (b'{"colour": 1, "role": ', "Unknown parameter 'colour'."),
    "a role nobody has": (
        message([{"role": "critic", "content": "Hello"}]),
        "The role 'critic' is not supported at 'input'. Supported: 'user', 'model'.",
    ),
}

# What this server does not act on is refused, never ignored. Each field with something that is well formed.
NOT_SERVED = {
    "agent_config": {"type": "dynamic"},
    "environment": "remote",
    "safety_settings": [{"type": "harassment", "threshold": "block_none"}],
    "cached_content": "cachedContents/1",
    "continuation_token": "token",
    "response_modalities": ["video"],
    "response_mime_type": "text/x.enum",
    "response_format": {"type": "video"},
    "generation_config.speech_config": [{"voice": "Kore"}],
    "generation_config.image_config": {"aspect_ratio": "1:1"},
    "generation_config.video_config": {"task": "edit"},
    "generation_config.transcription_config": {"mode": "verbatim"},
    "input": [{"type": "video", "uri": "https://example.org/film", "processing": "agentic"}],
    "tools": [FUNCTION | {"defer_loading": True}],
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_request_that_means_nothing_is_refused_with_its_place(running, name):
    body, words = REFUSED[name]
    answer = post(running, body)
    assert answer.status == 400 and answer.error["code"] == "invalid_request", answer.body
    assert answer.error.keys() == {"code", "message"}
    if words.endswith("…"):
        assert answer.error["message"].startswith(words[:-1])
    else:
        assert answer.error["message"] == words


@pytest.mark.parametrize("name", ["an unknown field", "no input", "a background run that is not stored"])
def test_a_stream_that_cannot_begin_is_refused_as_plainly(running, name):
    body, words = REFUSED[name]
    answer = post(running, body | {"stream": True})
    assert answer.status == 400 and answer.error["message"] == words
    assert answer.headers["content-type"] == "application/json; charset=UTF-8"


@pytest.mark.parametrize("name", NOT_SERVED)
def test_a_field_that_is_not_acted_on_is_refused_by_its_name(running, name):
    parent, _, field = name.rpartition(".")
    value = {field: NOT_SERVED[name]}
    fields = {parent: value} if parent else value
    answer = post(running, message("Hello", background=True) | fields)
    assert answer.status == 400 and answer.error["code"] == "invalid_request", answer.body
    assert f"'{name}" in answer.error["message"] or f"at '{name}" in answer.error["message"]


def test_every_field_that_is_not_served_is_tried_here():
    assert intake._NOT_SERVED.keys() <= NOT_SERVED.keys()


def test_an_agent_is_not_found(running):
    answer = post(running, {"agent": "antigravity-preview-05-2026", "input": "Hello", "background": True})
    assert answer.status == 404 and answer.error["code"] == "not_found"
    assert "deep-research-preview-04-2026" in answer.error["message"], "the agents that there are"


def test_a_model_is_not_found(running):
    answer = post(running, {"model": "nobody", "input": "Hello"})
    assert answer.status == 404 and answer.error["code"] == "model_not_found"
    assert answer.error["message"] == "There is no model 'nobody'. Configured here: scripted."


NO_JSON = {
    "nothing": b"",
    "a beginning": b"{",
    "a comma too many": b'{"model": "scripted",}',
    "no UTF-8": b"\xff",
    "no UTF-8 within": b'{"model": "\xff"}',
    "half a character": b'{"input": "\\ud800 Hello"}',
    "a word": b"hello",
    "a number that is none": b'{"generation_config": {"temperature": NaN}}',
    "a well without a bottom": b'{"response_format": ' + b'{"a": ' * 100_000 + b"1" + b"}" * 100_001,
}


@pytest.mark.parametrize("body", NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_json_is_refused_in_the_form_of_google_rpc(running, body):
    answer = post(running, body)
    assert answer.status == 400
    assert answer.error["code"] == 400 and answer.error["status"] == "INVALID_ARGUMENT"
    assert answer.error["message"].startswith("Invalid JSON payload received.")


# ---------------------------------------------------------------------------------------------------- the query

QUERIES = {
    "colour=red": "Unknown parameter 'colour' in the query.",
    "fields=id": "The value 'id' is not supported for 'fields'. Supported values: '*'.",
    "stream=yes": "'yes' at 'stream' is neither 'true' nor 'false'.",
    "last_event_id=evt_1": "'last_event_id' can only be used with stream=true.",
    "stream=false&last_event_id=evt_1": "'last_event_id' can only be used with stream=true.",
    "stream=true&last_event_id=42": "'42' at 'last_event_id' is no event_id.",
    "stream=true&last_event_id=evt_x": "'evt_x' at 'last_event_id' is no event_id.",
    "stream=true&include_input=true": "'include_input' is not supported with stream=true: …",
}


@pytest.mark.parametrize("query", QUERIES)
def test_a_query_that_means_nothing_is_refused(running, query):
    id = running.create("Hello")["id"]
    answer = running.request("GET", f"/v1beta/interactions/{id}?{query}")
    assert (answer.status, answer.error["code"]) == (400, "invalid_request")
    words = QUERIES[query]
    assert answer.error["message"].startswith(words.removesuffix("…"))


def test_an_event_that_never_was_is_out_of_range(running):
    id = running.create("Hello")["id"]
    answer = running.request("GET", f"/v1beta/interactions/{id}?stream=true&last_event_id=evt_999")
    assert (answer.status, answer.error["code"]) == (416, "out_of_range")


@pytest.mark.parametrize("query", ["", "stream=false", "alt=sse", "%24alt=json", "fields=*", "prettyPrint=false"])
def test_a_query_that_clients_send_is_taken(running, query):
    id = running.create("Hello")["id"]
    assert running.request("GET", f"/v1beta/interactions/{id}?{query}").json()["id"] == id


def test_the_input_is_read_back_where_it_is_asked_for(running):
    id = running.create("Hello")["id"]
    assert "input" not in running.get(id)
    shown = running.request("GET", f"/v1beta/interactions/{id}?include_input=true").json()
    assert shown["input"] == shown["steps"][:1] == said(TEXT)


# ---------------------------------------------------------------------------------------------------- paths

PREFIXES = [
    "/v1",
    "/v1beta",
    "/v1beta2",
    "/v1alpha",
    "",
    "/v1beta1/projects/p/locations/global",
    "//v1beta",
    "/v1beta/",
    "/v1beta/v1beta",
    "/v1/v1beta",
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_any_version_stands_before_a_path(running, prefix):
    answer = post(running, message("Hello"), f"{prefix}/interactions")
    assert answer.status == 200, answer.body
    id = answer.json()["id"]
    assert running.request("GET", f"{prefix}/interactions/{id}").json()["id"] == id
    assert running.request("DELETE", f"{prefix}/interactions/{id}").body == b"{}"


@pytest.mark.parametrize("path", ["/v1beta", "/v1beta/agents", "/v1beta/interactions/a/b", "/nothing", "/"])
def test_a_path_that_is_not_there_is_not_found(running, path):
    answer = running.request("GET", path)
    assert answer.status == 404 and answer.error.keys() == {"code", "message"}
    assert answer.error["code"] == "not_found"


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/interactions"), ("PATCH", "/interactions/x"), ("GET", "/interactions/x/cancel"), ("POST", "/models")],
)
def test_a_method_that_is_not_there_is_not_allowed(running, method, path):
    answer = running.request(method, f"/v1beta{path}", b"{}")
    assert answer.status == 405 and answer.error["code"] == "invalid_request"
    assert method in answer.error["message"]


def test_a_body_may_be_as_large_as_the_operator_says(server, tmp_path):
    file = tmp_path / "antiphon.toml"
    file.write_text("[server]\nlargest_body = 1000\n", encoding="utf-8")
    small = server("", "--config", str(file))
    assert post(small, message("x" * 900)).status == 200
    answer = post(small, message("x" * 1000))
    assert answer.status == 400 and answer.error["message"] == "The request is larger than 1000 bytes."


# ---------------------------------------------------------------------------------------------------- keys

KEYS = ("--api-key", "alpha:first-key-of-alpha", "--api-key", "beta:only-key-of-beta")
ALPHA, BETA = "first-key-of-alpha", "only-key-of-beta"


@pytest.fixture(scope="module")
def guarded(session_server):
    return session_server(SCRIPT, *KEYS)


def test_a_key_is_taken_from_header_bearer_or_query(guarded):
    body = message("Hello")
    assert post(guarded, body, **{"x-goog-api-key": ALPHA}).status == 200
    assert post(guarded, body, authorization=f"Bearer {ALPHA}").status == 200
    assert post(guarded, body, f"/v1beta/interactions?key={ALPHA}").status == 200


@pytest.mark.parametrize("headers", [{}, {"x-goog-api-key": "someone-elses"}, {"authorization": "Basic YTpi"}])
@pytest.mark.parametrize("path", ["/v1beta/interactions", "/v1beta/models", "/v1beta/nothing"])
def test_without_a_known_key_nothing_is_said(guarded, headers, path):
    answer = guarded.request("GET", path, headers=headers)
    assert (answer.status, answer.error["code"]) == (401, "authentication")


@pytest.mark.parametrize("path", ["/healthz", "/openapi.json", "/v1beta/openapi.json"])
def test_what_says_nothing_about_anybody_needs_no_key(guarded, path):
    assert guarded.request("GET", path).status == 200


@pytest.fixture(scope="module")
def of_alpha(guarded):
    """One interaction of alpha's that has ended, and one that never does."""
    done = post(guarded, message("Hello"), **{"x-goog-api-key": ALPHA})
    endless = post(guarded, message("for ever", background=True), **{"x-goog-api-key": ALPHA})
    return {"ended": done.json()["id"], "running": endless.json()["id"]}


ROUTES = [
    ("GET", "/v1beta/interactions/{id}"),
    ("GET", "/v1beta/interactions/{id}?stream=true"),
    ("GET", "/v1beta/interactions/{id}?stream=true&last_event_id=evt_1"),
    ("GET", "/v1beta/interactions/{id}/export"),
    ("POST", "/v1beta/interactions/{id}/cancel"),
    ("POST", "/v1beta/interactions/{id}:cancel"),
    ("DELETE", "/v1beta/interactions/{id}"),
]


@pytest.mark.parametrize("which", ["ended", "running"])
@pytest.mark.parametrize(("method", "path"), ROUTES)
def test_another_project_finds_nothing_on_any_route(guarded, of_alpha, method, path, which):
    id = of_alpha[which]
    path = path.format(id=id)
    foreign = guarded.request(method, path, headers={"x-goog-api-key": BETA})
    missing = guarded.request(method, path.replace(id, "v1_nothing"), headers={"x-goog-api-key": BETA})
    assert foreign.status == missing.status == 404
    assert foreign.body.replace(id.encode(), b"v1_nothing") == missing.body  # not even that it exists
    own = guarded.request("GET", f"/v1beta/interactions/{id}", headers={"x-goog-api-key": ALPHA})
    assert own.status == 200


@pytest.mark.parametrize("which", ["ended", "running"])
def test_another_project_cannot_go_on_with_a_conversation(guarded, of_alpha, which):
    body = message("And then?", previous_interaction_id=of_alpha[which])
    answer = post(guarded, body, **{"x-goog-api-key": BETA})
    assert (answer.status, answer.error["code"]) == (404, "not_found")


def test_another_project_does_not_see_it_listed(guarded, of_alpha):
    foreign = guarded.request("GET", "/v1beta/interactions", headers={"x-goog-api-key": BETA}).json()
    own = guarded.request("GET", "/v1beta/interactions", headers={"x-goog-api-key": ALPHA}).json()
    assert not {item["id"] for item in foreign.get("interactions", ())} & set(of_alpha.values())
    assert set(of_alpha.values()) <= {item["id"] for item in own["interactions"]}
    after = f"/v1beta/interactions?page_token={of_alpha['running']}"
    assert guarded.request("GET", after, headers={"x-goog-api-key": BETA}).json() == {}


# ---------------------------------------------------------------------------------------------------- browsers


@pytest.mark.parametrize("origin", ["http://localhost:3000", "http://127.0.0.1:8080", "https://[::1]:1"])
def test_pages_of_this_machine_may_read(running, origin):
    answer = running.request("GET", "/v1beta/models", headers={"origin": origin})
    assert answer.status == 200
    assert answer.headers["access-control-allow-origin"] == origin
    assert "origin" in answer.headers["vary"].lower()


@pytest.mark.parametrize("origin", ["https://example.org", "null", "http://localhost.example.org", "file://"])
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_other_pages_may_not_where_there_are_no_keys(running, origin, method):
    body = message("Hello") if method == "POST" else None
    answer = running.request(method, "/v1beta/interactions", body, {"origin": origin})
    assert (answer.status, answer.error["code"]) == (403, "permission_denied")
    assert "access-control-allow-origin" not in answer.headers


def test_pages_that_the_operator_names_may_read(server):
    named = server("", "--allow-origin", "https://example.org")
    answer = named.request("GET", "/v1beta/models", headers={"origin": "https://example.org"})
    assert answer.headers["access-control-allow-origin"] == "https://example.org"
    assert named.request("GET", "/v1beta/models", headers={"origin": "https://example.com"}).status == 403


def test_any_page_may_read_with_a_key(guarded):
    headers = {"origin": "https://example.org", "x-goog-api-key": ALPHA}
    answer = guarded.request("GET", "/v1beta/models", headers=headers)
    assert answer.status == 200 and answer.headers["access-control-allow-origin"] == "https://example.org"


def test_a_page_can_read_why_it_was_refused(guarded):
    answer = guarded.request("GET", "/v1beta/models", headers={"origin": "https://example.org"})
    assert answer.status == 401 and answer.headers["access-control-allow-origin"] == "https://example.org"


def test_a_stream_may_be_read_by_a_page(running):
    body, origin = message("Hello", stream=True), "http://localhost:3000"
    answer = post(running, body, origin=origin)
    assert answer.headers["access-control-allow-origin"] == origin and answer.body.endswith(b"data: [DONE]\n\n")


def test_a_browser_may_ask_first(guarded):
    asked = {
        "origin": "https://example.org",
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type, x-goog-api-key, x-goog-api-client",
    }
    answer = guarded.request("OPTIONS", "/v1beta/interactions", headers=asked)
    assert answer.status == 200 and answer.headers["access-control-allow-origin"] == "https://example.org"
    methods = set(answer.headers["access-control-allow-methods"].split(", "))
    names = set(answer.headers["access-control-allow-headers"].split(", "))
    assert {"GET", "POST", "DELETE"} <= methods
    assert {"content-type", "x-goog-api-key", "x-goog-api-client", "authorization"} <= names


# ---------------------------------------------------------------------------------------------------- the document


@pytest.fixture(scope="module")
def document(running):
    return running.request("GET", "/openapi.json").json()


def schema(document: dict[str, Any], name: str) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(
        {"$ref": f"#/components/schemas/{name}", "components": document["components"]}
    )


def test_the_document_is_an_openapi_document(document):
    validate_openapi(document)


@pytest.mark.parametrize("name", TAKEN)
def test_the_document_takes_what_the_server_takes(document, name):
    schema(document, "CreateInteraction").validate(TAKEN[name])


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, (_, words) in REFUSED.items()
        if words.startswith(("Unknown", "Expected", "Invalid enum", "The value", "Missing required"))
        # What only the meaning tells: a name that functions must have, tools that are not here, formats beside schemas.
        if name not in ("a function without a name", "a tool that is not here", "an unknown field in a format")
        and not isinstance(REFUSED[name][0], bytes)
    ],
)
def test_the_document_refuses_what_the_server_cannot_read(document, name):
    with pytest.raises(jsonschema.ValidationError):
        schema(document, "CreateInteraction").validate(REFUSED[name][0])


def test_the_document_describes_what_the_server_answers(document, running):
    created = running.create("Hello", tools=[FUNCTION], system_instruction="Be brief.")
    schema(document, "Interaction").validate(created)
    schema(document, "Interaction").validate(running.get(created["id"]))
    for path, name in (("/interactions", "InteractionList"), ("/models", "ModelList")):
        schema(document, name).validate(running.request("GET", f"/v1beta{path}").json())
    schema(document, "ErrorBody").validate(running.request("GET", "/v1beta/interactions/v1_nothing").json())
    for event in running.follow("Hello"):
        schema(document, "InteractionEvent").validate(event)


@pytest.mark.parametrize("part", ["webhooks", "triggers"])
def test_the_document_has_every_route_beside_interactions(document, part):
    """As they are in the routers' tables; what is the same in an older spelling is not told."""
    deliveries = Deliveries(MemoryLedger(float), b"", Guard().resolve)
    table = {"webhooks": webhooks.table(deliveries), "triggers": triggers.table(None)}[part]
    served = {(method.lower(), path) for method, path, _ in table if path.startswith(f"/{part}")}
    told = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert served - told <= {("post", "/webhooks/{id}/rotate_secret")}


def test_the_document_describes_webhooks(document, running):
    body = {"uri": "https://192.0.32.7/", "subscribed_events": ["interaction.completed"], "name": "mine"}
    schema(document, "CreateWebhook").validate(body)
    for wrong in ({}, body | {"subscribed_events": []}, body | {"subscribed_events": ["x"]}, body | {"spoon": 1}):
        with pytest.raises(jsonschema.ValidationError):
            schema(document, "CreateWebhook").validate(wrong)
        assert running.request("POST", "/v1beta/webhooks", wrong).status == 400
    made = running.request("POST", "/v1beta/webhooks", body).json()
    path = f"/v1beta/webhooks/{made['id']}"
    schema(document, "Webhook").validate(made)
    for name, answer in (
        ("WebhookList", running.request("GET", "/v1beta/webhooks")),
        ("Webhook", running.request("GET", path)),
        ("Webhook", running.request("PATCH", path, {"state": "disabled"})),
        ("PingedWebhook", running.request("POST", f"{path}:ping")),
        ("RotatedSigningSecret", running.request("POST", f"{path}:rotateSigningSecret")),
        ("Deleted", running.request("DELETE", path)),
    ):
        assert answer.status == 200
        schema(document, name).validate(answer.json())


def test_the_document_describes_triggers(document, running):
    body = {"schedule": "0 0 1 1 *", "time_zone": "UTC", "interaction": {"model": MODEL, "input": "Hello"}}
    schema(document, "CreateTrigger").validate(body)
    for wrong in (
        {},
        body | {"interaction": {"input": 7}},
        body | {"execution_timeout_seconds": 0},
        body | {"spoon": 1},
    ):
        with pytest.raises(jsonschema.ValidationError):
            schema(document, "CreateTrigger").validate(wrong)
        assert running.request("POST", "/v1beta/triggers", wrong).status == 400
    made = running.request("POST", "/v1beta/triggers", body).json()
    path = f"/v1beta/triggers/{made['id']}"
    schema(document, "Trigger").validate(made)
    for name, answer in (
        ("TriggerList", running.request("GET", "/v1beta/triggers")),
        ("TriggerExecution", running.request("POST", f"{path}/executions")),
        ("TriggerExecutionList", running.request("GET", f"{path}/executions")),
        ("Trigger", running.request("PATCH", path, {"status": "paused", "display_name": "x"})),
        ("Trigger", running.request("GET", path)),
        ("Deleted", running.request("DELETE", path)),
    ):
        assert answer.status == 200
        schema(document, name).validate(answer.json())


def test_every_path_of_the_document_is_served(document, running):
    for path, operations in document["paths"].items():
        for method in operations:
            answer = running.request(method.upper(), "/v1beta" + path.replace("{id}", "x").replace("{name}", "y"), b"")
            assert answer.status != 405, (method, path)
            told = json.loads(answer.body)
            assert answer.status == 200 or "There is nothing at" not in told["error"]["message"], (method, path)
