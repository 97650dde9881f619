"""The embedded model's speed: through Antiphon beside llama.cpp's own server on the same weights, and over a long chat.

    python -m bench.embedded                both, about six minutes; writes its section of docs/performance.md
    python -m bench.embedded --quick        fewer rounds and turns, writes nothing

Both servers have the weights loaded all the time and are asked in turns, so that whatever else the machine does meets
both alike. Every prompt is a new one: no cache helps, but in the long chat, which is about nothing else.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from antiphon import weights
from bench.report import Row, publish, rows_table, table
from bench.servers import ROOT, Neighbours, Server, free_port

COMMAND = "make bench"
ALL_CORES = ",".join(map(str, sorted(os.sched_getaffinity(0))))
BARE = """
import sys, time, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port, params.hostnames = sys.argv[1], int(sys.argv[2]), ["127.0.0.1"]
params.n_ctx, params.n_parallel, params.verbosity = 4 * 8192, 4, 0
params.cpuparams.n_threads = params.cpuparams_batch.n_threads = int(sys.argv[3])
server = xllamacpp.Server(params)
while True:
    time.sleep(60)
"""
FILLER = "The harbour lay quiet under the morning fog, and the boats were waiting for the tide. "


@dataclass
class Answer:
    """One streamed answer: seconds to the first token, and tokens a second after it."""

    first: float = 0.0
    tokens: int = 0
    rate: float = 0.0
    last_event: dict[str, Any] = field(default_factory=dict)


def events(port: int, path: str, body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    with closing(connection):
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        if response.status != 200:
            raise RuntimeError(f"{path}: {response.status} {response.read()!r}")
        for line in response:
            if line.startswith(b"data: {"):
                yield json.loads(line[6:])


def measure(stream: Iterator[dict[str, Any]], text: Any) -> Answer:
    answer, began, last = Answer(), time.perf_counter(), 0.0
    for event in stream:
        answer.last_event = event
        if text(event):
            last = time.perf_counter() - began
            answer.first = answer.first or last
            answer.tokens += 1
    if answer.tokens > 1:
        answer.rate = (answer.tokens - 1) / (last - answer.first)
    return answer


def ask_antiphon(port: int, prompt: str, length: int, previous: str | None = None) -> Answer:
    config = {"temperature": 0, "seed": 1, "max_output_tokens": length}
    body = {"model": "gemini-3-flash-preview", "input": prompt, "stream": True, "generation_config": config}
    if previous:
        body["previous_interaction_id"] = previous
    return measure(events(port, "/v1beta/interactions", body), lambda event: event.get("delta", {}).get("text"))


def ask_bare(port: int, prompt: str, length: int) -> Answer:
    messages = [{"role": "user", "content": prompt}]
    body = {"messages": messages, "stream": True, "temperature": 0, "seed": 1, "max_tokens": length}

    def text(chunk: dict[str, Any]) -> Any:
        return chunk["choices"] and chunk["choices"][0]["delta"].get("content")

    return measure(events(port, "/v1/chat/completions", body), text)


def side_by_side(antiphon: int, bare: int, rounds: int) -> list[Row]:
    ours, theirs = [], []
    for number in range(rounds):
        for which in (0, 1) if number % 2 else (1, 0):  # neither always comes first
            prompt = f"Note {number}.{which}.{time.time_ns()}: {FILLER * 12}Write a long story that goes on from here."
            ask, port, found = ((ask_antiphon, antiphon, ours), (ask_bare, bare, theirs))[which]
            found.append(ask(port, prompt, 64))
    own = "llama.cpp's own server"
    return [
        Row(
            "tokens a second",
            median(a.rate for a in ours),
            "tokens/s",
            own,
            median(a.rate for a in theirs),
            more_is_better=True,
            times=0.97,
        ),
        Row(
            "time to first token, 260-token prompt",
            median(a.first for a in ours) * 1e3,
            "ms",
            own,
            median(a.first for a in theirs) * 1e3,
            times=0.97,
        ),
    ]


def long_chat(port: int, turns: int) -> tuple[list[Row], str]:
    """One conversation of so many turns; and the second turns of some others, since one alone says little."""
    seconds = [chat(port, 2)[-1].first for _ in range(4)]
    answers = chat(port, turns)
    lines, shares = [], []
    for turn, answer in enumerate(answers, 1):
        usage = answer.last_event["interaction"]["usage"]
        shares.append(usage["total_input_tokens"] - usage["total_cached_tokens"])
        if turn in (1, 2, 3, 5, 10, 20, 30, 40, 50) or turn == turns:
            lines.append([str(turn), str(usage["total_input_tokens"]), str(shares[-1]), f"{answer.first * 1e3:.0f}"])
    firsts = [answer.first for answer in answers]
    seconds.append(firsts[1])
    second, later = median(seconds) * 1e3, [first * 1e3 for first in firsts[2:]]
    rows = [
        Row(
            "time to first token, median of turns 3 on",
            median(later),
            "ms",
            "turn 2, median of 5",
            second,
            times=1 / 1.3,
        ),
        Row("time to first token, slowest of turns 3 on", max(later), "ms", "turn 2, median of 5", second),
        Row("tokens read anew in a turn, most", max(shares[1:]), "tokens"),
    ]
    return rows, table(["turn", "tokens of the prompt", "read anew", "time to first token, ms"], lines)


def chat(port: int, turns: int) -> list[Answer]:
    """The answers of a conversation whose turns are of one length: its numbers have two digits from the first on."""
    answers: list[Answer] = []
    previous = None
    for number in range(10, 10 + turns):
        prompt = f"This is question {number} of our talk: what is {number} plus {number}, and what was the last number?"
        answers.append(ask_antiphon(port, prompt, 24, previous))
        previous = answers[-1].last_event["interaction"]["id"]
    return answers


def main() -> None:
    parser = argparse.ArgumentParser(description="The embedded model's speed.")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--weights", default=weights.STARTER)
    options = parser.parse_args()
    path = weights.fetch(options.weights, weights.Bar())
    threads = len(os.sched_getaffinity(0))
    near = Neighbours()
    with tempfile.TemporaryDirectory() as folder:
        ports = free_port(), free_port()
        command = [str(ROOT / ".venv/bin/antiphon"), "serve", "--port", str(ports[0]), "--data", folder]
        ours = Server("embedded", [*command, "--model", str(path)], ports[0], "/healthz", core=ALL_CORES)
        bare = [sys.executable, "-c", BARE, str(path), str(ports[1]), str(threads)]
        theirs = Server("bare", bare, ports[1], "/health", core=ALL_CORES, patience=120)
        with theirs, ours:
            for ask, port in ((ask_antiphon, ports[0]), (ask_bare, ports[1])):
                ask(port, "Say yes.", 4)
            rows = side_by_side(*ports, rounds=2 if options.quick else 7)
            print(rows_table(rows), flush=True)
            chat, turns = long_chat(ports[0], 6 if options.quick else 50)
            print(rows_table(chat), turns, sep="\n\n")
    share = near.share()
    body = (
        f"Weights: {Path(path).name}, {threads} threads. Other work took {share:.0%} of the processor.\n\n"
        f"{rows_table(rows)}\n\nOne conversation of 50 turns, each chained onto the one before:\n\n"
        f"{rows_table(chat)}\n\n{turns}\n"
    )
    if not options.quick:
        publish("embedded", "The embedded model", COMMAND, body)


if __name__ == "__main__":
    main()
