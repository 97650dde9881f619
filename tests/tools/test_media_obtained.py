"""The bytes behind a URI, and what a model made as a file; and files whose bytes are where others keep theirs too."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import sqlite3
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest

from antiphon import wire
from antiphon.blobs import Depot, make
from antiphon.blobs.memory import MemoryBlobs
from antiphon.fetch import Fetcher
from antiphon.library import Library, Quotas
from antiphon.library.files import LIFETIME
from antiphon.library.uploads import About
from antiphon.ports import Unreadable
from antiphon.server.files import resource
from antiphon.stores.apart import Apart
from antiphon.stores.memory import MemoryStore
from library_server import read
from records import Clock, record
from websites import answer, website

PICTURE = bytes(range(256)) * 100


def run(test: Coroutine[Any, Any, Any]) -> Any:
    """Nothing here may take long: a hang is a failure."""

    async def limited() -> Any:
        async with asyncio.timeout(30):
            return await test

    return asyncio.run(limited())


@asynccontextmanager
async def library(data: Path | None = None, **options: Any) -> AsyncIterator[Library]:
    made = Library(data, read, **options)
    await made.start()
    try:
        yield made
    finally:
        await made.aclose()


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def uploaded(shelf: Library, content: bytes, project: str = "p", **about: Any) -> Any:
    upload = await shelf.uploads.start(project, None, About(**{"mime_type": "image/png"} | about), size=len(content))
    await shelf.uploads.receive(upload, 0, _once(content))
    return await shelf.uploads.finish(upload)


async def refusal(shelf: Library, uri: str, project: str = "p") -> str:
    with pytest.raises(Unreadable) as caught:
        await shelf.obtain(project, uri)
    return str(caught.value)


# ---------------------------------------------------------------------------------------------------- obtain


def test_a_file_is_had_by_whatever_address_it_is_called():
    async def test() -> None:
        async with library() as shelf:
            file = await uploaded(shelf, PICTURE, display_name="Cat")
            for uri in (
                f"files/{file.id}",
                f"http://127.0.0.1:8484/v1beta/files/{file.id}",
                f"https://generativelanguage.googleapis.com/v1beta/files/{file.id}",
                f"https://example.org/behind/a/proxy/v1/files/{file.id}:download?alt=media",
                f"files/{file.id}:download",
            ):
                assert await shelf.obtain("p", uri) == (PICTURE, "image/png", "Cat"), uri

    run(test())


def test_a_file_that_is_anothers_or_expired_was_not_found():
    async def test() -> None:
        clock = Clock()
        async with library(clock=clock) as shelf:
            file = await uploaded(shelf, PICTURE)
            assert "not found" in await refusal(shelf, f"files/{file.id}", "q")
            assert "not found" in await refusal(shelf, "https://host/v1beta/files/never")
            clock.now += LIFETIME
            assert "not found" in await refusal(shelf, f"files/{file.id}")

    run(test())


def test_a_file_that_is_too_large_to_read_says_so():
    async def test() -> None:
        async with library(largest=1000) as shelf:
            file = await uploaded(shelf, PICTURE)
            assert "at most 1000" in await refusal(shelf, f"files/{file.id}")

    run(test())


def test_a_file_whose_bytes_are_lost_says_so():
    async def test() -> None:
        blobs = MemoryBlobs()
        async with library(blobs=blobs) as shelf:
            file = await uploaded(shelf, PICTURE)
            await blobs.aclose()
            assert "cannot be read" in await refusal(shelf, f"files/{file.id}")

    run(test())


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("gs://bucket/cat.png", "Google's storage"),
        ("https://www.youtube.com/watch?v=abc", "YouTube"),
        ("https://youtu.be/abc", "YouTube"),
        ("https://M.YouTube.com/watch?v=abc", "YouTube"),
        ("ftp://host/cat.png", "https address"),
        ("file:///etc/passwd", "https address"),
        ("cat.png", "https address"),
        ("", "https address"),
        ("https://[bad", "no URI"),
        ("https://example.org/cat.png", "does not reach"),
    ],
)
def test_what_cannot_be_had_says_why(uri, words):
    async def test() -> None:
        async with library() as shelf:
            assert words in await refusal(shelf, uri)

    run(test())


def test_a_medium_of_the_web_is_fetched_guarded_and_bounded():
    pages = {
        "/a%20cat.png?x=1": answer(PICTURE, mime_type="image/png"),
        "/files/cat": answer(b"no file of ours", mime_type="application/octet-stream"),
        "/large": answer(bytes(200_000), mime_type="image/png"),
    }

    async def test() -> None:
        async with website(pages) as site, library(fetch=Fetcher(site.allow), largest=100_000) as shelf:
            assert await shelf.obtain("p", site.url("/a%20cat.png?x=1")) == (PICTURE, "image/png", "a cat.png")
            assert await shelf.obtain("p", site.url("/files/cat")) == (b"no file of ours", None, "cat")
            assert "larger than" in await refusal(shelf, site.url("/large"))
            assert "404" in await refusal(shelf, site.url("/none"))
            assert "cannot be fetched" in await refusal(shelf, "http://127.0.0.1:1/private")

    run(test())


# ---------------------------------------------------------------------------------------------------- keep


def test_what_a_model_made_is_a_file_of_its_project():
    async def test() -> None:
        async with library() as shelf:
            uri = await shelf.keep("p", PICTURE, "image/png", "A cat, drawn")
            assert await shelf.obtain("p", uri) == (PICTURE, "image/png", "A cat, drawn")
            file = await shelf.files.get("p", uri.removeprefix("files/"))
            shown = resource(file, "https://host/v1beta")
            assert (shown.name, shown.source, shown.state, shown.display_name) == (
                uri,
                "GENERATED",
                "ACTIVE",
                "A cat, drawn",
            )
            assert shown.size_bytes == str(len(PICTURE))
            assert "not found" in await refusal(shelf, uri, "q")

    run(test())


def test_what_a_model_made_counts_towards_the_quota():
    async def test() -> None:
        async with library(quotas=Quotas(project=1000)) as shelf:
            await shelf.keep("p", b"x" * 900, "image/png", "")
            with pytest.raises(wire.RateLimited, match="1000"):
                await shelf.keep("p", b"x" * 101, "image/png", "")
            await shelf.keep("q", b"x" * 101, "image/png", "")

    run(test())


def test_the_digest_is_the_services_base64_of_hexadecimal_digits():
    """As the service's own answer in googleapis/js-genai, issue 381, has it."""
    theirs = "MTgzNjUwZTJkZWY2MzcxMmRlNzg1YjY0MTk3MzIzNWIxZDhjNzIxMjM0NGIwYjM2Y2E2OTcyYmZiNmUxNWE4ZQ=="

    async def test() -> None:
        async with library() as shelf:
            ours = resource(await uploaded(shelf, PICTURE), "").sha256_hash
            assert ours is not None and len(ours) == len(theirs)
            for digest in (ours, theirs):
                assert len(bytes.fromhex(base64.b64decode(digest).decode("ascii"))) == 32
            assert base64.b64decode(ours).decode() == hashlib.sha256(PICTURE).hexdigest()

    run(test())


# ---------------------------------------------------------------------------------------------------- one place for all


def test_a_file_and_a_conversation_keep_the_same_bytes_once(tmp_path):
    async def test() -> None:
        blobs = make(str(tmp_path / "media"))
        store = Apart(MemoryStore(), blobs)
        async with library(tmp_path, blobs=blobs) as shelf:
            file = await uploaded(shelf, PICTURE)
            image = wire.ImageContent(data=base64.b64encode(PICTURE).decode(), mime_type="image/png")
            made = record(input=[wire.UserInputStep(content=[image])], expires=1e12)
            await store.create(made, "completed")
            (kept,) = (tmp_path / "media").glob("??/*")
            assert kept.read_bytes() == PICTURE
            await shelf.files.delete("p", file.id)
            stored = await store.get("p", made.id)
            assert stored is not None and stored.record == made
            await store.delete("p", made.id)
            assert not kept.exists()
        await blobs.aclose()

    run(test())


def test_libraries_that_share_a_place_leave_each_others_bytes_alone(tmp_path):
    async def test() -> None:
        clock = Clock()
        blobs: Depot = MemoryBlobs(clock)
        async with (
            library(tmp_path / "a", blobs=blobs, clock=clock) as one,
            library(tmp_path / "b", blobs=blobs, clock=clock) as two,
        ):
            first, second = await uploaded(one, PICTURE), await uploaded(two, PICTURE)
            await blobs.put("v1_interaction", [PICTURE])
            clock.now += LIFETIME - 1
            await one.sweep(clock.now)
            await one.files.delete("p", first.id)
            assert (await two.obtain("p", f"files/{second.id}"))[0] == PICTURE
            clock.now += 1
            await two.sweep(clock.now)
            assert await blobs.owners("", clock.now) == ["v1_interaction"]

    run(test())


def test_files_of_an_older_version_are_taken_over(tmp_path):
    """It kept bytes in the same folder, and nothing of who holds them; and its table knew no source."""

    async def test() -> None:
        async with library(tmp_path) as shelf:
            file = await uploaded(shelf, PICTURE)
        for left in (tmp_path / "blobs").glob("holds.db*"):
            left.unlink()
        with closing(sqlite3.connect(tmp_path / "library.db")) as connection:
            connection.execute("ALTER TABLE file DROP COLUMN source")
            connection.execute("DROP TABLE itself")
            connection.commit()
        async with library(tmp_path) as shelf:
            assert (await shelf.obtain("p", f"files/{file.id}"))[0] == PICTURE
            assert (await shelf.files.get("p", file.id)).source == "UPLOADED"
            again = await uploaded(shelf, PICTURE)
            await shelf.files.delete("p", again.id)
            assert (await shelf.obtain("p", f"files/{file.id}"))[0] == PICTURE
            await shelf.files.delete("p", file.id)
            assert list((tmp_path / "blobs").glob("??/*")) == []

    run(test())


def test_files_move_to_where_bytes_are_kept_from_now_on(tmp_path):
    async def test() -> None:
        async with library(tmp_path) as shelf:
            files = [await uploaded(shelf, PICTURE) for _ in range(2)]
        blobs = MemoryBlobs()
        async with library(tmp_path, blobs=blobs) as shelf:
            for file in files:
                assert (await shelf.obtain("p", f"files/{file.id}"))[0] == PICTURE
        assert list((tmp_path / "blobs").glob("??/*")) == []

    run(test())


def test_a_place_that_is_away_keeps_no_server_from_starting(tmp_path):
    class Away(MemoryBlobs):
        async def owners(self, prefix: str, before: float, after: str = "", size: int = 1000) -> list[str]:
            raise wire.Unavailable("The store of media cannot be reached.")

    async def test() -> None:
        async with library(tmp_path, blobs=Away()) as shelf:
            await shelf.stores.create("p", "Pets")

    run(test())
