"""POST /decisions over the wire: answers, strict refusals, keys and limits."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from serving import Answer, Server, ServerFactory

SCRIPT = """
[[turns]]
when = "Question: Is it positive"
text = "Yes."

[[turns]]
when = "Question: Which kind"
text = "B"
"""
NOUL = {"type": "noul", "instructions": "Is it positive?"}
CHOICE = {"type": "choice", "instructions": "Which kind?", "criteria": {"spam": "unwanted", "ham": "wanted"}}
SCORE = {"type": "score", "instructions": "How angry?", "criteria": ["calm", "cross", "furious"]}


@pytest.fixture(scope="module")
def judge(session_server: ServerFactory) -> Iterator[Server]:
    yield session_server(SCRIPT)


def decide(server: Server, headers: dict[str, str] | None = None, **given: Any) -> Answer:
    body = {"model": "scripted", "input": "Nice work!", "questions": {"q": NOUL}} | given
    return server.request("POST", "/v1/decisions", body, headers)


def test_each_question_is_answered_with_probabilities(judge):
    answer = decide(judge, questions={"good": NOUL, "kind": CHOICE, "anger": SCORE})
    assert answer.status == 200
    answers = answer.json()["answers"]
    assert answers["good"] == {"type": "noul", "noul": 0.9, "confidence": 0.9}
    kind = {"type": "choice", "choice": "ham", "confidence": 0.9, "probabilities": {"spam": 0.1, "ham": 0.9}}
    assert answers["kind"] == kind
    anger = answers["anger"]
    assert anger["type"] == "score" and anger["score"] == pytest.approx(1.0, abs=1e-5)
    assert sum(anger["probabilities"].values()) == pytest.approx(1.0, abs=1e-5)
    assert anger["legend"] == {"0": "calm", "1": "cross", "2": "furious"}


def test_what_the_questions_have_in_common_is_read_once(judge):
    questions = {str(number): NOUL for number in range(5)}
    usage = decide(judge, input="word " * 500, questions=questions).json()["usage"]
    assert usage["total_cached_tokens"] >= 4 * 500
    assert usage["total_input_tokens"] - usage["total_cached_tokens"] < 2 * 500 + 200
    assert usage["total_output_tokens"] == 5


@pytest.mark.parametrize("model", ["models/scripted", "gemini-3-flash-preview", "scripted"])
def test_models_are_named_as_everywhere(judge, model):
    assert decide(judge, model=model).status == 200


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"questions": {}}, "Missing questions"),
        ({"input": [{"type": "image", "data": "aGk="}]}, "image content at 'input[0]'"),
        ({"questions": {"q": {"type": "rank", "instructions": "x"}}}, "'rank' is not supported for 'type'"),
        ({"questions": {"q": NOUL | {"weight": 1}}}, "Unknown parameter 'weight' at 'questions"),
        ({"questions": {"q": CHOICE | {"criteria": {"a": ""}}}}, "'questions.q.criteria'"),
        ({"temperature": 1}, "Unknown parameter 'temperature'"),
        ({"input": None}, "at 'input'"),
    ],
)
def test_what_means_nothing_is_refused_with_its_place(judge, given, words):
    answer = decide(judge, **given)
    assert answer.status == 400 and answer.error["code"] == "invalid_request"
    assert words in answer.error["message"]


def test_a_model_that_is_not_here_is_not_found(judge):
    answer = decide(judge, model="gpt-9")
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")


def test_what_is_no_json_is_refused(judge):
    assert judge.request("POST", "/v1/decisions", b"{").status == 400
    assert judge.request("POST", "/v1/decisions", b"").status == 400
    assert judge.request("GET", "/v1/decisions").status in (404, 405)


def test_keys_and_their_limits_hold(server):
    closed = server(SCRIPT, "--api-key", "kitchen:a-long-secret-1", ANTIPHON_ADMIN_KEY="the-key-of-the-operator")
    assert decide(closed).status == 401
    assert decide(closed, {"x-goog-api-key": "a-long-secret-1"}).status == 200
    admin = {"authorization": "Bearer the-key-of-the-operator"}
    body = {"project": "garden", "limits": {"requests_per_minute": 1}}
    made = closed.request("POST", "/admin/keys", body, admin).json()
    key = {"x-goog-api-key": made["key"]}
    answers = [decide(closed, key) for _ in range(3)]
    assert {answer.status for answer in answers[1:]} >= {429}, [answer.body for answer in answers]
    assert answers[0].status == 200


def test_who_leaves_is_not_waited_for(server):
    slow = server(SCRIPT)
    body = json.dumps({"model": "scripted", "input": "x", "questions": {str(n): NOUL for n in range(100)}}).encode()
    with socket.create_connection(("127.0.0.1", slow.port)) as connection:
        head = f"POST /v1/decisions HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
    assert decide(slow).status == 200  # and nothing was logged but that the decision ended
    assert "Traceback" not in slow.log
