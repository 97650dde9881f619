"""A cluster on this machine, and a demo against it: an answer goes on while the server that writes it is killed.

python -m cluster                        the scripted model: no weights needed
python -m cluster --model starter        a real one (the first start fetches it)
python -m cluster --stay                 leave everything running until Ctrl-C
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import tempfile
import time
from functools import cache
from pathlib import Path
from typing import Any

from google import genai
from torture.processes import Server

from cluster.front import Front
from cluster.machines import Cluster

MODEL = "gemini-3-flash-preview"
_STORY = (
    "An antiphon is a verse that one half of a choir sings and the other answers. Should the singers of one half fall "
    "silent in the middle of a line, the others have the score before them: they take up the line where it broke off, "
    "and whoever listens hears it to its end, in the right order, with no word lost and none sung twice."
)
_KILL_AFTER = 14  # pieces of the answer
_GREY, _BOLD, _PLAIN = ("\033[90m", "\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "", "")


def options() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(prog="cluster", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", action="append", metavar="[NAME=]SPEC", help="as `antiphon serve` takes it")
    parser.add_argument("--stay", action="store_true", help="go on until Ctrl-C")
    return parser.parse_args()


def say(text: str) -> None:
    """A line of what happens."""
    print(f"{_GREY}{time.strftime('%H:%M:%S')}{_PLAIN} {text}", flush=True)


def scripted(folder: Path) -> str:
    """A model that takes its time to say one thing."""
    script = folder / "story.toml"
    script.write_text(f'tokens_per_second = 8\n[[turns]]\ntext = "{_STORY}"\n', encoding="utf-8")
    return f"scripted:{script}"


@cache  # one that nobody holds closes itself
def client_of(url: str) -> Any:
    """The official client."""
    return genai.Client(api_key="any", http_options={"base_url": url})


class Demo:
    """One run: asked for at one server, followed at another, its worker killed in the middle."""

    def __init__(self, cluster: Cluster, front: Front) -> None:
        self._cluster = cluster
        self._front = front
        self._pieces = 0
        self._killed: Server | None = None
        self._killed_at = 0.0
        self._open = False

    async def play(self) -> None:
        """All of it, told as it happens."""
        asked, followed = self._cluster.apis[0], self._cluster.apis[1]
        (runner,) = self._cluster.workers
        run = await client_of(asked.url).aio.interactions.create(
            model=MODEL, input="What is an antiphon?", background=True
        )
        say(f"{asked.name} took the request: {run.id}, {run.status}")
        joining = asyncio.create_task(self._cluster.add("worker"))
        say(f"{runner.name} runs it, the only worker so far; {followed.name} streams it:")
        last = await self._follow(followed, run.id, runner, joining)
        self._end_line()
        whole = await client_of(asked.url).aio.interactions.get(run.id)
        words = "".join(part.text for part in whole.steps[-1].content)
        say(f"{asked.name} says it is {whole.status}; its last step: {_BOLD}{words}{_PLAIN}")
        again = [
            event.event_id async for event in await client_of(self._front.url).aio.interactions.get(run.id, stream=True)
        ]
        say(f"a whole stream through the front has events {again[0]} to {again[-1]}; the one above ended with {last}")
        assert again[-1] == last and whole.status == "completed", "something was lost"
        await joining
        if self._killed is not None:
            await self._killed.start()
            say(f"{self._killed.name} is back")

    async def _follow(self, server: Server, id: str, runner: Server, joining: asyncio.Task[Server]) -> str:
        """Print the stream as it comes; kill the worker on the way, once there is another. The id of the last event."""
        last = ""
        async with await client_of(server.url).aio.interactions.get(id, stream=True) as stream:
            async for event in stream:
                last = event.event_id or last
                if event.event_type == "step.delta" and event.delta.type == "text":
                    await self._piece(event.delta.text, runner, joining)
                elif event.event_type == "step.stop" and getattr(event, "error", None):
                    waited = time.monotonic() - self._killed_at
                    self._end_line()
                    say(
                        f"another worker took it up after {waited:.1f} s: it closes the step that broke off, and goes on"
                    )
        return last

    async def _piece(self, text: str, runner: Server, joining: asyncio.Task[Server]) -> None:
        print(text, end="", flush=True)
        self._open = True
        self._pieces += 1
        if self._pieces >= _KILL_AFTER and joining.done() and self._killed is None:
            self._killed = runner
            self._end_line()
            say(f"{joining.result().name} has joined; kill -9 {runner.name}")
            await runner.kill()
            self._killed_at = time.monotonic()

    def _end_line(self) -> None:
        if self._open:
            print(flush=True)
        self._open = False


async def run(chosen: argparse.Namespace) -> None:
    """Start, show, stop."""
    with tempfile.TemporaryDirectory(prefix="antiphon-demo-") as folder:
        arguments = [f"--model={model}" for model in chosen.model or [scripted(Path(folder))]]
        say("starting PostgreSQL, NATS, two api servers and a worker; another joins later")
        async with Cluster(arguments, roles=("api", "api", "worker")) as cluster, Front(cluster.apis) as front:
            say(f"PostgreSQL on port {cluster.postgres.port}, NATS on port {cluster.nats.port}")
            for server in cluster.servers:
                say(f"{server.name:9} process {server.pid}, {server.url}")
            say(f"front     {front.url} (each connection to the next api server)")
            await Demo(cluster, front).play()
            if chosen.stay:
                say(f"everything goes on at {front.url} until Ctrl-C")
                await asyncio.Event().wait()
    say("all stopped, nothing is left")


def main() -> None:
    """Ctrl-C ends it cleanly."""
    logging.basicConfig(level="WARNING")
    try:
        asyncio.run(run(options()))
    except KeyboardInterrupt:
        say("stopped")


if __name__ == "__main__":
    main()
