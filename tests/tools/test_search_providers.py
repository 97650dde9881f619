"""Search providers, each against a little service that speaks its form; and the local index, from folders and sites."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import sys
import threading
from collections.abc import Coroutine
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from antiphon import cli, json_http
from antiphon.fetch import Fetcher
from antiphon.index.collection import Index
from antiphon.ports import Document, Leaf
from antiphon.search import folders, providers, sites, sources
from antiphon.search.provider import Hit, Provider, SearchFault, hits, is_page
from antiphon.search.sources import Keeper, Source
from antiphon.words import plain
from services import never, service, status
from websites import answer, website


def run(test: Coroutine[Any, Any, Any]) -> Any:
    """Nothing here may take long: a hang is a failure."""

    async def limited() -> Any:
        async with asyncio.timeout(30):
            return await test

    return asyncio.run(limited())


RESULTS = [
    {"title": "One <strong>page</strong> &amp; more", "url": "https://example.org/1", "content": "It is <b>red</b>."},
    {"title": "Bad", "url": "javascript:alert(1)", "content": "x"},
    {"title": None, "url": "https://example.org/2", "content": None},
    {"title": "No address"},
    {"title": "Third\u202e\x00", "url": "http://example.org/3", "content": "y"},
]  # fmt: skip
BRAVE = {
    "type": "search",
    "web": {"type": "search", "results": [{**r, "description": r.get("content")} for r in RESULTS]},
}
GOOGLE = {
    "kind": "customsearch#search",
    "items": [{**r, "link": r.get("url"), "snippet": r.get("content")} for r in RESULTS],
}
SEARXNG = {"query": "q", "number_of_results": 0, "results": RESULTS, "unresponsive_engines": []}
FORMS: dict[str, Any] = {
    "searxng": (lambda url: {"source": f"searxng:{url}"}, SEARXNG),
    "brave": (lambda url: {"source": f"brave:{url}", "key": "secret"}, BRAVE),
    "tavily": (lambda url: {"source": f"tavily:{url}", "key": "secret"}, {"query": "q", "results": RESULTS}),
    "google_cse": (lambda url: {"source": "google_cse:engine", "key": "secret", "url": url}, GOOGLE),
}


async def asked(name: str, reply: Any, query: str = "red pages", count: int = 10) -> tuple[list[Hit], Any]:
    """What a provider makes of this reply, and the service with what it was asked."""
    async with service(reply) as little:
        provider = providers.make(**FORMS[name][0](little.url))
        try:
            assert await provider.ready() == ""
            return await provider.search(query, count), little
        finally:
            await provider.aclose()


# ---------------------------------------------------------------------------------------------------- over the network


@pytest.mark.parametrize("name", FORMS)
def test_results_come_clean_and_those_that_are_no_pages_do_not_come(name):
    found, _ = run(asked(name, FORMS[name][1]))
    assert found == [
        Hit("One page & more", "https://example.org/1", "It is red."),
        Hit("https://example.org/2", "https://example.org/2", ""),
        Hit("Third", "http://example.org/3", "y"),
    ]


@pytest.mark.parametrize("name", FORMS)
def test_no_more_results_come_than_were_asked_for(name):
    found, _ = run(asked(name, FORMS[name][1], count=1))
    assert len(found) == 1


def test_each_service_is_asked_as_its_reference_says():
    _, searxng = run(asked("searxng", SEARXNG))
    assert searxng.asked[0][:3] == ("GET", "/search", {"q": "red pages", "format": "json"})
    _, brave = run(asked("brave", BRAVE, query="word " * 300))
    method, path, parameters, headers, _ = brave.asked[0]
    assert (method, path, parameters["count"]) == ("GET", "/res/v1/web/search", "10")
    assert len(parameters["q"].split()) == 50 and headers["X-Subscription-Token"] == "secret"
    _, tavily = run(asked("tavily", {"results": []}))
    method, path, _, headers, body = tavily.asked[0]
    assert (method, path, headers["Authorization"]) == ("POST", "/search", "Bearer secret")
    assert json.loads(body) == {"query": "red pages", "max_results": 10, "search_depth": "basic"}
    _, google = run(asked("google_cse", {}))
    assert google.asked[0][:2] == ("GET", "/customsearch/v1")
    assert google.parameters == {"key": "secret", "cx": "engine", "q": "red pages", "num": "10"}


@pytest.mark.parametrize("name", FORMS)
@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (status(401), "401: the key"),
        (status(403), "403"),
        (status(429), "too many requests"),
        (status(500), "500"),
        (status(302), "302: a redirect"),
        (b"<html>are you a robot?</html>", "not its JSON"),
        (b'{"results": 3, "web": 3, "items": 3}', "not its JSON"),
        (b"[" * 100_000, "not its JSON"),
        (b"\xff\xfe", "not its JSON"),
        (b'{"x": "' + b"a" * (5 * 2**20) + b'"}', "more than 4 MB"),
    ],
)
def test_a_fault_of_the_service_is_told_and_no_key_with_it(name, reply, words):
    with pytest.raises(SearchFault, match=words) as caught:
        run(asked(name, reply))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", FORMS)
def test_a_service_that_says_nothing_is_given_up(name, monkeypatch):
    monkeypatch.setattr(json_http, "SECONDS", 0.2)
    with pytest.raises(SearchFault, match="within"):
        run(asked(name, never))


def test_a_service_that_is_not_there_is_a_fault():
    async def test() -> None:
        provider = providers.make("searxng:http://127.0.0.1:9")
        try:
            await provider.search("x", 3)
        finally:
            await provider.aclose()

    with pytest.raises(SearchFault, match="cannot be reached"):
        run(test())


def test_engines_that_ask_for_a_captcha_are_a_fault():
    reply = {"results": [], "unresponsive_engines": [["google", "CAPTCHA"], ["brave", "too many requests"]]}
    with pytest.raises(SearchFault, match="google CAPTCHA, brave too many requests"):
        run(asked("searxng", reply))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("bing", "there is no search provider 'bing': local, searxng"),
        ("searxng", "needs the URL"),
        ("brave", "needs a key"),
        ("tavily", "needs a key"),
        ("google_cse:x", "needs a search engine's id"),
        ("local", "needs a data directory"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(source, words):
    with pytest.raises(ValueError, match=words):
        providers.make(source)
    with pytest.raises(ValueError, match="does not take"):
        providers.make("searxng:http://127.0.0.1:9", colour="red")


def test_ddgs_without_its_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "ddgs", None)
    with pytest.raises(ImportError, match=r"antiphon\[ddgs\]"):
        providers.make("ddgs")


@pytest.mark.skipif(importlib.util.find_spec("ddgs") is None, reason="the package ddgs is not installed")
def test_engines_that_ddgs_cannot_reach_are_a_fault():
    provider = providers.make("ddgs:mojeek", proxy="http://127.0.0.1:9")
    with pytest.raises(SearchFault):
        run(provider.search("anything", 3))


def test_text_of_others_becomes_one_plain_line():
    assert plain("a\n <b>b</b>\t&lt;c&gt; \u200b\x07", 100) == "a b <c>"
    assert plain("3 < 5 and 7 > 2", 100) == "3 < 5 and 7 > 2"
    assert plain(None, 10) == "" and plain("x" * 100, 10) == "x" * 10
    assert len(plain("<" * 1_000_000, 1000)) <= 1000


NO_PAGES = ["", "javascript:x", "data:text/html,x", "file:///etc/passwd", "https://", "http://a b/", "http://[", "http://e.org/" + "x" * 3000]  # fmt: skip # noqa: E501


@pytest.mark.parametrize("url", NO_PAGES)
def test_what_is_no_page_of_the_web_is_no_hit(url):
    assert not is_page(url)
    assert hits([("t", url, "s")], 3) == []


# ---------------------------------------------------------------------------------------------------- the local index


async def read(body: bytes, mime_type: str | None = None, name: str | None = None) -> Document:
    """A reader for tests: what is plain is read as it is. The real one is tested with `media/`."""
    text = body.decode()
    return Document(title=text.partition("<title>")[2].partition("</title>")[0] or None, leaves=(Leaf(text),))


def tree(root: Path) -> Path:
    (root / "guide").mkdir(parents=True)
    (root / ".git").mkdir()
    (root / "guide" / "bees.md").write_text("# Keeping bees\n\nThe queen lays 1,500 eggs a day.")
    (root / "guide" / "a b.txt").write_text("Honey is made of nectar.")
    (root / "wax.html").write_text("<title>Wax</title> Wax melts at 64 degrees.")
    (root / ".git" / "secret.md").write_text("hidden eggs")
    (root / "photo.jpg").write_bytes(b"\xff\xd8")
    (root / "link.md").symlink_to("/etc/hostname")
    return root


async def gather(root: Path, path: Path, url: str = "") -> sources.Tally:
    index = Index(path)
    source = Source(place=str(root), url=url)
    keeper = Keeper(index, read, source, await index.entries(), lambda name: None)
    try:
        await folders.gather(source, keeper)
    finally:
        await index.aclose()
    return keeper.tally


async def local(path: Path, query: str) -> list[Hit]:
    provider: Provider = providers.make("local", path=path)
    try:
        assert await provider.ready() == ""
        return await provider.search(query, 5)
    finally:
        await provider.aclose()


def test_a_folder_is_found_and_no_directory_of_the_server_is_told(tmp_path):
    root = tree(tmp_path / "handbook")
    tally = run(gather(root, tmp_path / "search.db"))
    assert (tally.added, tally.failed) == (3, [])
    found = run(local(tmp_path / "search.db", "how many eggs does a queen lay"))
    assert [(hit.title, hit.url) for hit in found] == [("Keeping bees", "file:handbook/guide/bees.md")]
    assert "1,500 eggs" in found[0].text and "1,500 eggs" in found[0].snippet
    assert [hit.url for hit in run(local(tmp_path / "search.db", "nectar"))] == ["file:handbook/guide/a%20b.txt"]
    assert str(tmp_path) not in repr(found)


def test_a_folder_may_be_cited_by_an_address_of_its_own(tmp_path):
    root = tree(tmp_path / "handbook")
    run(gather(root, tmp_path / "search.db", "https://intranet.example/books/"))
    assert [hit.url for hit in run(local(tmp_path / "search.db", "wax"))] == ["https://intranet.example/books/wax.html"]


def test_only_what_has_changed_is_read_again(tmp_path):
    root, path = tree(tmp_path / "handbook"), tmp_path / "search.db"
    run(gather(root, path))
    os.utime(root / "wax.html", ns=(1, 1))  # a new time, the same words
    (root / "guide" / "bees.md").write_text("# Keeping bees\n\nThe queen lays 2,000 eggs a day.")
    (root / "guide" / "a b.txt").unlink()
    (root / "new.md").write_text("Smoke calms them.")
    tally = run(gather(root, path))
    assert (tally.added, tally.changed, tally.same, tally.removed) == (1, 1, 1, 1)
    assert "2,000" in run(local(path, "eggs"))[0].text
    assert run(local(path, "nectar")) == []


def test_a_folder_that_is_not_there_keeps_what_was_found_in_it(tmp_path):
    root, path = tree(tmp_path / "handbook"), tmp_path / "search.db"
    run(gather(root, path))
    root.rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="is not there"):
        run(gather(root, path))
    assert run(local(path, "wax")) != []


def test_an_empty_index_says_how_it_is_filled(tmp_path):
    provider = providers.make("local", path=tmp_path / "search.db")
    assert "antiphon index add" in run(provider.ready())
    assert not (tmp_path / "search.db").exists()
    with pytest.raises(SearchFault, match="antiphon index add"):
        run(provider.search("x", 3))


# ---------------------------------------------------------------------------------------------------- sites

NO_ROBOTS = '<meta name="robots" content="noindex, nofollow">'


def page(title: str, text: str = "", *links: str, head: str = "") -> bytes:
    anchors = "".join(f'<a href="{link}">x</a>' for link in links)
    return answer(f"<html><head><title>{title}</title>{head}</head><body>{text}{anchors}</body></html>")


SITE = {
    "/robots.txt": answer("User-agent: *\nDisallow: /docs/private", mime_type="text/plain"),
    "/docs/": page("Start", "welcome", "a.html", "/docs/b.html#part", "../outside.html", "https://example.org/docs/x",
                   "/docs/private/x.html", "/docs/hidden.html", "/docs/gone.html", "/docs/away", "javascript:x",
                   "http://[", "/docs/c.css"),
    "/docs/a.html": page("A", "Alpha words", "/docs/b.html", "/docs/deep/d.html"),
    "/docs/b.html": page("B", "Beta words", "/docs/"),
    "/docs/deep/d.html": page("D", "Delta words"),
    "/docs/hidden.html": page("Hidden", "secret words", "/docs/onlyhere.html", head=NO_ROBOTS),
    "/docs/onlyhere.html": page("Only", "here"),
    "/docs/away": answer("", "302 Found", location="/outside.html"),
    "/docs/c.css": answer("a {}", mime_type="text/css"),
    "/outside.html": page("Outside", "outside words"),
    "/docs/private/x.html": page("Private", "private words"),
}  # fmt: skip


async def crawl(
    site_of: dict[str, Any], path: Path, start: str = "/docs/", **fields: Any
) -> tuple[sources.Tally, list[str], int]:
    async with website(site_of) as site:
        index = Index(path)
        source = Source(place=site.url(start), **fields)
        keeper = Keeper(index, read, source, await index.entries(), lambda name: None)
        try:
            await sites.gather(source, keeper, Fetcher(site.allow))
            titles = sorted(entry.title for entry in await index.entries())
        finally:
            await index.aclose()
        return keeper.tally, titles, len(site.heads)


def test_a_site_is_walked_within_its_folder_as_its_robots_txt_allows(tmp_path):
    tally, titles, _ = run(crawl(SITE, tmp_path / "search.db"))
    assert titles == ["A", "B", "D", "Start"]
    assert sorted(failure.partition("/docs/")[2] for failure in tally.failed) == [
        "away: it leads away from the site",
        "gone.html: The host answers HTTP 404.",
    ]


def test_a_site_is_walked_no_further_than_it_may_be(tmp_path):
    tally, _, asked = run(crawl(SITE, tmp_path / "search.db", pages=3))
    assert tally.added == 3 and asked == 4  # and robots.txt


def test_a_site_that_forbids_it_is_not_walked(tmp_path):
    pages = SITE | {"/robots.txt": answer("User-agent: Antiphon\nDisallow: /", mime_type="text/plain")}
    with pytest.raises(ValueError, match=r"robots.txt of 127.0.0.1:\d+ does not allow"):
        run(crawl(pages, tmp_path / "search.db"))


def test_a_site_without_robots_txt_allows_everything_one_whose_is_broken_nothing(tmp_path):
    pages = {name: body for name, body in SITE.items() if name != "/robots.txt"}
    _, titles, _ = run(crawl(pages, tmp_path / "one.db"))
    assert "Private" in titles
    with pytest.raises(ValueError, match="does not allow"):
        run(crawl(SITE | {"/robots.txt": answer("", "503 Service Unavailable")}, tmp_path / "two.db"))


def test_a_site_that_is_not_there_is_told(tmp_path):
    with pytest.raises(ValueError, match="HTTP 404"):
        run(crawl({}, tmp_path / "search.db"))


def test_a_site_is_brought_up_to_date(tmp_path):
    async def test() -> sources.Tally:
        index = Index(tmp_path / "search.db")
        async with website(SITE) as site:
            source = Source(place=site.url("/docs/"))
            for changed in (
                {},
                {"/docs/a.html": page("A2", "Other words"), "/docs/b.html": page("B", "Beta words", "/docs/")},
            ):
                site.pages |= changed
                keeper = Keeper(index, read, source, await index.entries(), lambda name: None)
                await sites.gather(source, keeper, Fetcher(site.allow))
        await index.aclose()
        return keeper.tally

    tally = run(test())
    assert (tally.added, tally.changed, tally.same, tally.removed) == (0, 1, 2, 1)  # D is linked to no more


@pytest.mark.parametrize(
    ("url", "start", "inside"),
    [
        ("https://e.org/a/b", "https://e.org/a/", True),
        ("https://e.org/a/b", "https://e.org/a/index.html", True),
        ("https://e.org/ab", "https://e.org/a/", False),
        ("http://e.org/a/b", "https://e.org/a/", False),
        ("https://e.org:444/a/b", "https://e.org/a/", False),
        ("https://e.org.evil/a/b", "https://e.org/a/", False),
        ("http://[", "https://e.org/a/", False),
    ],
)
def test_what_belongs_to_a_site(url, start, inside):
    assert sites.within(url, start) is inside


# ---------------------------------------------------------------------------------------------------- the command


def command(data: Path, *words: str) -> int:
    """The exit status of `antiphon index WORDS`."""
    with pytest.raises(SystemExit) as exit:
        cli.main(["index", *words, "--data", str(data)])
    return int(exit.value.code or 0)


def test_the_command_fills_lists_refreshes_and_empties_the_index(tmp_path, capsys):
    root, data = tree(tmp_path / "handbook"), tmp_path / "data"
    assert command(data, "list") == 0
    assert command(data, "add", str(root)) == 0
    assert "3 added, 0 changed" in capsys.readouterr().out
    assert run(local(data / "search.db", "wax melts"))[0].url == "file:handbook/wax.html"
    (root / "wax.html").unlink()
    assert command(data, "refresh") == 0
    assert "0 added, 0 changed, 2 unchanged, 1 removed, 0 not read" in capsys.readouterr().out
    assert command(data, "list") == 0
    assert f"2 documents  {root}" in capsys.readouterr().out
    assert command(data, "remove", str(root)) == 0
    assert "removed 2 documents" in capsys.readouterr().out
    assert sources.load(data) == []


def test_the_command_takes_a_site(tmp_path, capsys):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/docs/" else 404)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(
                b"<title>Wax</title><body><article><p>Wax melts at 64 degrees, and not before.</p></article>"
            )

        def log_message(self, format: str, *words: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/docs/"
        assert command(tmp_path, "add", url) == 0
        server.shutdown()
    assert f"{url}: 1 added" in capsys.readouterr().out
    assert [(hit.title, hit.url) for hit in run(local(tmp_path / "search.db", "wax"))] == [("Wax", url)]
    assert command(tmp_path, "refresh", url) == 1  # it is gone: what was found there stays
    assert run(local(tmp_path / "search.db", "wax")) != []


def test_a_command_that_cannot_be_carried_out_says_why(tmp_path, capsys):
    assert command(tmp_path, "add") == 1
    assert command(tmp_path, "remove", "nowhere") == 1
    assert command(tmp_path, "add", str(tmp_path / "nowhere")) == 1
    assert "is not there" in capsys.readouterr().err
    assert sources.load(tmp_path) == []
    (tmp_path / sources.FILE).write_text("{")
    assert command(tmp_path, "list") == 1
    assert "is broken" in capsys.readouterr().err
