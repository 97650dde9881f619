"""What the engine asks of the bus, and what it tells those who watch."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager
from typing import Any, Literal, Protocol

from antiphon import wire
from antiphon.ports.stores import Record, Segment


class Channel(Protocol):
    """The live end of one run: frames go in once, and come out to everyone who follows."""

    def publish(self, segment: Segment) -> None:
        """Tell the followers. Numbers must go up by one."""
        ...

    def follow(self, after: int) -> AsyncIterator[bytes]:
        """Frames after number `after`, many at a time, until the run ends; then `log.DONE`, if it ended its log."""
        ...

    def close(self, *, ended: bool = False) -> None:
        """No more will come; `ended` where the log has its last event. Only the first call counts."""
        ...


class Bus(Protocol):
    """Live events, from whoever runs an interaction to whoever follows it; and who runs what, where there are several.

    Nothing that goes over it is needed: the store has it all. What is lost on the way costs time.
    """

    shared: bool  # whether other servers may be asked for what is run here

    def open(self, id: str, log: Segment | None = None) -> Channel:
        """The channel of a run that begins here; `log` is what it already wrote before."""
        ...

    async def submit(self, id: str) -> bool:
        """Find somebody to run an interaction that is in the store; True where the asker is to run it itself."""
        ...

    def watch(self, id: str) -> AsyncGenerator[Segment | None, None]:
        """What a run elsewhere writes, as it comes; None, first of all, whenever something may have been missed.

        At None the store is to be looked into. It ends where nothing more can come, as where there is no elsewhere.
        """
        ...

    def answer(self, id: str, attempt: int, stop: Callable[[], object]) -> Callable[[], None]:
        """Say from now on that this server runs it; `stop` is called where a newer attempt tells it to stop.

        What comes back ends this.
        """
        ...

    async def running(self, id: str) -> bool:
        """Whether a server says that it runs it; True also where nobody can be asked, since then nobody can know."""
        ...

    async def queued(self, id: str) -> bool:
        """Whether it waits for somebody to run it, or is held by who does; True also where that cannot be known."""
        ...

    async def stop(self, id: str, attempt: int) -> None:
        """Tell whoever runs it as an older attempt than this one to stop."""
        ...

    async def work(self, take: Callable[[str], Awaitable[float | None]], slots: int) -> None:
        """Take up to `slots` at once of what was submitted, until cancelled; what is not done then goes to others.

        `take` runs one, and says in how many seconds it is to be looked at again, or None where it is over.
        """
        ...

    async def look(self) -> None:
        """Raises Unavailable where it cannot be used at present."""
        ...

    async def depth(self) -> int:
        """How many interactions wait for somebody to run them. Raises Unavailable."""
        ...

    async def aclose(self) -> None:
        """Leave."""
        ...


class Watcher(Protocol):
    """Is told what interactions do: webhooks, limits, metrics."""

    async def begins(self, record: Record) -> None:
        """Before its first event is kept. An ApiError refuses it."""
        ...

    def refused(self, record: Record) -> None:
        """What `begins` let in was not begun after all: another refused it, or the store is away."""
        ...

    def ends(self, record: Record, status: wire.InteractionStatus, usage: wire.Usage | None) -> None:
        """Its end is on disk. This neither waits nor raises."""
        ...

    def around(self, record: Record, kind: Literal["chat", "execute_tool"], name: str) -> AbstractContextManager[Any]:
        """Around each call of a model or of a tool; what it gives is a dict, for what the engine comes to know of it.

        Keys: `input_tokens`, `output_tokens`, `finish_reason`, `error` (all may be absent).
        """
        ...
