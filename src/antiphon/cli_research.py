"""`antiphon research`: has a question researched by a running server, shows how it goes, and prints the report.

antiphon research "How did the price of lithium develop since 2020?" --html lithium.html > lithium.md

A client of the public API: an interaction with an agent, in the background. Its stream is gone back to when the connection
is cut; Ctrl-C cancels it. Progress goes to standard error, the report alone to standard output.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import sys
import time
import uuid
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from antiphon import app
from antiphon.agents.research_state import EXHAUSTIVE, FAST, Budget
from antiphon.research_report import Research, decode, markdown, seen
from antiphon.research_view import Limits, Progress, Screen

AGENT = "deep-research-preview-04-2026"
MAX_AGENT = "deep-research-max-preview-04-2026"
_BUDGETS: dict[str, Budget] = {AGENT: FAST, MAX_AGENT: EXHAUSTIVE}

_GO_AHEAD = "The plan is good. Go ahead."
_APPROVING = frozenset({"", "y", "yes", "ok", "okay", "go"})
_SILENCE = 60.0  # seconds: the server says something every 15
_PATIENCE = 600.0  # seconds without any contact, after which it is given up to come back
_PAUSE, _LONGEST_PAUSE = 0.5, 15.0  # seconds between two tries
_OVER = 416  # a run that has ended, whose events were merged since


class ResearchFault(Exception):
    """What cannot be done; the message is for whoever typed the command."""


def run(options: argparse.Namespace) -> int:
    """Carry out the command; 1 where it could not be, with the reason on standard error."""
    try:
        write_page = _page_writer(options.html)
        question = sys.stdin.read().strip() if options.question == "-" else options.question
        if bool(question) == bool(options.follow):
            raise ResearchFault('What is to be found out? antiphon research "QUESTION", or --follow ID')
        done = _researched(options, question)
        return _give_out(done, write_page, question or "") if done is not None else 0
    except (ResearchFault, aiohttp.ClientError, msgspec.MsgspecError, OSError) as error:
        print(f"antiphon: {error or type(error).__name__}", file=sys.stderr)
        return 1


def _researched(options: argparse.Namespace, question: str) -> Research | None:
    if options.follow:
        return _Desk(options).follow(options.follow)
    return _planned(options, question) if options.plan else _Desk(options).ask(question, options.previous)


def _page_writer(path: Path | None) -> Callable[[Research, str], None] | None:
    """What writes the page of HTML. That it cannot is better known before the research than after it."""
    if path is None:
        return None
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise ResearchFault(f"{path} cannot be written.")
    try:
        page = app.load({}, "commands", "antiphon.research_page:page")
    except ImportError as error:
        raise ResearchFault(f"--html needs the extra 'research': pip install 'antiphon[research]' ({error})") from None

    def write(done: Research, question: str) -> None:
        path.write_text(page(done, question), encoding="utf-8", errors="replace")

    return write


def _give_out(done: Research, write_page: Callable[[Research, str], None] | None, question: str) -> int:
    """The report, and what became of the interaction."""
    parts = done.parts
    if parts:
        report = markdown(parts, pictures=not sys.stdout.isatty())
        sys.stdout.flush()
        sys.stdout.buffer.write(report.encode("utf-8", "replace"))
        sys.stdout.buffer.flush()
        if write_page is not None:
            write_page(done, question)
    if done.status == "failed":
        why = done.error.message if done.error is not None else ""
        raise ResearchFault(f"The research failed: {seen(why or 'no reason was given')}")
    print(f"{done.status} {done.id}", file=sys.stderr)
    return 0 if parts else 1


def _planned(options: argparse.Namespace, question: str) -> Research | None:
    """The research, once its plan is approved; None where nobody says so."""
    wish, previous = question, options.previous
    while True:
        plan = _Desk(options).ask(wish, previous, planning=True)
        if plan.status != "completed":
            return plan
        print(f"\n{markdown(plan.parts, pictures=False)}", file=sys.stderr)
        print("Enter starts the research; or say what to change: ", end="", file=sys.stderr, flush=True)
        said = sys.stdin.readline()
        if not said:
            print(
                f"\nThe plan waits: antiphon research --previous {plan.id} {_GO_AHEAD!r}",
                file=sys.stderr,
            )
            return None
        previous, wish = plan.id, said.strip()
        if wish.lower().rstrip(".!") in _APPROVING:
            return _Desk(options).ask(_GO_AHEAD, previous, shown=question)


# ---------------------------------------------------------------------------------------------------- one interaction


class _Desk:
    """Where one interaction is begun, watched and read."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._url: str = options.url
        self._key: str = options.key
        self._agent = MAX_AGENT if options.max else AGENT

    def ask(self, wish: str, previous: str | None, *, planning: bool = False, shown: str = "") -> Research:
        """Begin one and see it through; `planning` ends with a plan. `shown` is the question, where the wish is none."""
        config = {"type": "deep-research", "thinking_summaries": "auto", "collaborative_planning": planning}
        body: dict[str, Any] = {
            "agent": self._agent,
            "input": wish,
            "background": True,
            "stream": True,
            "agent_config": config,
        }
        if previous:
            body["previous_interaction_id"] = previous
        view = _View(shown or wish, _limits(self._agent), time.time())
        return asyncio.run(self._watched(_Watch("", body), view))

    def follow(self, id: str) -> Research:
        """See through one that was begun before."""
        return asyncio.run(self._followed(id))

    async def _followed(self, id: str) -> Research:
        async with self._session() as session:
            found = await _read(session, id)
        if found.status != "in_progress":
            return found
        view = _View(found.question, _limits(found.agent or ""), _seconds(found.created))
        return await self._watched(_Watch(id), view)

    async def _watched(self, watch: _Watch, view: _View) -> Research:
        async with self._session() as session:
            with view:
                turning = asyncio.create_task(view.turn())
                try:
                    await watch.see_through(session, view)
                except asyncio.CancelledError:
                    view.close()
                    await watch.cancel(session)
                    raise
                finally:
                    turning.cancel()
            done = await _read(session, watch.id)
        print(view.total(), file=sys.stderr)
        return done

    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            self._url,
            headers={"x-goog-api-key": self._key},
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=10, sock_read=_SILENCE),
            read_bufsize=2**24,
        )


def _limits(agent: str) -> Limits:
    budget = _BUDGETS.get(agent)
    return Limits(budget.seconds, budget.tokens, budget.searches, budget.pages) if budget else Limits()


def _seconds(created: str | None) -> float:
    try:
        return datetime.fromisoformat(created or "").timestamp()
    except ValueError:
        return time.time()


class _Watch:
    """A stream that is gone back to until its last event has come. Without an `id`, `body` begins the interaction."""

    def __init__(self, id: str, body: dict[str, Any] | None = None) -> None:
        self.id = id
        self._body = body
        self._once = uuid.uuid4().hex  # a request that is sent again begins nothing more
        self._last = ""
        self._ended = False
        self._contact = time.monotonic()

    async def see_through(self, session: aiohttp.ClientSession, view: _View) -> None:
        """Show what comes, to the end. Raises ResearchFault."""
        pause = _PAUSE
        while not self._ended:
            before, fault = self._last, None
            try:
                async for event in self._events(session):
                    view.take(event)
            except (aiohttp.ClientError, TimeoutError) as error:
                fault = error
            if self._ended:
                return
            self._give_up(fault)
            if self._last != before or pause == _PAUSE:
                view.say("The connection was cut; going back to it.")
            pause = _PAUSE if self._last != before else min(2 * pause, _LONGEST_PAUSE)
            await asyncio.sleep(pause)

    def _give_up(self, fault: Exception | None) -> None:
        """Raise where there is nothing to come back to."""
        if not self.id and isinstance(fault, aiohttp.ClientConnectorError):
            raise ResearchFault(f"No server at {fault.host}:{fault.port}. Start one with: antiphon serve") from None
        if time.monotonic() - self._contact > _PATIENCE:
            told = f" It may still go on: antiphon research --follow {self.id}" if self.id else ""
            raise ResearchFault(f"The server cannot be reached.{told}") from fault

    async def _events(self, session: aiohttp.ClientSession) -> AsyncIterator[dict[str, Any]]:
        async with self._open(session) as response:
            if self.id and response.status == _OVER:
                self._ended = True
                return
            if self.id and (response.status == 429 or response.status >= 500):
                raise aiohttp.ClientError(await response.text())
            await _check(response)
            async for line in response.content:
                self._contact = time.monotonic()
                if line.startswith(b"data: {") and line.endswith(b"\n"):  # a whole one
                    event = msgspec.json.decode(line[6:], type=dict[str, Any])
                    self._note(event)
                    yield event

    def _open(self, session: aiohttp.ClientSession) -> Any:
        if not self.id:
            return session.post("/v1beta/interactions", json=self._body, headers={"idempotency-key": self._once})
        where = {"stream": "true"} | ({"last_event_id": self._last} if self._last else {})
        return session.get(f"/v1beta/interactions/{self.id}", params=where)

    def _note(self, event: dict[str, Any]) -> None:
        self._last = event.get("event_id") or self._last
        self.id = self.id or (event.get("interaction") or {}).get("id") or ""
        self._ended = self._ended or event.get("event_type") == "interaction.completed"

    async def cancel(self, session: aiohttp.ClientSession) -> None:
        """Ask the server to stop it."""
        if not self.id or self._ended:
            return
        try:
            async with asyncio.timeout(10), session.post(f"/v1beta/interactions/{self.id}/cancel") as response:
                await _check(response)
            print(f"cancelled {self.id}", file=sys.stderr)
        except (aiohttp.ClientError, TimeoutError, ResearchFault) as error:
            told = f"It was not cancelled and may go on: antiphon research --follow {self.id}"
            print(f"antiphon: {told} ({error})", file=sys.stderr)


async def _read(session: aiohttp.ClientSession, id: str) -> Research:
    try:
        async with session.get(f"/v1beta/interactions/{id}") as response:
            await _check(response)
            return decode(await response.read())
    except (aiohttp.ClientError, TimeoutError) as error:
        told = f"{error or 'the server does not answer'}. Try again: antiphon research --follow {id}"
        raise ResearchFault(told) from None


async def _check(response: aiohttp.ClientResponse) -> None:
    if response.status >= 400:
        text = await response.text(errors="replace")
        try:
            text = msgspec.json.decode(text)["error"]["message"]
        except (msgspec.DecodeError, LookupError, TypeError):
            text = text[:500]
        raise ResearchFault(f"{response.status}: {seen(text)}")


# ---------------------------------------------------------------------------------------------------- what is seen


class _View:
    """Progress on standard error: drawn on a terminal, elsewhere line by line."""

    def __init__(self, question: str, limits: Limits, begun: float) -> None:
        self._progress = Progress(question, limits)
        self._begun = begun
        self._drawn = sys.stderr.isatty() and os.environ.get("TERM") != "dumb"
        self._screen = Screen(sys.stderr)
        self._turns = 0

    def __enter__(self) -> _View:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def total(self) -> str:
        """What it took."""
        return self._progress.total(self._elapsed())

    def close(self) -> None:
        """Draw nothing more."""
        if self._drawn:
            self._drawn = False
            self._screen.clear()

    def take(self, event: dict[str, Any]) -> None:
        """Show what an event tells."""
        lines = self._progress.take(event)
        if self._drawn:
            self._draw()
        else:
            for line in lines:
                print(line, file=sys.stderr, flush=True)

    def say(self, words: str) -> None:
        """Show what the stream does not tell."""
        if self._drawn:
            self._screen.clear()
        print(words, file=sys.stderr, flush=True)

    async def turn(self) -> None:
        """Let the clock go on."""
        while self._drawn:
            self._turns += 1
            self._draw()
            await asyncio.sleep(0.5)

    def _elapsed(self) -> float:
        return max(0.0, time.time() - self._begun)

    def _draw(self) -> None:
        columns, rows = shutil.get_terminal_size()
        self._screen.draw(self._progress.lines(columns - 1, rows - 1, self._elapsed(), self._turns))
