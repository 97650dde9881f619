"""Whisper's process: `python -m antiphon.media.hearing_process`, started by `media/hearing_whisper.py`.

A process of its own, since a fault in native code ends the process it happens in, and threads that compute would slow
the server's own. It reads a `Config`, then pieces of sound, and writes what it heard, one sentence or so after the other.
It ends with its parent: when its input closes and, on Linux, by the kernel's hand.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import struct
import sys
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import msgspec

LENGTH = struct.Struct(">Q")  # stands before each message, in bytes

_PR_SET_PDEATHSIG = 1
_BEAM = 5
_BREATH, _PAUSE = 0.1, 1.5  # seconds of silence after a mark, and without
_MARKS = (".", "?", "!", "…", "。", "？", "！", "।", "؟")
_TITLES = {"Mr.", "Mrs.", "Ms.", "Dr.", "Prof.", "St."}


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What the parent decides: the folder of the weights, where they run, on how many threads."""

    folder: str
    parent: int
    device: str
    threads: int


class Piece(msgspec.Struct, frozen=True, kw_only=True):
    """Half a minute of sound at most, as samples of 16 kHz. `languages` are those it may be in; none for any."""

    samples: bytes
    languages: tuple[str, ...] = ()
    vocabulary: str = ""


class Word(msgspec.Struct, frozen=True):
    """A word with the space before it, and from when to when it is said, in seconds."""

    text: str
    start: float
    end: float


class Segment(msgspec.Struct, frozen=True):
    """What is said from `start` to `end` seconds, with the space before it."""

    text: str
    start: float
    end: float
    words: tuple[Word, ...] = ()


class Said(msgspec.Struct, frozen=True, kw_only=True):
    """What a piece was heard to say; `sure` is how probable the language is. `fault` says why it could not be heard."""

    segments: tuple[Segment, ...] = ()
    language: str = ""
    sure: float = 0.0
    fault: str = ""


def main() -> None:
    """Listen until the parent goes away."""
    faulthandler.enable()
    source = sys.stdin.buffer
    # Native code writes to stdout as it likes; what it writes must not be taken for an answer.
    target = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    config = msgspec.msgpack.decode(next(_messages(source)), type=Config)
    _end_with(config.parent)
    try:
        model = _load(config)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        _write(target, Said(fault=f"{error}"))
        return
    _write(target, Said())
    for message in _messages(source):
        _write(target, _listen(model, msgspec.msgpack.decode(message, type=Piece)))
    os._exit(0)  # native threads are not waited for


def _messages(source: BinaryIO) -> Iterator[bytes]:
    while len(header := source.read(LENGTH.size)) == LENGTH.size:
        yield source.read(LENGTH.unpack(header)[0])


def _write(target: BinaryIO, said: Said) -> None:
    body = memoryview(LENGTH.pack(len(raw := msgspec.msgpack.encode(said))) + raw)
    while body:
        body = body[target.write(body) :]


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)  # it went before the kernel was told


def _load(config: Config) -> Any:
    # Only this process pays for loading the native library.
    from faster_whisper import WhisperModel

    model = WhisperModel(
        config.folder,
        device=config.device,
        compute_type="int8" if config.device == "cpu" else "default",
        cpu_threads=config.threads,
        local_files_only=True,
    )
    model.encode = _once(model.encode)
    return model


def _once(encode: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A sound is encoded to know its language, and again to be written down: half of the work, for nothing."""
    import numpy as np

    known: list[Any] = [None, None]

    def encoded(features: Any) -> Any:
        if known[0] is None or not np.array_equal(known[0], features):
            known[:] = features, encode(features)
        return known[1]

    return encoded


def _listen(model: Any, piece: Piece) -> Said:
    import numpy as np

    sound = np.frombuffer(piece.samples, np.int16).astype(np.float32) / 32768
    try:
        language = piece.languages[0] if len(piece.languages) == 1 else None
        if len(piece.languages) > 1:
            _, _, every = model.detect_language(sound, vad_filter=True)
            language = max(every, key=lambda one: one[1] if one[0] in piece.languages else -1.0)[0]
        segments, about = model.transcribe(
            sound,
            language=language,
            beam_size=_BEAM,
            without_timestamps=True,  # fewer mistakes; the words' times come from what the model attended to
            word_timestamps=True,
            vad_filter=True,  # where nobody speaks, Whisper invents
            condition_on_previous_text=False,
            hotwords=piece.vocabulary or None,
        )
        # A piece fits into one window. What came after the first would be its last moments, heard a second time.
        window = next(iter(segments), None)
        words = [
            Word(word.word, float(word.start), float(word.end)) for word in (window.words if window else None) or ()
        ]
        said = tuple(_sentences(words))
        if window is not None and not words and window.text.strip():
            said = (Segment(window.text, float(window.start), float(window.end)),)
    except (RuntimeError, ValueError) as error:
        return Said(fault=f"{error}")
    return Said(segments=said, language=about.language, sure=float(about.language_probability))


def _sentences(words: list[Word]) -> Iterator[Segment]:
    """The words in sentences, as far as they end with a mark and some silence, or a long one."""
    begin = 0
    for place, word in enumerate(words, 1):
        silence = words[place].start - word.end if place < len(words) else _PAUSE
        ended = silence >= _BREATH and word.text.endswith(_MARKS) and word.text.strip() not in _TITLES
        if silence >= _PAUSE or ended:
            part = tuple(words[begin:place])
            begin = place
            yield Segment("".join(one.text for one in part), part[0].start, part[-1].end, part)


if __name__ == "__main__":
    main()
