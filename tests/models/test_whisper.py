"""The real Whisper listens to Piper's voice: what it hears, when, in which process."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
from array import array
from functools import partial
from pathlib import Path

import pytest

from antiphon import weights, wire
from antiphon.media.hearing import Asked, DigestAudio, Hearing
from antiphon.media.sound import RATE, Cut
from antiphon.models.transcriber import Transcriber
from antiphon.ports import Medium, Noted, Text, Turn, Wanted
from antiphon.speech.piper import Piper
from serving import PATIENCE
from sounds import wav

pytestmark = pytest.mark.model
SENTENCE = "The library will be open on Sundays during the summer."


async def spoken(text: str) -> bytes:
    piper = Piper()
    try:
        pieces = [piece async for piece in piper(text, [], wire.AudioFormat(mime_type="audio/wav"))]
    finally:
        await piper.aclose()
    return b"".join(base64.b64decode(piece.data or "") for piece in pieces)


def plain(text: str) -> str:
    return "".join(sign for sign in text.lower() if sign.isalnum() or sign == " ").strip()


def test_what_is_spoken_here_is_understood_here_with_the_times_of_its_words():
    async def heard() -> None:
        hearing = Hearing(partial(weights.fetch, weights.WHISPER))
        try:
            async with asyncio.timeout(4 * PATIENCE):  # three starts of Whisper, on a busy machine
                body = await spoken(SENTENCE)
                sound = await hearing.decode(body, Cut())
                config = wire.TranscriptionConfig(language_codes=["en-US"], timestamp_granularities=["word"])
                part = wire.AudioContent(data=base64.b64encode(body).decode(), mime_type="audio/wav")
                steps = [wire.UserInputStep(content=[part])]
                turn = Turn(model="m", steps=steps, conversation="c", transcription=config)
                deltas = [delta async for delta in Transcriber(hearing).stream(turn)]
                text = "".join(delta.text for delta in deltas if isinstance(delta, Text))
                assert plain(text) == plain(SENTENCE)
                words = [note for delta in deltas if isinstance(delta, Noted) for note in delta.annotations]
                times = [float((word.start_offset or "")[:-1]) for word in words if isinstance(word, wire.WordInfo)]
                assert len(times) == len(text.split())
                assert times == sorted(times) and 0 <= times[0] < 1 and times[-1] < sound.seconds
                await after_a_crash(hearing, body)
                await after_a_silence(hearing)
        finally:
            pid = hearing.pid
            await hearing.aclose()
        assert pid is not None
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)

    asyncio.run(heard())


async def after_a_crash(hearing: Hearing, body: bytes) -> None:
    """The next recording has a new process; and of two languages the one that is spoken is found."""
    assert hearing.pid is not None
    os.kill(hearing.pid, signal.SIGKILL)
    sound = await hearing.decode(body, Cut())
    said = [each async for each in hearing.transcribe(sound, Asked(languages=("de", "en")))]
    assert [each.language for each in said] == ["en"]
    assert plain("".join(segment.text for each in said for segment in each.segments)) == plain(SENTENCE)


async def after_a_silence(hearing: Hearing) -> None:
    silence = Medium(kind="audio", body=wav(array("h", [0] * RATE * 2)), mime_type=None, content=wire.AudioContent())
    digest = await DigestAudio(hearing)(silence, Wanted())
    assert digest.parts == (wire.TextContent(text="[audio, 2.0 s, no speech in it]"),)


def unreachable() -> Path:
    raise weights.WeightsError("no way to them")


@pytest.mark.parametrize(
    ("given", "words", "logged"),
    [
        (lambda: Path(__file__).parent, "Whisper cannot be loaded here", "Unable to open file 'model.bin'"),
        (unreachable, "The weights of Whisper cannot be had", "no way to them"),
    ],
)
def test_weights_that_are_none_are_told(given, words, logged, caplog):
    async def heard() -> None:
        hearing = Hearing(given)
        try:
            sound = await hearing.decode(wav(array("h", [0] * RATE)), Cut())
            with pytest.raises(wire.Unavailable, match=words):
                _ = [each async for each in hearing.transcribe(sound)]
        finally:
            await hearing.aclose()

    asyncio.run(heard())
    assert logged in caplog.text
