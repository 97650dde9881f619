"""The process that speaks: `python -m antiphon.speech.piper_process`, started by `speech/piper.py`.

Piper stands under the GPL, and reads what users wrote with native code: it runs here and is loaded nowhere else. Jobs come
on the standard input and sound goes out on the standard output, one after the other.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import signal
import struct
import sys
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from piper import PiperVoice

LENGTH = struct.Struct(">I")  # stands before each message, in bytes
_PR_SET_PDEATHSIG = 1
_LOADED = 4  # voices that are held, some 150 MB each


class Setup(msgspec.Struct, frozen=True, kw_only=True):
    """The first message: the process to end with, and how many threads work on a sentence."""

    parent: int
    threads: int


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence to be spoken. `length` is how long the sounds are: 2 is half as fast. `sha256` is the model's."""

    text: str
    model: str
    config: str
    length: float
    speaker: int | None = None
    sha256: str | None = None


class Sound(msgspec.Struct, frozen=True, kw_only=True):
    """Samples of 16 bits, little-endian, one channel; or, in words, why there are none."""

    samples: bytes = b""
    rate: int = 0
    reason: str = ""


def main() -> None:
    """Speak until the input ends."""
    source = sys.stdin.buffer
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what native code prints must not be taken for sound
    setup = msgspec.msgpack.decode(source.read(LENGTH.unpack(source.read(LENGTH.size))[0]), type=Setup)
    _end_with(setup.parent)
    speaker = _Speaker(setup.threads)
    while header := source.read(LENGTH.size):
        job = msgspec.msgpack.decode(source.read(LENGTH.unpack(header)[0]), type=Job)
        answer = msgspec.msgpack.encode(speaker.speak(job))
        target.write(LENGTH.pack(len(answer)) + answer)
        target.flush()


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)  # it went before the kernel was told


class _Speaker:
    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._voices: OrderedDict[str, PiperVoice] = OrderedDict()

    def speak(self, job: Job) -> Sound:
        try:
            voice = self._voice(job)
        except (ImportError, OSError, ValueError, KeyError, RuntimeError) as error:
            return Sound(reason=f"The voice {Path(job.model).stem} cannot be loaded: {error}")
        from piper import SynthesisConfig

        manner = SynthesisConfig(speaker_id=job.speaker, length_scale=job.length)
        # In double brackets stand sounds, not words; nobody who writes a text for us means that.
        text = job.text.replace("[[", "[").replace("]]", "]")
        try:
            chunks = list(voice.synthesize(text, manner))
        except (ImportError, ValueError, RuntimeError) as error:
            return Sound(reason=f"The voice {Path(job.model).stem} cannot say this: {error}")
        return Sound(samples=b"".join(chunk.audio_int16_bytes for chunk in chunks), rate=voice.config.sample_rate)

    def _voice(self, job: Job) -> PiperVoice:
        if (voice := self._voices.get(job.model)) is None:
            voice = self._voices[job.model] = self._loaded(job)
            if len(self._voices) > _LOADED:
                self._voices.popitem(last=False)
        self._voices.move_to_end(job.model)
        return voice

    def _loaded(self, job: Job) -> PiperVoice:
        import onnxruntime
        from piper import PiperVoice
        from piper.config import PiperConfig

        if job.sha256 is not None and job.sha256 != _sha256(job.model):
            raise ValueError("it is not the file that this version knows")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        # Threads that wait must not spin: a server answers others meanwhile.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        config = PiperConfig.from_dict(json.loads(Path(job.config).read_text("utf-8")))
        session = onnxruntime.InferenceSession(job.model, options, providers=["CPUExecutionProvider"])
        return PiperVoice(config=config, session=session)


def _sha256(path: str) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


if __name__ == "__main__":
    main()
