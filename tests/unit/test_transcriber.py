"""The model that writes down speech: its pieces, the places of its words, and what it refuses."""

from __future__ import annotations

import asyncio
import base64
from typing import Any

import pytest

from antiphon import wire
from antiphon.media.hearing import Hearing
from antiphon.media.hearing_languages import NAMES, code_of, name_of
from antiphon.models.transcriber import Transcriber
from antiphon.ports import Delta, Finish, Noted, Text, Tokens, Turn
from antiphon.ports.media import media_key
from serving import PATIENCE
from sounds import ear, film, heard, tone

CONFIG = "generation_config.transcription_config"
WORDS = wire.TranscriptionConfig(mode=wire.VerbatimMode(timestamp_granularities=["word"]))


def audio(seconds: float = 2.0, **fields: Any) -> wire.AudioContent:
    return wire.AudioContent(data=base64.b64encode(tone(seconds)).decode(), mime_type="audio/wav", **fields)


def turn(*content: wire.Content, **fields: Any) -> Turn:
    steps = [wire.UserInputStep(content=list(content))]
    return Turn(model="m", steps=steps, conversation="c", **fields)


def written(given: Turn, url: str | None) -> list[Delta]:
    async def whole() -> list[Delta]:
        model = Transcriber(Hearing(url=url))
        try:
            async with asyncio.timeout(PATIENCE):
                return [delta async for delta in model.stream(given)]
        finally:
            await model.aclose()

    return asyncio.run(whole())


def text_of(deltas: list[Delta]) -> str:
    return "".join(delta.text for delta in deltas if isinstance(delta, Text))


def test_speech_is_written_down_and_counted():
    with ear(heard("Bring the blue one.")) as server:
        deltas = written(turn(wire.TextContent(text="Transcribe this."), audio()), server.url)
    assert deltas == [Text("Bring the blue one."), Finish("stop", Tokens(input=64, output=4))]


def test_words_have_their_times_and_their_bytes_in_the_whole_text():
    with ear(heard("Ça brûle ici.", seconds=2.0), heard("Où ça, où?", seconds=2.0)) as server:
        deltas = written(turn(audio(), audio(), transcription=WORDS), server.url)
    text = text_of(deltas)
    assert text == "Ça brûle ici.\n\nOù ça, où?"
    words = [note for delta in deltas if isinstance(delta, Noted) for note in delta.annotations]
    assert all(isinstance(word, wire.WordInfo) for word in words)
    raw = text.encode()
    found = [raw[word.start_index : word.end_index].decode() for word in words if isinstance(word, wire.WordInfo)]
    assert found == ["Ça", "brûle", "ici.", "Où", "ça,", "où?"]
    assert words[0] == wire.WordInfo(text="Ça", start_offset="0s", end_offset="0.67s", start_index=0, end_index=3)
    assert [type(delta) for delta in deltas] == [Text, Noted, Text, Noted, Finish]


@pytest.mark.parametrize(
    "config",
    [
        wire.TranscriptionConfig(timestamp_granularities=["word"]),
        wire.TranscriptionConfig(mode="verbatim", timestamp_granularities=["word"]),
    ],
)
def test_the_older_place_of_the_granularities_is_known(config):
    with ear(heard("Yes.")) as server:
        deltas = written(turn(audio(), transcription=config), server.url)
    assert any(isinstance(delta, Noted) for delta in deltas)


def test_times_count_from_the_beginning_of_the_audio():
    part = audio(4.0, processing=wire.AudioStaticProcessing(start_offset="1.5s", end_offset="3s"))
    with ear(heard("Now.")) as server:
        deltas = written(turn(part, transcription=WORDS), server.url)
    (note,) = next(delta.annotations for delta in deltas if isinstance(delta, Noted))
    assert isinstance(note, wire.WordInfo)
    assert (note.start_offset, note.end_offset) == ("1.5s", "2.5s")
    assert deltas[-1] == Finish("stop", Tokens(input=48, output=1))


def test_languages_and_words_to_expect_are_passed_on():
    config = wire.TranscriptionConfig(
        language_codes=["pt-BR"], custom_vocabulary=["Okafor", "Antiphon"], adaptation_phrases=["half past"]
    )
    with ear(heard("Sim.")) as server:
        written(turn(audio(), transcription=config), server.url)
    assert server.forms[0]["language"] == ["pt"]
    assert server.forms[0]["prompt"] == ["Okafor, Antiphon, half past"]


def test_the_sound_of_a_video_and_what_a_uri_stood_for_are_heard_too():
    film_ = wire.VideoContent(data=base64.b64encode(film(2.0, sound="aac")).decode(), mime_type="video/mp4")
    linked = wire.AudioContent(uri="files/abc", mime_type="audio/wav")
    with ear(heard("One."), heard("Two.")) as server:
        deltas = written(turn(film_, linked, digests={media_key(linked): [audio()]}), server.url)
    assert text_of(deltas) == "One.\n\nTwo."


def test_what_was_cut_on_its_way_here_keeps_its_times():
    linked = wire.AudioContent(uri="files/abc", processing=wire.AudioStaticProcessing(start_offset="60s"))
    with ear(heard("Now.")) as server:
        deltas = written(turn(linked, digests={media_key(linked): [audio()]}, transcription=WORDS), server.url)
    (note,) = next(delta.annotations for delta in deltas if isinstance(delta, Noted))
    assert isinstance(note, wire.WordInfo) and note.start_offset == "60s"


def test_the_answer_ends_where_no_more_is_wanted():
    with ear(heard("One two three four.")) as server:
        deltas = written(turn(audio(), max_output_tokens=2), server.url)
    assert deltas == [Text("One two"), Finish("length", Tokens(input=64, output=2))]


@pytest.mark.parametrize(
    ("config", "words"),
    [
        (wire.TranscriptionConfig(mode="smart"), f"`{CONFIG}.mode`: 'smart' is not available"),
        (wire.TranscriptionConfig(mode=wire.SmartMode(source_text="x")), f"`{CONFIG}.mode`: 'smart' is not available"),
        (wire.TranscriptionConfig(diarization_mode="speaker"), f"`{CONFIG}.diarization_mode`: who speaks"),
        (
            wire.TranscriptionConfig(mode=wire.VerbatimMode(diarization_mode="speaker")),
            f"`{CONFIG}.mode.diarization_mode`: who speaks",
        ),
        (
            wire.TranscriptionConfig(timestamp_granularities=["word", "segment"]),
            f"`{CONFIG}.timestamp_granularities[1]`: there are times of each 'word', not of 'segment'",
        ),
        (wire.TranscriptionConfig(language_codes=["en", "tlh"]), f"`{CONFIG}.language_codes[1]`: no language 'tlh'"),
        (wire.TranscriptionConfig(language_hints=["xx"]), f"`{CONFIG}.language_hints[0]`: no language 'xx'"),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_place(config, words):
    with pytest.raises(wire.InvalidRequest) as caught:
        written(turn(audio(), transcription=config), None)
    assert words in caught.value.message


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (turn(wire.TextContent(text="Hello")), "there is no audio at 'input'"),
        (turn(wire.AudioContent(uri="files/abc")), "`input[0]`: there is no `data`"),
        (turn(wire.AudioContent(data="@@@")), "`input[0].data` is not base64"),
        (turn(wire.AudioContent(data="AAAA")), "`input[0]`: It is broken"),
        (turn(audio()), "`input[0]`: Nothing here listens to speech: pip install"),
        (turn(audio(), json_object=True), "`response_format`"),
    ],
)
def test_what_is_no_speech_is_refused(given, words):
    with pytest.raises(wire.InvalidRequest) as caught:
        written(given, None)
    assert words in caught.value.message


def test_languages_are_known_by_their_codes_and_names():
    assert [code_of(code) for code in ("en-US", "cmn-Hans-CN", "nb_NO", "fil", "English", "tlh")] == [
        "en", "zh", "no", "tl", "en", "",
    ]  # fmt: skip
    assert name_of("de") == "German"
    assert all(code_of(code) == code and code_of(name) == code for code, name in NAMES.items())
