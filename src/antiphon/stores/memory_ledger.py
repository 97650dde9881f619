"""What is kept beside interactions, in a dictionary: see `ports.Ledger`."""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from antiphon.ports import Entry

_Name = tuple[str, str, str]


class MemoryLedger:
    """The same promises as the others; nothing is kept beyond the process."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._entries: dict[_Name, Entry] = {}
        self._counters: dict[_Name, tuple[float, float]] = {}  # what each comes to, and when it expires

    async def put(self, entry: Entry) -> bool:
        name = _name(entry)
        if name in self._entries:
            return False
        self._entries[name] = replace(entry, version=1)
        return True

    async def read(self, kind: str, project: str, id: str) -> Entry | None:
        return self._entries.get((kind, project, id))

    async def change(self, entry: Entry) -> bool:
        name = _name(entry)
        found = self._entries.get(name)
        if found is None or found.version != entry.version:
            return False
        self._entries[name] = replace(entry, version=entry.version + 1)
        return True

    async def remove(self, kind: str, project: str, id: str, version: int | None = None) -> bool:
        found = self._entries.get((kind, project, id))
        if found is None or version not in (None, found.version):
            return False
        del self._entries[kind, project, id]
        return True

    async def entries(
        self, kind: str, project: str | None = None, *, prefix: str = "", after: str = "", size: int = 100
    ) -> list[Entry]:
        found = [
            entry
            for entry in self._entries.values()
            if entry.kind == kind and project in (None, entry.project) and entry.id > after
            if entry.id.startswith(prefix)
        ]
        return sorted(found, key=lambda entry: (entry.id, entry.project))[:size]

    async def due(self, kind: str, now: float, lease: float, size: int = 100) -> list[Entry]:
        found = [
            (entry.due, entry.id, entry.project)
            for entry in self._entries.values()
            if entry.kind == kind and entry.due is not None and entry.due <= now
        ]
        taken = []
        for _, id, project in sorted(found)[:size]:
            entry = self._entries[kind, project, id]
            entry = replace(entry, due=now + lease, version=entry.version + 1)
            self._entries[kind, project, id] = entry
            taken.append(entry)
        return taken

    async def add(self, kind: str, project: str, id: str, amount: float, expires: float) -> float:
        before, until = self._counters.get((kind, project, id), (0.0, 0.0))
        if until <= self._clock():
            before, until = 0.0, expires
        self._counters[kind, project, id] = before + amount, max(until, expires)
        return before + amount

    async def sweep(self, now: float) -> int:
        expired = [name for name, (_, expires) in self._counters.items() if expires <= now]
        for name in expired:
            del self._counters[name]
        return len(expired)


def _name(entry: Entry) -> _Name:
    return entry.kind, entry.project, entry.id
