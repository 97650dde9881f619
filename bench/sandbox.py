"""How long code_execution waits for its sandbox: starting a box, a call, the first use of the large libraries.

    python -m bench.sandbox [--rounds 20]

`spare` is a box that was ready before it was asked for, as a server has it; `fresh` one that is started when it is asked
for. Against a plain start of the same Python. Medians (and the slowest tenth), in milliseconds. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

from antiphon import wire
from antiphon.sandbox.boxes import Boxes

LIBRARIES = "import numpy, pandas, matplotlib.pyplot"
CHART = "import matplotlib.pyplot as plt\nplt.plot([1, 2, 3])\nplt.show()"
Times = list[float]


def plain(code: str, rounds: int) -> Times:
    """The whole life of a Python process that runs this."""
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-I", "-c", code], check=True)
        found.append(time.perf_counter() - began)
    return found


async def opened(boxes: Boxes, code: str, rounds: int) -> Times:
    """From asking for a box to the result of its first run."""
    found = []
    for _ in range(rounds):
        if boxes._refill is not None:
            await boxes._refill  # conversations do not come faster than spares are made
        began = time.perf_counter()
        box = await boxes.open()
        ran = await box.run(code)
        found.append(time.perf_counter() - began)
        assert ran.ok, ran.output
        await box.aclose()
    return found


async def called(boxes: Boxes, rounds: int) -> Times:
    """A call in a box that is open."""
    box = await boxes.open()
    found = []
    for _ in range(rounds):
        began = time.perf_counter()
        await box.run("x = 1")
        found.append(time.perf_counter() - began)
    await box.aclose()
    return found


async def measure(jail: str, rounds: int, row: Callable[[str, Times], None]) -> None:
    """The rows of one jail."""
    few = max(3, rounds // 4)
    for name, spares in (("spare", 1), ("fresh", 0)):
        boxes = Boxes(jail, spares=spares)  # type: ignore[arg-type]
        try:
            await boxes.probe()
            row(f"{jail}, {name}: first run", await opened(boxes, "1", rounds if spares == 0 else few))
            row(f"{jail}, {name}: first run, numpy, pandas, matplotlib", await opened(boxes, LIBRARIES, few))
            row(f"{jail}, {name}: first run, a chart", await opened(boxes, CHART, few))
            if spares == 0:
                row(f"{jail}: later run", await called(boxes, rounds * 5))
        finally:
            await boxes.aclose()


async def whole(rounds: int) -> None:
    """All rows, as they are found."""
    bare = plain("pass", rounds)
    print("| | median, ms | 90 %, ms | of a plain start |\n|---|--:|--:|--:|")

    def row(name: str, times: Times) -> None:
        median, slow = statistics.median(times), sorted(times)[int(len(times) * 0.9)]
        print(
            f"| {name} | {median * 1e3:.1f} | {slow * 1e3:.1f} | {median / statistics.median(bare):.2f} |", flush=True
        )

    row("plain Python", bare)
    row("plain Python, numpy, pandas, matplotlib", plain(LIBRARIES, max(3, rounds // 4)))
    for jail in ("bubblewrap", "landlock"):
        try:
            await measure(jail, rounds, row)
        except wire.Unavailable as error:
            print(f"\n{jail}: {error.message}\n")
    print(f"\nAs {'root' if os.geteuid() == 0 else 'an ordinary user'}, {os.cpu_count()} cores.")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=20)
    asyncio.run(whole(parser.parse_args().rounds))


if __name__ == "__main__":
    main()
