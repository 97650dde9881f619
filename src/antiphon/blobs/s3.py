"""Any S3-compatible store: several servers share a bucket, and nothing else.

Each content is an object named by its SHA-256; that somebody holds it are two empty objects, one to be found by the
owner and one by the content. S3 has no transactions, so whoever deletes and whoever comes to hold look at each other, each
saying first what it is about to do:

    to hold: say so (`holders/`); then wait until nobody is deleting (`dying/`); then put the content if it is not there
    to delete: say so (`dying/`); then look if somebody holds it; if nobody does, delete it; then take back what was said

Whichever speaks second sees the first. What a deleter that was killed has said counts for nothing after a while. The
store must show what was written to whoever reads or lists afterwards, as Amazon's and all others we know of do.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from antiphon.blobs.bucket import Bucket
from antiphon.blobs.depot import gone, name_of, name_of_file

T = TypeVar("T")
_LOOK_AGAIN = 0.1  # seconds
_DELETING = 60.0  # seconds that a delete may take before it must give up
_DEAD = 300.0  # seconds after which nobody who began a delete can still be at it
_AT_ONCE = 8


class S3Blobs:
    """Bytes in the bucket that `source` names (see `Bucket`)."""

    def __init__(self, source: str, clock: Callable[[], float] = time.time) -> None:
        self._bucket = Bucket(source)
        self._clock = clock
        self._places = asyncio.Semaphore(_AT_ONCE)

    async def put(self, owner: str, bodies: Sequence[bytes]) -> list[str]:
        names = await asyncio.to_thread(lambda: [name_of(body) for body in bodies])
        contents = dict(zip(names, bodies, strict=True))
        await self._all(self._put(owner, name, contents[name]) for name in contents)
        return names

    async def take(self, owner: str, path: Path) -> str:
        name = await asyncio.to_thread(name_of_file, path)
        await self._put(owner, name, path)
        await asyncio.to_thread(path.unlink)
        return name

    async def hold(self, owner: str, names: Sequence[str]) -> None:
        await self._all(self._check(name) for name in names)
        await self._all(self._put(owner, name, None) for name in dict.fromkeys(names))

    async def get(self, names: Sequence[str]) -> list[bytes]:
        return await self._all(self._get(name) for name in names)

    async def _get(self, name: str) -> bytes:
        body = await self._bucket.get(_content(name))
        if body is None or await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest()) != name:
            raise gone(name)
        return body

    async def part(self, name: str, first: int, size: int) -> bytes:
        body = await self._bucket.get(_content(name), first, max(size, 1))
        if body is None:
            raise gone(name)
        return body[:size]

    async def drop(self, owners: Sequence[str]) -> None:
        await self._all(map(self._drop, dict.fromkeys(owners)))

    async def owners(self, prefix: str, before: float, after: str = "", size: int = 1000) -> list[str]:
        found: dict[str, int] = {}
        # "~" sorts after all that stands behind an owner.
        async for key in self._bucket.keys(f"owners/{prefix}", f"owners/{after}/~" if after else ""):
            _, owner, held = key.split("/")
            if owner not in found and sum(since <= before for since in found.values()) == size:
                break
            found[owner] = max(found.get(owner, 0), int(held.partition(".")[2]))
        return [owner for owner, since in found.items() if since <= before]

    async def aclose(self) -> None:
        await self._bucket.aclose()

    # ------------------------------------------------------------------ holding

    async def _put(self, owner: str, name: str, content: bytes | Path | None) -> None:
        # Who owns is written first: a crash leaves an owner to be found, and not a content that somebody nameless holds.
        await self._bucket.put(f"owners/{owner}/{name}.{int(self._clock())}", b"")
        await self._bucket.put(f"holders/{name}/{owner}", b"")
        await self._nobody_deletes(name)
        if await self._bucket.has(_content(name)):
            return
        if isinstance(content, Path):
            await self._bucket.put_file(_content(name), content, name)
        elif content is not None:
            await self._bucket.put(_content(name), content)
        else:
            await self._let_go(owner, name)
            raise gone(name)

    async def _check(self, name: str) -> None:
        if not await self._bucket.has(_content(name)):
            raise gone(name)

    async def _nobody_deletes(self, name: str) -> None:
        """Wait until nobody who may not have seen us is deleting a content."""
        while True:
            busy = [key async for key in self._bucket.keys(f"dying/{name}/")]
            now = time.time()
            for key in busy:
                if int(key.rpartition("/")[2].partition("-")[0]) < now - _DEAD:
                    await self._bucket.delete(key)
            if not busy:
                return
            await asyncio.sleep(_LOOK_AGAIN)

    # ------------------------------------------------------------------ letting go

    async def _drop(self, owner: str) -> None:
        records = [key async for key in self._bucket.keys(f"owners/{owner}/")]
        for name in sorted({key.rpartition("/")[2].partition(".")[0] for key in records}):
            await self._let_go(owner, name)
        for key in records:  # last: what a crash cuts short is found again
            await self._bucket.delete(key)

    async def _let_go(self, owner: str, name: str) -> None:
        await self._bucket.delete(f"holders/{name}/{owner}")
        if await self._is_held(name):
            return
        began = time.time()
        saying = f"dying/{name}/{int(began)}-{secrets.token_hex(8)}"
        await self._bucket.put(saying, b"")
        if not await self._is_held(name) and time.time() < began + _DELETING:
            await self._bucket.delete(_content(name))  # where it is not known if that was done, what was said stays
        await self._bucket.delete(saying)

    async def _is_held(self, name: str) -> bool:
        async for _ in self._bucket.keys(f"holders/{name}/", most=1):
            return True
        return False

    async def _all(self, work: Iterable[Awaitable[T]]) -> list[T]:
        async def one(each: Awaitable[T]) -> T:
            async with self._places:
                return await each

        return list(await asyncio.gather(*map(one, work)))


def _content(name: str) -> str:
    return f"blobs/{name[:2]}/{name}"
