"""Speech over HTTP, by the real voice: streamed, read back, spoken answers of a model, and what is refused."""

from __future__ import annotations

import base64
import io
import json
import wave
from typing import Any

import pytest

from serving import Server, ServerFactory

pytestmark = pytest.mark.model
TTS = "gemini-3.1-flash-tts-preview"


@pytest.fixture(scope="module")
def speaking(session_server: ServerFactory) -> Server:
    return session_server('[[turns]]\nwhen = "joke"\ntext = "A **joke**. It is short."\n')


def streamed(server: Server, **body: Any) -> list[Any]:
    answer = server.request("POST", "/v1/interactions", {"stream": True} | body)
    assert answer.status == 200, answer.body
    lines = answer.body.decode().split("\n")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


def audio_of(steps: list[Any]) -> list[Any]:
    return [part for step in steps for part in step.get("content", ()) if part["type"] == "audio"]


def test_speech_is_streamed_piece_by_piece_and_read_back_whole(speaking):
    events = streamed(
        speaking, model=TTS, input="Say: One. Two. Three.", response_format={"type": "audio", "mime_type": "audio/wav"}
    )
    pieces = [event["delta"] for event in events if event["event_type"] == "step.delta"]
    assert len(pieces) >= 3
    assert (pieces[0]["mime_type"], pieces[0]["sample_rate"], pieces[0]["channels"]) == ("audio/wav", 24000, 1)
    sound = b"".join(base64.b64decode(piece["data"]) for piece in pieces)
    completed = next(event for event in events if event["event_type"] == "interaction.completed")["interaction"]
    usage = completed["usage"]
    assert usage["output_tokens_by_modality"] == [{"modality": "audio", "tokens": usage["total_output_tokens"]}]
    (kept,) = audio_of(speaking.get(completed["id"])["steps"])
    assert base64.b64decode(kept["data"]) == sound
    assert (kept["mime_type"], kept["sample_rate"]) == ("audio/wav", 24000)


def test_an_answer_is_heard_and_read(speaking):
    made = speaking.create(
        "Tell me a joke.", response_format=[{"type": "text"}, {"type": "audio", "mime_type": "audio/wav"}]
    )
    (step,) = made["steps"]
    text, sound = step["content"]
    assert text["text"] == "A **joke**. It is short."
    with wave.open(io.BytesIO(base64.b64decode(sound["data"]))) as file:
        assert file.getframerate() == 24000 and 1 < file.getnframes() / 24000 < 5


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"generation_config": {"speech_config": [{"voice": "Bob"}]}}, "There is no voice 'Bob' at"),
        ({"generation_config": {"speech_config": [{"language": "xx-XX"}]}}, "No voice here speaks 'xx-XX' at"),
        ({"response_format": {"type": "audio", "bit_rate": 64000}}, "'response_format.bit_rate' is for audio/mp3"),
        ({"response_format": {"type": "text"}}, "speaks: ask for it"),
        ({"system_instruction": "Be kind."}, "no use for 'system_instruction'"),
        ({"input": "…"}, "There is no text to speak"),
    ],
)
def test_what_cannot_be_spoken_is_refused_in_words(speaking, body, words):
    asked = {"model": TTS, "input": "Hi.", "response_format": {"type": "audio"}} | body
    answer = speaking.request("POST", "/v1/interactions", asked)
    assert (answer.status, answer.json()["error"]["code"]) == (400, "invalid_request")
    assert words in answer.json()["error"]["message"]
