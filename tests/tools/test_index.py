"""The index: how documents are cut, what is found, and what an embedder may do wrong."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import threading
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from antiphon import wire
from antiphon.index import chunks, collection, filters, ranking, terms
from antiphon.index.chunks import Chunking, split
from antiphon.index.collection import Index
from antiphon.index.embedders import LOCAL, Remote, embedder
from antiphon.ports import Leaf

np = pytest.importorskip("numpy")


def run(test: Coroutine[Any, Any, Any]) -> Any:
    """Nothing here may take long: a hang is a failure."""

    async def limited() -> Any:
        async with asyncio.timeout(30):
            return await test

    return asyncio.run(limited())


class Letters:
    """An embedder that knows how often each letter comes: alike are texts of like letters."""

    def __init__(self, name: str = "letters", fails: bool = False) -> None:
        self.name = name
        self.weight = 1.0
        self.fails = fails
        self.asked = 0

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> Any:
        self.asked += len(texts)
        if self.fails:
            raise wire.Unavailable("The embedding server has left.")
        rows = np.array(
            [[text.lower().count(letter) + 1e-6 for letter in "abcdefghijklmnopqrstuvwxyz"] for text in texts]
        )
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)

    async def aclose(self) -> None:
        pass


# ---------------------------------------------------------------------------------------------------- pieces

texts = st.text(alphabet=st.sampled_from("ab .!?\n\t#京都é" + "x" * 3), max_size=600)
sizes = st.integers(1, 30).flatmap(lambda most: st.builds(Chunking, st.just(most), st.integers(0, most - 1)))


_AROUND = " \t\n"


@given(texts, sizes)
@example("a京 a京", Chunking(2, 1))
def test_every_token_is_in_a_piece_and_no_piece_is_too_large(text, size):
    starts, ends = (
        zip(*(found.span() for found in chunks._TOKEN.finditer(text)), strict=True) if text.split() else ((), ())
    )
    covered = 0
    for start, end in chunks._ranges(text, size):
        first, last = starts.index(start), ends.index(end) + 1
        assert 0 < last - first <= size.max_tokens
        assert covered - size.overlap <= first <= covered < last, "a gap, or more repeated than was asked for"
        covered = last
    assert covered == len(starts)
    assert "".join(piece.text for piece in split([Leaf(text, 3)], Chunking(10**6, 0))) == text.strip(_AROUND)


def test_pieces_end_at_paragraphs_before_sentences_before_lines():
    paragraph = Leaf("One two three four.\n\nFive six. Seven eight nine ten.")
    assert next(split([paragraph], Chunking(6, 0))).text == "One two three four."
    sentence = Leaf("One two three four. Five six\nseven eight nine ten eleven.")
    assert next(split([sentence], Chunking(6, 0))).text == "One two three four."
    line = Leaf("one two three four\nfive six seven eight nine")
    assert next(split([line], Chunking(6, 0))).text == "one two three four"


def test_a_piece_never_reaches_over_a_page():
    pieces = list(split([Leaf("a b c", 1), Leaf("", 2), Leaf("d e f", 3)], Chunking(100, 10)))
    assert [(piece.text, piece.page) for piece in pieces] == [("a b c", 1), ("d e f", 3)]


def test_text_without_white_space_makes_pieces_all_the_same():
    japanese = "".join(chr(0x4E00 + number) for number in range(1000))
    assert max(len(piece.text) for piece in split([Leaf(japanese)], Chunking(50, 0))) == 100
    assert max(len(piece.text) for piece in split([Leaf("x" * 10_000)], Chunking(50, 0))) == 2000


@pytest.mark.parametrize(("most", "overlap"), [(0, 0), (10, 10), (10, -1)])
def test_impossible_sizes_are_refused(most, overlap):
    with pytest.raises(ValueError, match="overlap"):
        Chunking(most, overlap)


# ---------------------------------------------------------------------------------------------------- words


@given(st.text(max_size=80))
def test_no_text_is_query_syntax(text):
    """Whatever is asked, FTS5 takes it as words: its operators, quotes and columns mean nothing."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE words USING fts5 (title, text)")
    found = terms.words(text)
    if found:
        connection.execute("SELECT * FROM words WHERE words MATCH ?", (terms.match(found),)).fetchall()
    connection.close()


def test_words_without_a_subject_are_left_out_unless_there_are_no_others():
    assert terms.words("What is the capital of France?") == ["capital", "france"]
    assert terms.words("to be or not to be") == ["not"]
    assert terms.words("who is it") == ["who", "is", "it"]
    assert terms.words("東京都 hotel") == ["東京", "京都", "hotel"]


@given(st.lists(st.permutations("abcdef"), min_size=1, max_size=3))
def test_what_all_orders_have_first_comes_first(orders):
    fused = ranking.fuse(orders)
    assert {thing for thing, _ in fused} == set("abcdef")
    assert [score for _, score in fused] == sorted((score for _, score in fused), reverse=True)
    if len({order[0] for order in orders}) == 1:
        assert fused[0][0] == orders[0][0]


# ---------------------------------------------------------------------------------------------------- finding


async def filled(embedder: Any = None, path: Path | None = None) -> Index:
    index = Index(path, embedder)
    pets = [Leaf("Cats purr when they are happy.", 1), Leaf("A kitten drinks milk at noon.", 2)]
    await index.add("pets", title="Pets", url="u/pets", leaves=pets, metadata={"year": 2020, "tags": ["home"]})
    await index.add("trains", title="Trains", leaves=[Leaf("The locomotive left the station at noon.")])
    return index


def test_pieces_are_found_with_their_document_their_page_and_its_metadata():
    async def test() -> None:
        index = await filled()
        (hit,) = await index.search("Kittens?", 5)
        assert (hit.key, hit.title, hit.url, hit.page) == ("pets", "Pets", "u/pets", 2)
        assert hit.text == "A kitten drinks milk at noon." and hit.metadata == {"year": 2020, "tags": ["home"]}
        assert await index.search("zebra", 5) == [] and await index.search("", 5) == []
        await index.aclose()

    run(test())


def test_a_filter_leaves_only_documents_that_it_lets_through():
    async def test() -> None:
        index = await filled(Letters())
        for mode in ("lexical", "dense", "hybrid"):
            keys = {hit.key for hit in await index.search("noon", 5, filters.parse("year >= 2020"), mode)}
            assert keys == {"pets"}
            assert await index.search("noon", 5, filters.parse("year > 2020"), mode) == []
        await index.aclose()

    run(test())


def test_a_document_that_is_added_again_takes_the_place_of_the_old_one():
    async def test() -> None:
        index = await filled(Letters())
        assert await index.add("pets", title="Animals", leaves=[Leaf("Dogs bark.")]) == 1
        assert [hit.text for hit in await index.search("purr kitten", 5, mode="lexical")] == []
        assert [hit.title for hit in await index.search("bark", 5, mode="lexical")] == ["Animals"]
        assert len(await index.search("anything", 50, mode="dense")) == 2
        assert [(entry.key, entry.chunks) for entry in await index.entries()] == [("pets", 1), ("trains", 1)]
        assert await index.remove("pets") and not await index.remove("pets")
        assert await index.search("bark", 5, mode="lexical") == []
        await index.aclose()

    run(test())


def test_meaning_finds_what_words_do_not():
    async def test() -> None:
        index = await filled(Letters())
        assert await index.search("ttnkei", 1, mode="lexical") == []
        (hit,) = await index.search("ttnkei drniks mlik", 1, mode="dense")
        assert hit.text.startswith("A kitten")
        both = await index.search("locomotive", 3)
        assert both[0].key == "trains" and len(both) == 3, "what is found both ways comes first"
        await index.aclose()

    run(test())


def test_several_indexes_are_searched_as_one():
    async def test() -> None:
        first, second = await filled(Letters()), Index(None, Letters())
        await second.add("more", leaves=[Leaf("Another locomotive, and a locomotive more: locomotive.")])
        hits = await collection.search([first, second], "locomotive", 2)
        assert {hit.key for hit in hits} == {"trains", "more"}
        await first.aclose()
        await second.aclose()

    run(test())


def test_an_index_on_the_disk_is_there_again(tmp_path):
    async def test() -> None:
        index = await filled(Letters(), tmp_path / "i.db")
        await index.aclose()
        again = Index(tmp_path / "i.db", Letters())
        assert [hit.key for hit in await again.search("locomotive", 1)] == ["trains"]
        await again.aclose()

    run(test())


def test_vectors_of_another_embedder_are_not_compared_but_made_anew(tmp_path):
    async def test() -> None:
        index = await filled(Letters("old"), tmp_path / "i.db")
        await index.aclose()
        index = Index(tmp_path / "i.db", Letters("new"))
        assert await index.search("kitten", 5, mode="dense") == []
        assert await index.refresh() == 2 and await index.refresh() == 0
        assert len(await index.search("kitten", 5, mode="dense")) == 3
        await index.aclose()

    run(test())


def test_an_embedder_that_fails_leaves_the_search_by_words_and_no_half_document():
    async def test() -> None:
        letters = Letters()
        index = await filled(letters)
        letters.fails = True
        assert [hit.key for hit in await index.search("locomotive", 5)] == ["trains"]
        with pytest.raises(wire.Unavailable):
            await index.add("third", leaves=[Leaf("Never in.")])
        assert len(await index.entries()) == 2
        await index.aclose()

    run(test())


def test_documents_can_come_and_go_while_others_search():
    async def test() -> None:
        index = await filled(Letters())

        async def change(number: int) -> None:
            await index.add(f"k{number}", leaves=[Leaf(f"Number {number} of many, the locomotive said.")] * 5)
            await index.remove(f"k{number}")

        async def ask() -> None:
            assert "trains" in {hit.key for hit in await index.search("locomotive station", 10)}

        await asyncio.gather(*(change(number) for number in range(10)), *(ask() for _ in range(20)))
        assert len(await index.entries()) == 2
        await index.aclose()

    run(test())


# ---------------------------------------------------------------------------------------------------- embedders


@contextmanager
def embedding_server(answer: Any) -> Iterator[tuple[str, list[Any]]]:
    """A server whose `/v1/embeddings` answers what `answer(body)` gives: JSON, or a status and words."""
    asked: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            asked.append((self.path, self.headers.get("authorization"), body))
            said = answer(body)
            status, data = said if isinstance(said, tuple) else (200, json.dumps(said).encode())
            self.send_response(status)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *arguments: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


async def embedded(url: str, texts: list[str], key: str | None = None) -> Any:
    remote = Remote(url, "m", key, seconds=5)
    try:
        return await remote.embed(texts)
    finally:
        await remote.aclose()


def test_a_server_is_asked_in_batches_and_its_vectors_come_in_the_order_of_the_texts():
    def answer(body: Any) -> Any:
        rows = [{"index": n, "embedding": [float(text), 1.0]} for n, text in enumerate(body["input"])]
        return {"data": rows[::-1]}

    with embedding_server(answer) as (url, asked):
        rows = run(embedded(url, [str(n) for n in range(40)], "k"))
    assert rows.shape == (40, 2) and rows[3] == pytest.approx([3 / 10**0.5, 1 / 10**0.5])
    assert [(path, key, len(body["input"])) for path, key, body in asked] == [
        ("/v1/embeddings", "Bearer k", 32),
        ("/v1/embeddings", "Bearer k", 8),
    ]


@pytest.mark.parametrize(
    "said",
    [
        (500, b"out of memory"),
        (200, b"<html>"),
        (200, b'{"data": [{"index": 0}]}'),
        {"data": []},
        {"data": [{"index": 0, "embedding": [1.0]}, {"index": 1, "embedding": [1.0, 2.0]}]},
        {"data": [{"index": 0, "embedding": ["x"]}, {"index": 1, "embedding": ["y"]}]},
        (200, b'{"data": [{"index": 0, "embedding": [NaN]}, {"index": 1, "embedding": [1]}]}'),
    ],
)
def test_a_server_that_answers_nonsense_is_unavailable_and_no_crash(said):
    with embedding_server(lambda body: said) as (url, _), pytest.raises(wire.Unavailable):
        run(embedded(url, ["a", "b"]))


def test_a_server_that_is_not_there_is_unavailable():
    with embedding_server(lambda body: {}) as (url, _):
        pass
    with pytest.raises(wire.Unavailable):
        run(embedded(url, ["a"]))


def test_a_setting_stands_for_an_embedder():
    assert embedder("none") is None
    assert embedder("http://127.0.0.1:1/v1#bge").name == "http://127.0.0.1:1/v1#bge"  # type: ignore[union-attr]
    for wrong in ("http://127.0.0.1:1/v1", "glove", ""):
        with pytest.raises(ValueError, match=r"model|none of"):
            embedder(wrong)


@pytest.mark.parametrize("name", LOCAL)
def test_installed_weights_put_like_by_like(name):
    try:
        found = embedder(name)
    except ImportError as missing:
        pytest.skip(str(missing))
    assert found is not None
    texts = ["A cat sleeps on the sofa.", "The kitten naps.", "Interest rates rose again.", ""]
    rows = run(found.embed(texts))
    assert rows.shape[0] == 4 and rows.dtype == np.float32
    assert np.linalg.norm(rows[:3], axis=1) == pytest.approx([1, 1, 1], abs=1e-5)
    assert rows[0] @ rows[1] > rows[0] @ rows[2] + 0.1
    assert np.isfinite(rows).all()
