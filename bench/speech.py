"""How fast speech is made, and what it takes: the voice of the extra `speech` in its process.

    python -m bench.speech --write    two minutes; writes its section of docs/performance.md
    python -m bench.speech            only prints

`said` gives the sound of a text as one WAV file, for whoever wants to hear it back.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from antiphon.models.speech import with_length
from antiphon.ports import Speak
from antiphon.speech.piper import Piper
from antiphon.wire import AudioFormat, SpeechConfig
from bench.report import publish, table
from bench.servers import Neighbours, cpu_seconds

# What is spoken: sentences as answers have them, short and long.
SENTENCES = (
    "Good morning.",
    "The meeting begins at half past nine.",
    "I could not find a file of that name, but there are two that come close to it.",
    "Paris is the capital of France, and about two million people live within its limits.",
    "Add the flour slowly, stir until there are no lumps, and leave it to rest for twenty minutes.",
    "The first train leaves at six in the morning, the last one shortly before midnight.",
    "Whoever wants to go on where the stream broke off says which event was the last one that arrived.",
    "It will rain in the afternoon.",
    "Water boils at one hundred degrees, and somewhat sooner on a mountain.",
    "The library was built in nineteen twelve, burned down in the war, and was opened again ten years later.",
)
ABOUT = """\
{count} sentences of 2 to 20 words by `en_US-joe-medium`, one after the other, in audio/l16 at 24 kHz. The real-time factor
is the time that making took, as a part of the time that hearing takes: below 1 it is faster than it can be heard. The
first sound is the first piece that a client could play.

{table}

The process worked {work:.2f} s for a second of sound and held {memory:.0f} MiB at most; the server's own held {own:.0f} MiB.
Other work took {near:.0%} of the machine meanwhile.
"""


@dataclass
class Timed:
    """What one speech took, in seconds."""

    first: float
    whole: float
    sound: float


async def said(speak: Speak, text: str, voice: str = "") -> bytes:
    """A text spoken, as a WAV file of 24 kHz."""
    voices = [SpeechConfig(voice=voice)] if voice else []
    pieces = [piece async for piece in speak(text, voices, AudioFormat(mime_type="audio/wav"))]
    return with_length(b"".join(base64.b64decode(piece.data or "") for piece in pieces))


async def timed(speak: Speak, text: str, voices: Sequence[SpeechConfig] = (), **format: str) -> Timed:
    """One speech; the length of its sound is right for audio/l16 only."""
    began, first, size = time.perf_counter(), 0.0, 0
    async for piece in speak(text, voices, AudioFormat(**format)):  # type: ignore[arg-type]
        first = first or time.perf_counter() - began
        size += len(base64.b64decode(piece.data or ""))
    return Timed(first, time.perf_counter() - began, size / 2 / 24000)


def peak_mib(pid: int | str) -> float:
    """The most memory that a process has held."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 1024


def cells(name: str, found: Sequence[Timed]) -> list[str]:
    """A row: what was spoken, and medians."""
    factor = sum(one.whole for one in found) / sum(one.sound for one in found)
    slowest = max(one.whole / one.sound for one in found)
    first = statistics.median(one.first for one in found)
    worst = max(one.first for one in found)
    return [name, f"{factor:.2f}", f"{slowest:.2f}", f"{1000 * first:.0f}", f"{1000 * worst:.0f}"]


async def measure() -> str:
    """All of it, as the text of the section."""
    near, rows, cold = Neighbours(), [], []
    for _ in range(3):
        fresh = Piper()
        cold.append(await timed(fresh, SENTENCES[3]))
        await fresh.aclose()
    rows.append(cells("a sentence, the process not running yet", cold))
    for threads in sorted({1, os.cpu_count() or 1}):
        piper = Piper(threads=threads)
        await timed(piper, SENTENCES[0])
        pid, text, many = piper.pid or 0, " ".join(SENTENCES), "s" * (threads > 1)
        before = cpu_seconds(pid)
        found = [await timed(piper, text) for text in SENTENCES * 2]
        if threads == 1:
            work, memory = (cpu_seconds(pid) - before) / sum(one.sound for one in found), peak_mib(pid)
        rows.append(cells(f"sentences, {threads} thread{many}", found))
        rows.append(cells(f"all of them as one text, {threads} thread{many}", [await timed(piper, text)]))
        if threads == 1:
            four = await asyncio.gather(*(timed(piper, text) for _ in range(4)))
            rows.append(cells("the same by four at once, each", four))
        await piper.aclose()
    titles = ["", "real-time factor", "slowest", "first sound ms", "slowest ms"]
    return ABOUT.format(
        count=len(SENTENCES),
        table=table(titles, rows),
        work=work,
        memory=memory,
        own=peak_mib("self"),
        near=near.share(),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the figures to docs/performance.md")
    given = parser.parse_args()
    body = asyncio.run(measure())
    print(body)
    if given.write:
        publish("speech", "Speaking", "python -m bench.speech", body)


if __name__ == "__main__":
    main()
