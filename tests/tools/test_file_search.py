"""file_search: what it refuses, its steps, what the model reads, and the library behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import wire
from antiphon.citations import cite
from antiphon.index.chunks import Chunking
from antiphon.library import Library
from antiphon.library.files import LIFETIME
from antiphon.library.uploads import About
from antiphon.ports import Outcome, Use
from antiphon.tools import file_search
from antiphon.tools.file_search import FileSearch
from library_server import read

CATS = "Cats purr when they are happy.\fA kitten drinks milk at noon."


def run(test: Coroutine[Any, Any, Any]) -> Any:
    """Nothing here may take long: a hang is a failure."""

    async def limited() -> Any:
        async with asyncio.timeout(30):
            return await test

    return asyncio.run(limited())


class Clock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def library(data: Path | None = None, **options: Any) -> AsyncIterator[Library]:
    made = Library(data, read, reading=2.0, **options)
    await made.start()
    try:
        yield made
    finally:
        await made.aclose()


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def left(shelf: Library, content: str, store: str | None = None, project: str = "p", **about: Any) -> Any:
    """Something uploaded: a file, or the operation of a document when it is done."""
    upload = await shelf.uploads.start(project, store, About(**{"mime_type": "text/plain"} | about))
    await shelf.uploads.receive(upload, 0, _once(content.encode()))
    made = await shelf.uploads.finish(upload)
    if store is None:
        return made
    while made.state == "pending":
        made = await shelf.stores.operation(project, store, made.id, "upload")
    return made


async def outcome(shelf: Library, arguments: Any, room: int = 16_000, project: str = "p", **declared: Any) -> Outcome:
    tool = FileSearch(library=shelf)
    use = Use(project=project, interaction="i", declared=wire.FileSearch(**declared), room=room)
    session = await tool.open(use)
    call = session.call("c1", "file_search", arguments)
    again = msgspec.json.decode(msgspec.json.encode(call), type=wire.FileSearchCallStep)  # as after a crash
    assert session.owns(again)
    result = await session.run(again)
    await session.aclose()
    assert result.step.call_id == "c1" and not result.trusted
    return result


# ---------------------------------------------------------------------------------------------------- the tool


def test_the_pieces_that_fit_are_shown_to_the_client_and_to_the_model_with_their_page():
    async def test() -> None:
        async with library() as shelf:
            store = await shelf.stores.create("p", "Pets")
            made = await left(shelf, CATS, store.id, display_name="On cats", metadata={"year": 2020.0})
            name = f"fileSearchStores/{store.id}"
            found = await outcome(shelf, {"query": "What do kittens drink?"}, file_search_store_names=[name], top_k=1)
            document = f"{name}/documents/{made.document_id}"
            assert found.step.result == [
                {
                    "text": "A kitten drinks milk at noon.",
                    "title": "On cats",
                    "file_name": "On cats",
                    "document_uri": document,
                    "file_search_store": name,
                    "page_number": 2,
                    "score": found.step.result[0]["score"],
                    "custom_metadata": {"year": 2020.0},
                }
            ]
            (passage,) = found.passages
            assert passage.text == "A kitten drinks milk at noon."
            assert passage.citation == wire.FileCitation(
                file_name="On cats", document_uri=document, source=name, page_number=2, custom_metadata={"year": 2020.0}
            )
            (cited,) = cite("A kitten drinks milk at noon [1].", found.passages)
            assert isinstance(cited, wire.FileCitation) and cited.page_number == 2

    run(test())


def test_a_filter_and_the_number_of_results_count():
    async def test() -> None:
        async with library() as shelf:
            store = await shelf.stores.create("p", None)
            for year in range(2000, 2010):
                await left(shelf, f"The cat of {year}.", store.id, metadata={"year": float(year)})
            names = [f"fileSearchStores/{store.id}"]
            all_of_them = await outcome(shelf, {"query": "cat"}, file_search_store_names=names)
            assert len(all_of_them.passages) == file_search.DEFAULT_TOP_K
            few = await outcome(
                shelf, {"query": "cat"}, file_search_store_names=names, top_k=3, metadata_filter="year >= 2007"
            )
            assert {passage.text for passage in few.passages} == {f"The cat of {year}." for year in (2007, 2008, 2009)}

    run(test())


def test_nothing_that_fits_is_said_and_is_no_error():
    async def test() -> None:
        async with library() as shelf:
            store = await shelf.stores.create("p", None)
            found = await outcome(shelf, {"query": "cat"}, file_search_store_names=[f"fileSearchStores/{store.id}"])
            assert found.step.result == [] and found.step.is_error is False and "Nothing" in found.reading

    run(test())


@pytest.mark.parametrize(
    "arguments", [{}, {"query": ""}, {"query": 5}, {"query": None}, {"q": "cats"}, {"queries": [[]]}]
)
def test_a_call_without_a_query_is_an_error_that_the_model_reads(arguments):
    async def test() -> None:
        async with library() as shelf:
            found = await outcome(shelf, arguments, file_search_store_names=["fileSearchStores/x"])
            assert found.step.is_error and "query" in found.reading

    run(test())


def test_a_store_that_was_deleted_meanwhile_is_an_error_that_the_model_reads():
    async def test() -> None:
        async with library() as shelf:
            found = await outcome(shelf, {"query": "cats"}, file_search_store_names=["fileSearchStores/gone"])
            assert found.step.is_error and "fileSearchStores/gone" in found.reading

    run(test())


@pytest.mark.parametrize(
    ("fields", "kind", "words"),
    [
        ({}, wire.InvalidRequest, "'tools[0].file_search_store_names'"),
        ({"file_search_store_names": []}, wire.InvalidRequest, "'tools[0].file_search_store_names'"),
        ({"file_search_store_names": ["STORE"] * 21}, wire.InvalidRequest, "1 to 20"),
        ({"file_search_store_names": ["STORE", "corpora/x"]}, wire.InvalidRequest, "file_search_store_names[1]"),
        ({"file_search_store_names": ["fileSearchStores/none"]}, wire.NotFound, "file_search_store_names[0]"),
        ({"file_search_store_names": ["STORE"], "top_k": 0}, wire.InvalidRequest, "'tools[0].top_k'"),
        ({"file_search_store_names": ["STORE"], "top_k": 51}, wire.InvalidRequest, "'tools[0].top_k'"),
        (
            {"file_search_store_names": ["STORE"], "metadata_filter": "year >"},
            wire.InvalidRequest,
            "at character 6. (at 'tools[0].metadata_filter')",
        ),
    ],
)
def test_a_declaration_that_cannot_be_is_refused_with_its_place(fields, kind, words):
    async def test() -> None:
        async with library() as shelf:
            name = f"fileSearchStores/{(await shelf.stores.create('p', None)).id}"
            if names := fields.get("file_search_store_names"):
                fields["file_search_store_names"] = [name if given == "STORE" else given for given in names]
            with pytest.raises(kind) as refused:
                await FileSearch(library=shelf).check(wire.FileSearch(**fields), "p", "tools[0]")
            assert words in refused.value.message

    run(test())


def test_a_store_of_another_project_is_not_there():
    async def test() -> None:
        async with library() as shelf:
            store = await shelf.stores.create("p", None)
            declared = wire.FileSearch(file_search_store_names=[f"fileSearchStores/{store.id}"])
            await FileSearch(library=shelf).check(declared, "p", "tools[0]")
            with pytest.raises(wire.NotFound):
                await FileSearch(library=shelf).check(declared, "another", "tools[0]")
            found = await outcome(
                shelf, {"query": "x"}, project="another", file_search_store_names=declared.file_search_store_names
            )
            assert found.step.is_error

    run(test())


@given(st.lists(st.integers(0, 3000), max_size=12), st.integers(0, 6000))
def test_passages_share_the_room_and_never_overstep_it(lengths, room):
    hits = [
        file_search.Hit(key=str(n), title="T", url="u", text="A word. " * (length // 8) + "x" * (length % 8), score=1.0)
        for n, length in enumerate(lengths)
    ]
    passages = file_search._passages(hits, room)
    used = sum(len(passage.text) + file_search._OVERHEAD + 2 for passage in passages)
    assert used <= max(room, 0)
    if len(passages) == len(hits):
        whole = [passage.text == hit.text for passage, hit in zip(passages, hits, strict=True)]
        spare = room - used
        assert all(whole) or spare < 3000, "room is left while something is cut"


# ---------------------------------------------------------------------------------------------------- the library


def test_files_expire_after_two_days_and_their_bytes_go(tmp_path):
    async def test() -> None:
        clock = Clock()
        async with library(tmp_path, clock=clock) as shelf:
            file = await left(shelf, "hello")
            clock.now += LIFETIME - 1
            assert (await shelf.content("p", f"http://host/v1beta/files/{file.id}"))[2] == b"hello"
            clock.now += 1
            with pytest.raises(wire.NotFound):
                await shelf.files.get("p", file.id)
            assert await shelf.files.page("p", None, 10) == []
            assert await shelf.sweep(clock.now) == 1
            assert list((tmp_path / "blobs").glob("??/*")) == []

    run(test())


def test_a_uri_of_a_file_is_read_by_its_own_project_only():
    async def test() -> None:
        async with library() as shelf:
            file = await left(shelf, "hello", display_name="H")
            for uri in (
                f"files/{file.id}",
                f"https://x/v1beta/files/{file.id}",
                f"/v1/files/{file.id}:download?alt=media",
            ):
                assert await shelf.content("p", uri) == ("H", "text/plain", b"hello")
            for project, uri in (("q", f"files/{file.id}"), ("p", "files/none"), ("p", "https://x/"), ("p", "")):
                with pytest.raises(wire.NotFound):
                    await shelf.content(project, uri)
            with pytest.raises(wire.InvalidRequest):
                await shelf.content("p", f"files/{file.id}", largest=4)

    run(test())


def test_abandoned_uploads_are_swept(tmp_path):
    async def test() -> None:
        clock = Clock()
        async with library(tmp_path, clock=clock) as shelf:
            upload = await shelf.uploads.start("p", None, About())
            await shelf.uploads.receive(upload, 0, _once(b"half"))
            (tmp_path / "uploads" / "of-nobody").write_bytes(b"x")
            await shelf.sweep(clock.now)
            assert [path.name for path in (tmp_path / "uploads").iterdir()] == [upload]
            clock.now += 8 * 86400
            await shelf.sweep(clock.now)
            assert list((tmp_path / "uploads").iterdir()) == []

    run(test())


def test_a_document_that_ends_the_server_each_time_is_given_up(tmp_path):
    """A killed process leaves the attempt that it had begun."""

    async def test() -> None:
        async with library(tmp_path) as shelf:
            store = await shelf.stores.create("p", None)
        begun = Library(tmp_path, read)  # never started: nothing is indexed
        await begun._shelf.start()
        upload = await begun.uploads.start("p", store.id, About())
        await begun.uploads.receive(upload, 0, _once(b"Cats purr."))
        made: Any = await begun.uploads.finish(upload)
        query = "UPDATE document SET attempts = 2"
        await begun._shelf.database.write(lambda connection: connection.execute(query).close())
        await begun.aclose()
        async with library(tmp_path) as shelf:
            while made.state == "pending":
                made = await shelf.stores.operation("p", store.id, made.id, "upload")
            assert made.state == "failed" and "more than once" in made.error

    run(test())


def test_a_document_deleted_while_it_is_indexed_is_not_found():
    async def test() -> None:
        async with library() as shelf:
            store = await shelf.stores.create("p", None)
            uploads = [await shelf.uploads.start("p", store.id, About()) for _ in range(6)]
            for upload in uploads:
                await shelf.uploads.receive(upload, 0, _once(b"Cats purr. " * 500))
            operations: list[Any] = [await shelf.uploads.finish(upload) for upload in uploads]
            for made in operations:
                await shelf.stores.delete_document("p", store.id, made.document_id, force=True)
            await left(shelf, "The last cat.", store.id)
            hits = await shelf.search("p", [f"fileSearchStores/{store.id}"], "cats purr cat", 50)
            assert [hit.text for hit in hits] == ["The last cat."]

    run(test())


def test_a_deleted_store_leaves_nothing_on_the_disk(tmp_path):
    async def test() -> None:
        async with library(tmp_path) as shelf:
            store = await shelf.stores.create("p", None)
            await left(shelf, "A secret cat.", store.id)
            await shelf.stores.delete("p", store.id, force=True)
            files = [
                path
                for path in tmp_path.rglob("*")
                if path.is_file() and path.parent not in (tmp_path, tmp_path / "blobs")
            ]
            assert files == []

    run(test())


def test_chunking_is_as_was_asked():
    async def test() -> None:
        async with library() as shelf:
            store = await shelf.stores.create("p", None)
            await left(shelf, "cat " * 30, store.id, max_tokens=10, overlap=0)
            file = await left(shelf, "dog " * 30)
            made = await shelf.import_file("p", store.id, f"files/{file.id}", {}, Chunking(5, 0))
            while made.state == "pending":
                made = await shelf.stores.operation("p", store.id, made.id, "import")
            name = f"fileSearchStores/{store.id}"
            assert len(await shelf.search("p", [name], "cat", 50)) == 3
            assert len(await shelf.search("p", [name], "dog", 50)) == 6

    run(test())


# ---------------------------------------------------------------------------------------------------- end to end

SCRIPT = """
[[turns]]
when = "drink"
calls = [{name = "file_search", arguments = {query = "What does a kitten drink?"}}]
[[turns]]
after = "file_search"
text = "A kitten drinks milk at noon [1]."
"""


def test_an_answer_over_the_wire_cites_the_uploaded_document(server):
    served = server(SCRIPT)
    name = served.request("POST", "/v1beta/fileSearchStores", {"displayName": "Pets"}).json()["name"]
    headers = {"x-goog-upload-protocol": "raw", "content-type": "text/plain", "x-goog-upload-file-name": "cats.txt"}
    path = f"/upload/v1beta/{name}:uploadToFileSearchStore"
    operation = served.request("POST", path, b"A kitten drinks milk at noon.", headers).json()
    while not operation.get("done"):
        operation = served.request("GET", f"/v1beta/{operation['name']}").json()
    assert "error" not in operation
    tools = [{"type": "file_search", "file_search_store_names": [name]}]
    answer = served.create("What does a kitten drink?", tools=tools)
    call, result, output = answer["steps"]
    assert call["type"] == "file_search_call" and "arguments" not in call
    assert result["result"][0]["title"] == "cats.txt"
    (content,) = output["content"]
    (cited,) = content["annotations"]
    assert cited["type"] == "file_citation" and cited["file_name"] == "cats.txt"
    assert cited["document_uri"] == operation["response"]["documentName"]
    assert (
        content["text"].encode()[cited["start_index"] : cited["end_index"]].startswith(b"A kitten drinks milk at noon")
    )
    gone = served.request("DELETE", f"/v1beta/{name}?force=true")
    assert gone.status == 200
    refused = served.request("POST", "/v1beta/interactions", {"model": "scripted", "input": "drink?", "tools": tools})
    assert refused.status == 404 and "tools[0].file_search_store_names[0]" in refused.error["message"]


def test_a_sweep_takes_from_the_disk_what_no_row_names(tmp_path):
    async def body() -> None:
        clock = Clock()
        library = Library(tmp_path, read, clock=clock)
        await library.start()
        kept = await left(library, "kept")
        await library._shelf.blobs.put(library._shelf.owner("file", "left by a crash"), [b"orphan"])
        await library._shelf.blobs.put("file:of-another-library:x", [b"another's"])
        clock.now += 2 * 3600
        (tmp_path / "indexes").mkdir(exist_ok=True)
        index = tmp_path / "indexes" / "gone.db"
        index.touch()
        await library.sweep(0.0)
        there = {path.read_bytes() for path in (tmp_path / "blobs").glob("??/*")}
        assert there == {b"kept", b"another's"} and not index.exists()
        assert (await library.content("p", f"files/{kept.id}"))[2] == b"kept"
        await library.aclose()

    asyncio.run(body())
