"""All who are told what interactions do, as one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, Literal

from antiphon import wire
from antiphon.ports import Record, Watcher


class Watchers:
    """Tells each of `watchers`, in their order."""

    def __init__(self, watchers: Sequence[Watcher]) -> None:
        self._watchers = tuple(watchers)

    async def begins(self, record: Record) -> None:
        """Before an interaction's first event is kept. An ApiError refuses it."""
        for watcher in self._watchers:
            await watcher.begins(record)

    def refused(self, record: Record) -> None:
        """What `begins` let in was not begun after all."""
        for watcher in self._watchers:
            watcher.refused(record)

    def ends(self, record: Record, status: wire.InteractionStatus, usage: wire.Usage | None) -> None:
        """Its end is on disk."""
        for watcher in self._watchers:
            watcher.ends(record, status, usage)

    @contextmanager
    def around(self, record: Record, kind: Literal["chat", "execute_tool"], name: str) -> Iterator[dict[str, Any]]:
        """Around a call of a model or of a tool. What is put into the dict is told when it ends."""
        told: dict[str, Any] = {}
        with ExitStack() as stack:
            dicts = [stack.enter_context(watcher.around(record, kind, name)) for watcher in self._watchers]
            try:
                yield told
            finally:
                for each in dicts:
                    each.update(told)
