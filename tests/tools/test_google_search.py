"""google_search: what it refuses, its steps, what the model reads of the pages, and what goes wrong."""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import Coroutine, Iterator, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon import wire
from antiphon.citations import cite
from antiphon.fetch import Fetcher
from antiphon.index.collection import Index
from antiphon.ports import Document, Leaf, Outcome, Unreadable, Use
from antiphon.search.provider import Hit, SearchFault
from antiphon.tools import google_search
from antiphon.tools.google_search import GoogleSearch
from serving import Server, ServerFactory
from websites import answer, silent, website

DECLARED = wire.GoogleSearch()
TEXT = "Filler about nothing. " * 400


def run(test: Coroutine[Any, Any, Any]) -> Any:
    """Nothing here may take long: a hang is a failure."""

    async def limited() -> Any:
        async with asyncio.timeout(20):
            return await test

    return asyncio.run(limited())


class Shelf:
    """A provider of pages by query, in order; an exception or words among them is what goes wrong."""

    def __init__(self, pages: dict[str, Any], unready: str = "") -> None:
        self._pages = pages
        self._unready = unready
        self.closed = False

    async def ready(self) -> str:
        return self._unready

    async def search(self, query: str, count: int) -> list[Hit]:
        found = self._pages.get(query, [])
        if isinstance(found, Exception):
            raise found
        if found == "silence":
            await asyncio.Event().wait()
        return found

    async def aclose(self) -> None:
        self.closed = True


async def read(body: bytes, mime_type: str | None = None, name: str | None = None) -> Document:
    if b"unreadable" in body:
        raise Unreadable("no text")
    return Document(leaves=(Leaf(body.decode()),))


def hit(number: int, **fields: Any) -> Hit:
    return Hit(f"Page {number}", f"https://example.org/{number}", **{"snippet": f"Snippet {number}."} | fields)


async def outcome(tool: GoogleSearch, queries: Any, room: int = 16_000) -> Outcome:
    session = await tool.open(Use(project="p", interaction="i", declared=DECLARED, room=room))
    call = session.call("c1", "google_search", {"queries": queries})
    again = msgspec.json.decode(msgspec.json.encode(call), type=wire.GoogleSearchCallStep)  # as after a crash
    assert session.owns(again)
    result = await session.run(again)
    await session.aclose()
    assert result.step.call_id == "c1"
    length = len(result.reading) + sum(
        len(p.text) + len(str(p.citation.url)) + len(str(p.citation.title)) + 8 for p in result.passages
    )
    assert length <= room
    return result


def searched(pages: dict[str, Any], queries: Any, **fields: Any) -> Outcome:
    return run(outcome(GoogleSearch(provider=Shelf(pages)), queries, **fields))


# ---------------------------------------------------------------------------------------------------- steps


def test_the_call_and_the_result_are_the_apis_steps():
    session = run(GoogleSearch(provider=Shelf({})).open(Use(project="p", interaction="i", declared=DECLARED)))
    call = session.call("c1", "google_search", {"queries": ["a"]})
    assert msgspec.to_builtins(call) == {
        "type": "google_search_call",
        "id": "c1",
        "arguments": {"queries": ["a"]},
        "search_type": "web_search",
    }
    step = msgspec.to_builtins(searched({"a <b>": [hit(1)]}, ["a <b>"]).step)
    suggestions = step["result"].pop()
    assert step == {
        "type": "google_search_result",
        "call_id": "c1",
        "is_error": False,
        "result": [{"title": "Page 1", "url": "https://example.org/1", "snippet": "Snippet 1."}],
    }
    assert list(suggestions) == ["search_suggestions"]
    assert '<span class="chip">a &lt;b&gt;</span>' in suggestions["search_suggestions"]


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ({"queries": ["a", "b"]}, ["a", "b"]),
        ({"queries": "a  b\n"}, ["a b"]),
        ({"query": "a"}, ["a"]),
        ({"queries": ["a", 3, None, "", "a"]}, ["a"]),
        ({"queries": [str(n) for n in range(9)]}, ["0", "1", "2", "3", "4"]),
        ({"queries": {"a": 1}}, []),
        ({}, []),
        ({"queries": ["x" * 1000]}, ["x" * 400]),
    ],
)
def test_a_call_keeps_what_can_be_searched_for(given, kept):
    session = run(GoogleSearch(provider=Shelf({})).open(Use(project="p", interaction="i", declared=DECLARED)))
    assert session.call("c1", "google_search", given).arguments.queries == kept


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.integers() | st.text(), st.lists, max_leaves=5)))
@settings(max_examples=50, deadline=None)
def test_a_call_is_never_an_error(arguments):
    session = run(GoogleSearch(provider=Shelf({})).open(Use(project="p", interaction="i", declared=DECLARED)))
    msgspec.json.encode(session.call("c1", "google_search", arguments))


def test_the_function_is_small_and_its_name_is_the_tools():
    session = run(GoogleSearch(provider=Shelf({})).open(Use(project="p", interaction="i", declared=DECLARED)))
    (function,) = session.functions
    assert function.name == GoogleSearch.type == "google_search"
    assert len(msgspec.json.encode(function)) < 700


def test_results_of_several_queries_are_merged_the_best_of_each_first():
    same = Hit("Again", "http://www.EXAMPLE.org/1/?utm_source=x#top", "s")
    result = searched({"a": [hit(1), hit(2)], "b": [same, hit(3)]}, ["a", "b"])
    assert [item.url for item in result.step.result[:-1]] == [f"https://example.org/{n}" for n in (1, 2, 3)]


def test_no_more_results_come_than_the_limits_say():
    pages = {query: [Hit("t", f"https://{query}.org/{n}", "s") for n in range(50)] for query in "abcdefg"}
    result = searched(pages, list("abcdefg"))
    assert len(result.step.result) == 21 and len(result.passages) == 12


def test_an_address_that_is_no_link_does_not_come_out():
    result = searched({"a": [Hit("bad", "javascript:alert(1)", "s"), hit(1)]}, ["a"])
    assert [item.url for item in result.step.result[:-1]] == ["https://example.org/1"]


def test_the_same_search_gives_the_same_result():
    pages = {"a": [hit(n, text=f"About bees {n}. {TEXT}") for n in range(9)]}
    assert searched(pages, ["a"]) == searched(pages, ["a"])


# ---------------------------------------------------------------------------------------------------- what is read


def test_pages_are_read_and_the_words_that_match_are_shown():
    async def test() -> Outcome:
        pages = {
            "/1": answer(f"{TEXT}\n\nThe queen lays 1,500 eggs a day.\n\n{TEXT}", mime_type="text/plain"),
            "/2": answer("unreadable"),
            "/4": answer("never fetched"),
        }
        async with website(pages) as site:
            hits = [Hit(f"Page {n}", site.url(f"/{n}"), f"Snippet {n}.") for n in range(1, 5)]
            provider = Shelf({"how many eggs a queen lays": hits})
            tool = GoogleSearch(provider=provider, fetch=Fetcher(site.allow), read=read, pages=3)
            result = await outcome(tool, ["how many eggs a queen lays"], 2000)
            assert sorted(head.split()[1] for head in site.heads) == ["/1", "/2", "/3"]
        return result

    result = run(test())
    assert "The queen lays 1,500 eggs a day." in result.passages[0].text
    assert result.passages[0].text.count("[…]") == 2
    assert [passage.text for passage in result.passages[1:]] == ["Snippet 2.", "Snippet 3.", "Snippet 4."]
    assert result.trusted is False
    (citation,) = cite("A queen lays 1,500 eggs a day.", result.passages)
    assert citation.title == "Page 1"


def test_a_page_that_says_nothing_is_left_for_its_snippet(monkeypatch):
    monkeypatch.setattr(google_search, "_PAGE_SECONDS", 0.2)

    async def test() -> Outcome:
        async with website({"/1": silent}) as site:
            tool = GoogleSearch(
                provider=Shelf({"a": [Hit("t", site.url("/1"), "Only this.")]}), fetch=Fetcher(site.allow), read=read
            )
            return await outcome(tool, ["a"])

    assert [passage.text for passage in run(test()).passages] == ["Only this."]


def test_a_page_that_shows_something_else_is_left_for_its_snippet():
    async def test() -> Outcome:
        async with website({"/1": answer("Please enable scripts to go on.", mime_type="text/plain")}) as site:
            provider = Shelf({"honey bees": [Hit("t", site.url("/1"), "Bees make honey.")]})
            return await outcome(GoogleSearch(provider=provider, fetch=Fetcher(site.allow), read=read), ["honey bees"])

    assert [passage.text for passage in run(test()).passages] == ["Bees make honey."]


def test_private_addresses_among_the_results_are_not_fetched():
    async def test() -> Outcome:
        async with website({"/": answer("secret")}) as site:
            tool = GoogleSearch(provider=Shelf({"a": [Hit("t", site.url(), "A snippet.")]}), fetch=Fetcher(), read=read)
            result = await outcome(tool, ["a"])
            assert site.heads == []
            return result

    assert [passage.text for passage in run(test()).passages] == ["A snippet."]


def test_what_a_provider_has_already_is_not_fetched():
    result = searched({"a": [Hit("Own", "file:handbook/a.md", "short", "The whole text of the page.")]}, ["a"])
    assert result.passages[0].text == "The whole text of the page."
    assert result.passages[0].citation == wire.UrlCitation(url="file:handbook/a.md", title="Own")


@pytest.mark.parametrize("room", [0, 50, 300, 1000, 4000])
def test_what_the_model_reads_keeps_to_its_room(room):
    pages = {"bees": [hit(n, text=f"About bees {n}. {TEXT}") for n in range(12)]}
    tool = GoogleSearch(provider=Shelf(pages))

    async def test() -> Outcome:
        session = await tool.open(Use(project="p", interaction="i", declared=DECLARED, room=room))
        return await session.run(session.call("c1", "google_search", {"queries": ["bees"]}))

    result = run(test())
    assert sum(len(passage.text) for passage in result.passages) <= room
    assert len(result.passages) > 0 or room < 300


# ---------------------------------------------------------------------------------------------------- what goes wrong


def failure(result: Outcome) -> str:
    assert result.step.is_error is True and result.step.result == [] and result.passages == ()
    return result.reading


def test_no_query_is_an_error_that_the_model_reads():
    assert "No query" in failure(searched({}, []))


def test_a_search_that_fails_is_an_error_that_the_model_reads():
    assert "too many requests" in failure(searched({"a": SearchFault("It answered 429: too many requests.")}, ["a"]))


def test_a_provider_that_says_nothing_is_given_up(monkeypatch):
    monkeypatch.setattr(google_search, "_SEARCH_SECONDS", 0.1)
    assert "no answer within" in failure(searched({"a": "silence"}, ["a"]))


def test_one_query_of_two_may_fail():
    result = searched({"a": SearchFault("Broken."), "b": [hit(1)]}, ["a", "b"])
    assert result.step.is_error is False and len(result.passages) == 1
    assert "One query failed: Broken." in result.reading


def test_nothing_found_is_no_error():
    result = searched({}, ["a"])
    assert result.step.is_error is False and result.reading == "Nothing was found for “a”."


@pytest.mark.parametrize("kind", ["image_search", "enterprise_web_search"])
def test_other_kinds_of_search_are_refused(kind):
    declared = wire.GoogleSearch(search_types=["web_search", kind])
    with pytest.raises(wire.InvalidRequest, match=rf"'{kind}' is not supported for 'tools\[2\].search_types\[1\]'"):
        run(GoogleSearch(provider=Shelf({})).check(declared, "p", "tools[2]"))
    run(GoogleSearch(provider=Shelf({})).check(wire.GoogleSearch(search_types=["web_search"]), "p", "tools[0]"))


def test_a_provider_that_cannot_be_used_refuses_the_request():
    with pytest.raises(wire.FailedPrecondition, match="antiphon index add"):
        run(GoogleSearch(provider=Shelf({}, "Fill it: antiphon index add")).check(DECLARED, "p", "tools[0]"))


def test_closing_the_tool_closes_its_provider():
    shelf = Shelf({})
    run(GoogleSearch(provider=shelf).aclose())
    assert shelf.closed


# ---------------------------------------------------------------------------------------------------- over the wire


@pytest.fixture(scope="module")
def searxng() -> Iterator[str]:
    """A SearXNG, and the page it finds."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            here = f"http://{self.headers['Host']}"
            found = {"title": "The tower", "url": f"{here}/tower", "content": "About a tower."}
            page = b"<html><title>x</title><body><article><p>The tower of Ostra was built in 1832 by Anna Lindqvist. "
            body = msgspec.json.encode({"results": [found]}) if self.path.startswith("/search") else page
            self.send_response(200)
            self.send_header("Content-Type", "application/json" if body[:1] == b"{" else "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


SCRIPT = """
[[turns]]
after = "google_search"
text = "It was built in 1832 by Anna Lindqvist [1]. I do not know its colour."
[[turns]]
calls = [{ name = "google_search", arguments = { queries = ["tower of Ostra"] } }]
"""


def test_an_answer_cites_a_page_that_was_found(server: ServerFactory, searxng: str):
    started = server(SCRIPT, f"--tool=google_search=searxng:{searxng}", "--reachable", searxng.removeprefix("http://"))
    done = started.create("When was the tower built?", tools=[{"type": "google_search"}])
    kinds: Sequence[str] = [step["type"] for step in done["steps"]]
    assert [kind for kind in kinds if kind != "thought"] == [
        "google_search_call",
        "google_search_result",
        "model_output",
    ]
    (found, suggestions) = next(step for step in done["steps"] if step["type"] == "google_search_result")["result"]
    assert found == {"title": "The tower", "url": f"{searxng}/tower", "snippet": "About a tower."}
    assert "tower of Ostra" in suggestions["search_suggestions"]
    content = done["steps"][-1]["content"][0]
    (annotation,) = content["annotations"]
    assert annotation["url"] == f"{searxng}/tower"
    words = content["text"].encode()[annotation["start_index"] : annotation["end_index"]]
    assert words == b"It was built in 1832 by Anna Lindqvist"


def test_an_index_of_ones_own_is_searched_with_no_network(server: ServerFactory, tmp_path: Path):
    path = tmp_path / "search.db"
    started = server(SCRIPT, f"--tool=google_search=local:{path}")
    body = {"model": "scripted", "input": "When?", "tools": [{"type": "google_search"}]}
    refused = started.request("POST", "/v1beta/interactions", body)
    assert refused.status == 400 and "antiphon index add" in refused.error["message"]

    async def fill() -> None:
        index = Index(path)
        text = "The tower of Ostra was built in 1832 by Anna Lindqvist."
        await index.add("k", title="Ostra", url="file:handbook/ostra.md", leaves=[Leaf(text)])
        await index.aclose()

    run(fill())
    done = started.create("When was the tower built?", tools=[{"type": "google_search"}])
    (annotation,) = done["steps"][-1]["content"][0]["annotations"]
    assert annotation["url"] == "file:handbook/ostra.md" and annotation["title"] == "Ostra"


def test_what_is_not_served_is_a_clear_400(server: ServerFactory, searxng: str):
    started = server(SCRIPT, f"--tool=google_search=searxng:{searxng}")
    body = {"model": "scripted", "input": "x", "tools": [{"type": "google_search", "search_types": ["image_search"]}]}
    refused = started.request("POST", "/v1beta/interactions", body)
    assert refused.status == 400 and "tools[0].search_types[0]" in refused.error["message"]


def test_the_settings_that_the_page_shows_are_taken(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "tools" / "google_search.md").read_text(encoding="utf-8")
    block = re.search(r"```toml\n(.*?)```", page, re.DOTALL)
    assert block is not None
    (tmp_path / "antiphon.toml").write_text(f'[models.scripted]\nsource = "scripted"\n{block[1]}', encoding="utf-8")
    server = Server(["--config", str(tmp_path / "antiphon.toml")], tmp_path / "data", {"BRAVE_API_KEY": "k"})
    try:
        assert server.create("hi", tools=[{"type": "google_search"}])["status"] == "completed"
    finally:
        server.stop()
