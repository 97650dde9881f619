"""Models that speak, over a speech server on this machine and over the real voice in its real process."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from typing import Any

import pytest
from aiohttp import web

from antiphon import wire
from antiphon.models.speech import SpeechModel, Spoken
from antiphon.ports import Call, Delta, Finish, Made, Speak, Text, Thought, Tokens, Turn
from antiphon.speech.piper import Piper
from antiphon.speech.remote import RemoteSpeech
from antiphon.wire import AudioFormat, SpeechConfig
from services import Service, service, status

SECOND = struct.pack("<h", 100) * 24000


class Written:
    """A model of text that answers with these deltas."""

    modalities = frozenset({"text", "image"})
    room = 1234

    def __init__(self, *deltas: Delta) -> None:
        self._deltas = deltas
        self.turns: list[Turn] = []

    async def stream(self, turn: Turn) -> AsyncIterator[Delta]:
        self.turns.append(turn)
        for delta in self._deltas:
            yield delta

    async def aclose(self) -> None:
        self._deltas = ()


def turn(said: str = "Hi.", voices: Sequence[SpeechConfig] = (), **more: Any) -> Turn:
    asked = wire.UserInputStep(content=[wire.TextContent(text=said)])
    return Turn(
        **{"model": "tts", "steps": [asked], "conversation": "c", "text": False, "audio": AudioFormat()}
        | {"voices": tuple(voices)}
        | more
    )


async def all_of(deltas: AsyncIterator[Delta]) -> list[Delta]:
    return [delta async for delta in deltas]


def sound(deltas: list[Delta]) -> bytes:
    return b"".join(base64.b64decode(delta.content.data or "") for delta in deltas if isinstance(delta, Made))


def asked(server: Service) -> list[dict[str, Any]]:
    return [json.loads(body) for *_, body in server.asked]


def a_second(request: web.Request) -> web.Response:
    return web.Response(body=SECOND, content_type="audio/pcm")


async def from_piper(text: str, voices: Sequence[SpeechConfig], speak: Speak, **format: Any) -> bytes:
    found = [piece async for piece in speak(text, voices, AudioFormat(**format))]
    return b"".join(base64.b64decode(piece.data or "") for piece in found)


# ---------------------------------------------------------------------------------------------------- a speech server


def test_a_speech_server_is_asked_for_each_speakers_lines():
    async def run():
        async with service(a_second) as server:
            speak = RemoteSpeech(
                f"{server.url}/v1", api_key="sk-1", model="kokoro", voices={"Kore": "af_bella", "Puck": "am_eric"}
            )
            voices = [SpeechConfig(speaker="Joe", voice="Puck"), SpeechConfig(speaker="Jane", voice="kore")]
            try:
                found = await all_of(SpeechModel(speak).stream(turn("Say fast:\nJoe: One. Two.\nJane: Three.", voices)))
                return found, server
            finally:
                await speak.aclose()

    found, server = asyncio.run(run())
    assert asked(server) == [
        {"model": "kokoro", "input": "One. Two.", "voice": "am_eric", "response_format": "pcm"},
        {"model": "kokoro", "input": "Three.", "voice": "af_bella", "response_format": "pcm"},
    ]
    method, path, _, headers, _ = server.asked[0]
    assert (method, path, headers["Authorization"]) == ("POST", "/v1/audio/speech", "Bearer sk-1")
    assert sound(found) == 2 * SECOND
    first, *_, finish = found
    assert isinstance(first, Made) and isinstance(finish, Finish)
    assert (first.content.mime_type, first.content.sample_rate, first.content.channels) == ("audio/l16", 24000, 1)
    assert finish.tokens == Tokens(input=9, output=64, made=(("audio", 64),))


def test_a_servers_wav_is_taken_for_what_it_is():
    head = (
        b"RIFF\xff\xff\xff\xffWAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, 12000, 24000, 2, 16)
        + b"data\xff\xff\xff\xff"
    )

    async def run():
        async with service(lambda request: web.Response(body=head + SECOND, content_type="audio/wav")) as server:
            speak = RemoteSpeech(server.url)
            try:
                return sound(await all_of(SpeechModel(speak).stream(turn())))
            finally:
                await speak.aclose()

    assert len(asyncio.run(run())) == pytest.approx(2 * len(SECOND), rel=0.01)


@pytest.mark.parametrize(
    ("answer", "error", "words"),
    [
        (status(400, "input too long"), wire.InvalidRequest, "refuses this: input too long"),
        (status(401), wire.FailedPrecondition, "answered 401; its settings here are wrong"),
        (status(503, "busy"), wire.Unavailable, "answered 503: busy"),
        (lambda request: web.Response(body=b"ID3" + bytes(100)), wire.Unavailable, "something else than the 'pcm'"),
        (lambda request: web.Response(body=b"RIFF" + bytes(100)), wire.Unavailable, "WAV that is not of 16 bits"),
    ],
)
def test_a_servers_refusal_is_told(answer, error, words):
    async def run():
        async with service(answer) as server:
            speak = RemoteSpeech(server.url)
            try:
                await all_of(SpeechModel(speak).stream(turn()))
            finally:
                await speak.aclose()

    with pytest.raises(error, match=words):
        asyncio.run(run())


def test_a_server_that_is_not_there_is_told():
    async def run():
        speak = RemoteSpeech("http://127.0.0.1:9")
        try:
            await all_of(SpeechModel(speak).stream(turn()))
        finally:
            await speak.aclose()

    with pytest.raises(wire.Unavailable, match="cannot be reached"):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"voice": "Bob"}, "no voice 'Bob' at .*alloy.*Sulafat"),
        ({"language": "de"}, "'de' at .*languages that this server asks for: none"),
    ],
)
def test_what_a_server_cannot_be_asked_is_refused(config, words):
    with pytest.raises(wire.InvalidRequest, match=words):
        asyncio.run(
            all_of(SpeechModel(RemoteSpeech("http://127.0.0.1:9")).stream(turn("Hi.", [SpeechConfig(**config)])))
        )


# ---------------------------------------------------------------------------------------------------- models


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"audio": None}, "speaks: ask for it with 'response_format'"),
        ({"said": "…"}, "no text to speak"),
        ({"system_instruction": "Be kind."}, "no use for 'system_instruction'"),
        ({"schema": {"type": "object"}}, "no use for 'response_format'"),
    ],
)
def test_a_speech_model_refuses_what_it_cannot_speak(more, words):
    with pytest.raises(wire.InvalidRequest, match=words):
        asyncio.run(all_of(SpeechModel(RemoteSpeech("http://127.0.0.1:9")).stream(turn(**more))))


def spoken(*deltas: Delta, **asked: Any) -> tuple[list[Delta], Service, Written]:
    """What a model's answer becomes, the speech server, and the model."""

    async def run():
        async with service(a_second) as server:
            speak, model = RemoteSpeech(server.url), Written(*deltas)
            try:
                return await all_of(Spoken(model, speak).stream(turn(**asked))), server, model
            finally:
                await speak.aclose()

    return asyncio.run(run())


ANSWER = (Thought("Hm."), Text("It is **one"), Text("**. It is t"), Text("wo."), Call(0, "f", "{}"))
ANSWER += (Finish("length", Tokens(input=9, output=7)),)


def test_an_answer_is_spoken_sentence_by_sentence():
    found, server, model = spoken(*ANSWER)
    assert [body["input"] for body in asked(server)] == ["It is one.", "It is two."]
    assert found[0] == Thought("Hm.")
    assert all(isinstance(delta, Made) for delta in found[1:-2]) and sound(found) == 2 * SECOND
    assert found[-2:] == [Call(0, "f", "{}"), Finish("length", Tokens(input=9, output=71, made=(("audio", 64),)))]
    (inner,) = model.turns
    assert (inner.text, inner.audio, inner.voices) == (True, None, ())


def test_the_text_comes_before_the_sound_where_both_are_wanted():
    found, _, _ = spoken(*ANSWER, text=True)
    assert found[:4] == [Thought("Hm."), Text("It is **one"), Text("**. It is t"), Text("wo.")]
    assert all(isinstance(delta, Made) for delta in found[4:-2])
    assert sound(found) == 2 * SECOND


def test_an_answer_without_words_has_no_sound():
    found, server, _ = spoken(Call(0, "f", "{}"), Finish())
    assert found == [Call(0, "f", "{}"), Finish()] and server.asked == []


def test_what_asks_for_no_sound_passes_through():
    found, server, _ = spoken(*ANSWER, audio=None, text=True)
    assert found == list(ANSWER) and server.asked == []


def test_a_model_that_is_spoken_is_still_the_model():
    model = Spoken(Written(), RemoteSpeech("http://127.0.0.1:9"))
    assert (model.modalities, model.room, model.gives) == (
        frozenset({"text", "image"}),
        1234,
        frozenset({"text", "audio"}),
    )
    assert not hasattr(model, "context")


class Failing(Written):
    async def stream(self, turn: Turn) -> AsyncIterator[Delta]:
        yield Text("One. Two")
        raise wire.Unavailable("The model has left.")


def test_a_fault_of_the_model_and_one_of_the_voice_come_through():
    async def run(model: Written, **more: Any):
        async with service(a_second) as server:
            speak = RemoteSpeech(server.url)
            try:
                return await all_of(Spoken(model, speak).stream(turn(**more)))
            finally:
                await speak.aclose()

    with pytest.raises(wire.Unavailable, match="has left"):
        asyncio.run(run(Failing()))
    with pytest.raises(wire.InvalidRequest, match="no voice 'Bob'"):
        asyncio.run(run(Written(*ANSWER), voices=[SpeechConfig(voice="Bob")]))


def test_sound_that_nobody_follows_comes_whole():
    found, _, _ = spoken(*ANSWER, followed=False, audio=AudioFormat(mime_type="audio/wav"))
    made = [delta for delta in found if isinstance(delta, Made)]
    assert len(made) == 1
    assert int.from_bytes(sound(found)[40:44], "little") == 2 * len(SECOND)


# ---------------------------------------------------------------------------------------------------- the voice


def with_piper(body: Any, **options: Any) -> Any:
    async def run():
        piper = Piper(**options)
        try:
            return await body(piper)
        finally:
            await piper.aclose()
            assert piper.pid is None

    return asyncio.run(run())


@pytest.mark.model
def test_a_voice_speaks_at_a_plausible_pace_and_names_differ():
    text = "The quick brown fox jumps over the lazy dog."

    async def body(piper):
        plain = await from_piper(text, [], piper)
        slow = await from_piper(text, [SpeechConfig(voice="Callirrhoe")], piper)
        fast = await from_piper(text, [SpeechConfig(voice="Fenrir")], piper)
        return [len(samples) / 2 / 24000 for samples in (plain, slow, fast)]

    plain, slow, fast = with_piper(body)
    assert 2 < plain < 4.5
    assert fast < slow


@pytest.mark.model
def test_a_process_that_dies_is_started_again_and_closing_ends_it():
    async def body(piper):
        assert piper.pid is None, "nothing is started before it is wanted"
        await from_piper("One.", [], piper)
        first = piper.pid
        os.kill(first, signal.SIGKILL)
        sounds = await from_piper("Two.", [], piper)
        assert sounds and piper.pid not in (None, first)
        second = piper.pid
        await from_piper("Three.", [], piper)
        assert piper.pid == second, "it is kept"
        await piper.aclose()
        with pytest.raises(wire.Unavailable, match="closed"):
            await from_piper("Four.", [], piper)

    with_piper(body)


@pytest.mark.model
def test_who_leaves_in_the_middle_does_not_end_the_voice_of_others():
    async def body(piper):
        await from_piper("One.", [], piper)
        pid = piper.pid
        leaving = asyncio.create_task(
            from_piper("A long sentence that somebody does not hear to its end. " * 5, [], piper)
        )
        others = [asyncio.create_task(from_piper("I stay.", [], piper)) for _ in range(2)]
        await asyncio.sleep(0)
        leaving.cancel()
        assert all(await asyncio.gather(*others))
        async with aclosing(piper("First. Second. Third.", [], AudioFormat())) as pieces:
            assert await anext(pieces)
        assert await from_piper("Last.", [], piper)
        assert piper.pid == pid

    with_piper(body)


@pytest.mark.model
def test_the_voice_is_loaded_while_the_answer_is_still_being_written():
    async def body(piper):
        written = asyncio.Event()

        async def text():
            await written.wait()
            yield "One."

        sounds = asyncio.create_task(anext(piper(text(), [], AudioFormat())))
        while piper.pid is None:  # noqa: ASYNC110 - a process has no event to wait for
            await asyncio.sleep(0)
        written.set()
        assert (await sounds).data

    with_piper(body)


@pytest.mark.model
def test_a_sentence_that_takes_too_long_is_given_up():
    async def body(piper):
        with pytest.raises(wire.Unavailable, match="too slow"):
            await from_piper("One.", [], piper)

    with_piper(body, seconds=0.01)


@pytest.mark.model
def test_a_broken_voice_is_told_and_the_others_speak_on(tmp_path):
    (tmp_path / "en_US-broken.onnx").write_bytes(b"no weights")
    (tmp_path / "en_US-broken.onnx.json").write_text('{"language": {"code": "en_US"}}')

    async def body(piper):
        with pytest.raises(wire.FailedPrecondition, match="en_US-broken cannot be loaded"):
            await from_piper("One.", [SpeechConfig(voice="en_US-broken")], piper)
        return await from_piper("One.", [], piper)

    assert with_piper(body, folder=tmp_path)


def test_a_folder_that_is_not_there_is_told(tmp_path):
    async def body(piper):
        await piper.voices()

    with pytest.raises(
        wire.FailedPrecondition, match=r"Speech cannot be made: there is no folder of voices .*nowhere\."
    ):
        with_piper(body, folder=tmp_path / "nowhere")
