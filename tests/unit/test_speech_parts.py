"""Speech without a voice: what is said by whom, what may be asked, and sound written in each format."""

from __future__ import annotations

import base64
import io
import json
import math
import struct
import wave
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import pytest

from antiphon import wire
from antiphon.models.speech import with_length
from antiphon.models.speech_text import Sayings, plain, transcript
from antiphon.speech.formats import Encoder, content, format_of
from antiphon.speech.script import Line, Script, pieces
from antiphon.speech.voices import PREBUILT, Catalogue, found_in
from antiphon.wire import AudioFormat, SpeechConfig

LONG = (
    "The river that comes down from the mountains in spring, when the snow melts, carries stones as large as houses; "
    "nobody who has not seen it believes it, and those who have seen it never build their houses near its banks again."
)

# ---------------------------------------------------------------------------------------------------- who says what


def test_lines_go_to_the_speakers_they_name():
    script = Script(["Joe", "Dr. Jane"])
    said = list(script.lines("A walk.\nJoe: How are you?\nReally?\n**Dr. Jane:** Fine.\njoe:  Good: very good."))
    assert [(line.speaker, line.text.strip()) for line in said] == [
        (0, "A walk."),
        (0, "How are you?\nReally?"),
        (1, "Fine."),
        (0, "Good: very good."),
    ]


def test_a_speaker_goes_on_in_the_next_part_of_a_text():
    script = Script(["Joe", "Jane"])
    said = [line for part in ("Jane: Hello.", "How are you?", "Joe: Fine.") for line in script.lines(part)]
    assert said == [Line(1, "Hello."), Line(1, "How are you?"), Line(0, "Fine.")]


def test_without_speakers_a_text_is_one_line():
    assert list(Script([None]).lines("Joe: Hi.")) == [Line(0, "Joe: Hi.")]


def test_pieces_are_sentences_and_long_ones_are_cut_where_they_breathe():
    assert list(pieces("Hello, Dr. Smith. How are\nyou? … Fine!")) == ["Hello, Dr. Smith.", "How are you?", "Fine!"]
    cut = list(pieces(LONG, first=True))
    assert " ".join(cut) == LONG
    assert len(cut[0]) <= 90 and all(len(piece) >= 25 for piece in cut)
    assert cut[0].endswith(",")


@pytest.mark.parametrize("text", ["", " \n ", "…", "---", "\u202e", "* * *"])
def test_what_cannot_be_said_is_no_piece(text):
    assert list(pieces(text)) == []


def test_a_word_without_an_end_is_cut_all_the_same():
    cut = list(pieces("a" * 1000))
    assert "".join(cut) == "a" * 1000 and max(map(len, cut)) <= 240


def test_numbers_make_shorter_pieces_and_pictures_are_not_said():
    assert max(map(len, pieces("1/2 " * 60))) <= 60
    assert list(pieces("Well done 🎉 👍🏽!")) == ["Well done !"]
    assert list(pieces("21 °C, ½ cup.")) == ["21 °C, ½ cup."]


def test_headings_and_numbers_of_items_are_said():
    assert list(pieces("# Fruit\n1. Apples\n2. Pears")) == ["Fruit.", "1, Apples", "2, Pears"]


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("Have a nice day.", "Have a nice day."),
        ("Say cheerfully: Have a wonderful day!", "Have a wonderful day!"),
        ('Say in a spooky whisper:\n"By the pricking…"', '"By the pricking…"'),
        ("TTS the following conversation between Joe and Jane:\nJoe: Hi.\nJane: Hello.", "Joe: Hi.\nJane: Hello."),
        ("Make Joe sound tired, and Jane happy:\n\nJoe: Hi.", "Joe: Hi."),
        ("Read https://x.org aloud", "Read https://x.org aloud"),
        ("Say:", "Say:"),
        ("Reader: hello", "Reader: hello"),
        ("# PROFILE\nA host.\n#### TRANSCRIPT\n[laughs] Yes! [whispers] No.", "Yes!   No."),
    ],
)
def test_a_direction_is_not_said(prompt, said):
    assert transcript(prompt) == said


@pytest.mark.parametrize(
    ("markdown", "said"),
    [
        (
            "It is **very** _long_ [1], see `code` and [the page](https://x.org/a).",
            "It is very long, see code and the page.",
        ),
        ("| Paris | 21 |", "Paris, 21"),
        ("snake_case stays", "snake_case stays"),
        ("See <https://x.org>.", "See."),
    ],
)
def test_signs_of_markdown_are_not_said(markdown, said):
    assert plain(markdown) == said


def test_an_answer_in_pieces_is_said_sentence_by_sentence_without_its_code():
    answer = "# Fruit\n\nHere **it** is. So:\n\n1. Apples\n2. Pears\n\n```py\nx = 1. And.\n```\nThat is all."
    for size in (1, 3, 1000):
        sayings = Sayings()
        said = [it for start in range(0, len(answer), size) for it in sayings.add(answer[start : start + size])]
        assert [*said, *sayings.end()] == ["Fruit.", "Here it is.", "So:", "1, Apples", "2, Pears", "That is all."]


# ---------------------------------------------------------------------------------------------------- voices


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three voices, one of them with two speakers, as far as their settings go."""
    for name, language, more in (
        ("en_GB-alba-low", "en_GB", {}),
        ("en_US-two-medium", "en_US", {"num_speakers": 2, "speaker_id_map": {"anna": 0, "ben": 1}}),
        ("de_DE-thorsten-high", "de_DE", {"inference": {"length_scale": 1.2}}),
    ):
        (tmp_path / f"{name}.onnx").write_bytes(b"weights")
        said = {"audio": {"sample_rate": 16000}, "language": {"code": language}, **more}
        (tmp_path / f"{name}.onnx.json").write_text(json.dumps(said))
    return tmp_path


@pytest.fixture
def catalogue(folder: Path) -> Catalogue:
    return Catalogue(
        found_in(folder), "en_US-two-medium/ben", {"Narrator": "de_DE-thorsten-high", "Kore": "en_GB-alba-low"}
    )


def who(catalogue: Catalogue, **asked: Any) -> str:
    return catalogue.cast([SpeechConfig(**asked)])[0].voice.id


def test_a_folder_of_voices_is_read(folder):
    found = {voice.id: (voice.language, voice.speaker, voice.length) for voice in found_in(folder)}
    assert found == {
        "de_DE-thorsten-high": ("de-DE", None, 1.2),
        "en_GB-alba-low": ("en-GB", None, 1.0),
        "en_US-two-medium/anna": ("en-US", 0, 1.0),
        "en_US-two-medium/ben": ("en-US", 1, 1.0),
    }


def test_a_voice_is_found_by_its_own_name_a_given_name_and_a_name_of_the_service(catalogue):
    assert [manner.voice.id for manner in catalogue.cast([])] == ["en_US-two-medium/ben"]
    assert who(catalogue, voice="en_GB-alba-low") == "en_GB-alba-low"
    assert who(catalogue, voice="narrator") == "de_DE-thorsten-high"
    assert who(catalogue, voice="kore") == "en_GB-alba-low"
    assert who(catalogue, voice="Zephyr") == "en_US-two-medium/anna"
    assert who(catalogue, voice="puck") == "en_US-two-medium/ben"


def test_a_language_chooses_among_the_voices(catalogue):
    assert who(catalogue, language="de") == "de_DE-thorsten-high"
    assert who(catalogue, language="en_gb") == "en_GB-alba-low"
    assert who(catalogue, language="en-AU", voice="en_US-two-medium/anna") == "en_US-two-medium/anna"
    assert who(catalogue, language="de-AT", voice="Puck") == "de_DE-thorsten-high"


def test_every_name_of_the_service_sounds_like_no_other_where_there_is_one_voice(folder):
    one = Catalogue(found_in(folder)[:1])
    heard = {(manner.pitch, manner.tempo) for name in PREBUILT for manner in one.cast([SpeechConfig(voice=name)])}
    assert len(heard) == len(PREBUILT) == 30


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (
            [{"voice": "Bob"}],
            r"no voice 'Bob' at 'generation_config.speech_config\[0\].voice'. There are: de_DE.*Sulafat",
        ),
        (
            [{"language": "fr-FR"}],
            r"speaks 'fr-FR' at 'generation_config.speech_config\[0\].language', only de-DE, en-",
        ),
        ([{"language": "de", "voice": "Kore"}], "'Kore' does not speak de at .*en-GB"),
        ([{"voice": "Kore"}, {"voice": "Puck"}], r"speech_config\[0\].speaker' is missing"),
        ([{"speaker": "Joe"}, {"speaker": "joe"}], r"'joe' at .*speech_config\[1\].speaker' has a voice already"),
    ],
)
def test_what_no_voice_can_do_is_refused_in_words(catalogue, asked, words):
    with pytest.raises(wire.InvalidRequest, match=words):
        catalogue.cast([SpeechConfig(**config) for config in asked])


def test_speakers_without_voices_have_different_ones(folder):
    one = Catalogue(found_in(folder)[:1])
    joe, jane = one.cast([SpeechConfig(speaker="Joe"), SpeechConfig(speaker="Jane")])
    assert (joe.pitch, joe.tempo) != (jane.pitch, jane.tempo)


def test_voices_are_listed_with_who_speaks_for_whom(catalogue):
    listed = {voice.id: voice for voice in catalogue.listed()}
    assert len(listed) == 4 + 30 + 1
    assert listed["Kore"].description == "Spoken by en_GB-alba-low."
    assert listed["Kore"].language_code == "en-GB"
    assert listed["Fenrir"].description == "Spoken by en_US-two-medium/anna, pitch × 1.02, tempo × 1.1."


@pytest.mark.parametrize(("default", "names"), [("nobody", {}), ("", {"Kore": "nobody"})])
def test_settings_that_name_no_voice_are_refused(folder, default, names):
    with pytest.raises(ValueError, match="no voice nobody; there are de_DE"):
        Catalogue(found_in(folder), default, names)


def test_a_voice_without_its_settings_is_refused_in_words(folder):
    (folder / "xx.onnx").write_bytes(b"weights")
    with pytest.raises(ValueError, match=r"the voice xx.onnx needs its settings in xx.onnx.json"):
        found_in(folder)
    with pytest.raises(ValueError, match="no folder of voices"):
        found_in(folder / "nowhere")


# ---------------------------------------------------------------------------------------------------- formats


def tone(seconds: float, rate: int) -> bytes:
    """440 Hz."""
    return b"".join(
        struct.pack("<h", int(12_000 * math.sin(2 * math.pi * 440 * place / rate)))
        for place in range(int(seconds * rate))
    )


BARE = {"audio/l16": "s16le", "audio/alaw": "alaw", "audio/mulaw": "mulaw"}  # files without a head
TYPES = [*BARE, "audio/wav", "audio/mp3", "audio/ogg_opus"]


def heard(data: bytes, kind: str, rate: int) -> tuple[int, float, float]:
    """The rate, the length in seconds and the pitch in Hz of a file, as a player finds them."""
    options = {"sample_rate": str(rate), "ch_layout": "mono"} if kind in BARE else {}
    with av.open(io.BytesIO(data), format=BARE.get(kind), options=options) as file:
        plain = av.AudioResampler("s16", "mono")
        frames = [frame for decoded in file.decode(audio=0) for frame in plain.resample(decoded)]
    samples = b"".join(bytes(frame.planes[0])[: 2 * frame.samples] for frame in frames)
    found = struct.unpack(f"<{len(samples) // 2}h", samples)
    found_rate = frames[0].sample_rate
    second = found[found_rate // 2 : found_rate // 2 + found_rate]  # in the middle of it
    ups = sum(a < 0 <= b for a, b in pairwise(second))
    return found_rate, len(found) / found_rate, float(ups)


@pytest.mark.parametrize("rate", [None, 8000, 48000])
@pytest.mark.parametrize("kind", TYPES)
def test_pieces_joined_are_one_file_that_players_play(kind, rate):
    format = format_of(AudioFormat(mime_type=kind, sample_rate=rate))
    encoder = Encoder(format)
    parts = [encoder.add(tone(1.0, 22050), 22050), encoder.add(tone(1.0, 22050), 22050)]
    parts += [encoder.pause(0.25), encoder.add(tone(0.5, 18963), 18963), encoder.end()]
    assert all(parts[:2]), "sound is given away as it is made"
    found, seconds, pitch = heard(b"".join(parts), kind, format.rate)
    assert found == (48000 if kind == "audio/ogg_opus" else format.rate)  # Opus is always played at 48 kHz
    assert seconds == pytest.approx(2.75, abs=0.25 if kind == "audio/mp3" else 0.01)
    assert encoder.seconds == pytest.approx(2.75, abs=0.01)
    assert pitch == pytest.approx(440, abs=4)


def test_nothing_said_is_no_file():
    for kind in TYPES:
        assert Encoder(format_of(AudioFormat(mime_type=kind))).end() == b""


def test_a_bit_rate_is_kept():
    sizes = {}
    for kind in ("audio/mp3", "audio/ogg_opus"):
        for bits in (16_000, 64_000):
            encoder = Encoder(format_of(AudioFormat(mime_type=kind, bit_rate=bits)))
            sizes[kind, bits] = len(encoder.add(tone(4, 24000), 24000) + encoder.end())
    assert sizes["audio/mp3", 64_000] == pytest.approx(32_000, rel=0.1)
    assert sizes["audio/mp3", 16_000] == pytest.approx(8_000, rel=0.1)
    assert sizes["audio/ogg_opus", 16_000] < sizes["audio/ogg_opus", 64_000] / 2


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"bit_rate": 64_000}, "'response_format.bit_rate' is for audio/mp3 and audio/ogg_opus: audio/l16"),
        ({"mime_type": "audio/wav", "bit_rate": 64_000}, "audio/wav has the bit rate of its samples"),
        ({"mime_type": "audio/mp3", "bit_rate": 1}, "1 at 'response_format.bit_rate' is not from 8000 to 160000"),
        ({"mime_type": "audio/mp3", "sample_rate": 12345}, "12345 at 'response_format.sample_rate' is not one of 8000"),
        ({"mime_type": "audio/ogg_opus", "sample_rate": 44100}, "not one of 8000, 12000, 16000, 24000, 48000"),
        ({"sample_rate": 0}, "0 at 'response_format.sample_rate' is not from 8000 to 48000"),
    ],
)
def test_a_format_that_cannot_be_is_refused_in_words(asked, words):
    with pytest.raises(wire.InvalidRequest, match=words):
        format_of(AudioFormat(**asked))


def test_a_whole_wav_file_says_how_long_it_is():
    encoder = Encoder(format_of(AudioFormat(mime_type="audio/wav")))
    data = encoder.add(tone(0.5, 24000), 24000) + encoder.end()
    assert data[4:8] == data[40:44] == b"\xff\xff\xff\xff", "a stream does not know"
    with wave.open(io.BytesIO(with_length(data))) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (24000, 1, 12000)


def test_a_piece_says_what_it_is():
    piece = content(b"\0\1", format_of(AudioFormat()))
    assert (piece.mime_type, piece.sample_rate, piece.channels) == ("audio/l16", 24000, 1)
    assert base64.b64decode(piece.data or "") == b"\0\1"
