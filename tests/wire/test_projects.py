"""One project's things are nobody else's: every route is asked for them with another project's key.

The routes are those of the running application. A new one fails here until a row below says what it is.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route, Router

from antiphon import app
from antiphon.settings import ModelSetting, Settings
from serving import PATIENCE, Answer, Server, ServerFactory

ALPHA, BETA = "the-only-key-of-alpha", "the-only-key-of-beta"
ADMIN = "the-key-of-the-operator"
SCRIPT = """
[[turns]]
when = "for ever"
text = "Well, "
fault = { kind = "stall", after = 1 }
"""
RAW = {"x-goog-upload-protocol": "raw"}
STORE = "/fileSearchStores/{store}"

# What each route is. These say nothing of any project:
OPEN = {
    "GET /models",
    "GET /models/{name}",
    "GET /openapi.json",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /.well-known/jwks.json",
    "GET /voices",
    "GET /voices/{id}",
    "POST /voices",
    "DELETE /voices/{id}",
}
# These list what the caller's project has:
LISTS = {"GET /interactions", "GET /files", "GET /fileSearchStores", "GET /webhooks", "GET /triggers"}
# These make something in the caller's project; what they may name of others' is looked at one by one below:
MAKE = {
    "POST /interactions",
    "POST /interactions:import",
    "POST /fileSearchStores",
    "POST /upload/files",
    "PUT /upload/files",
    "POST /webhooks",
    "POST /triggers",
    "POST /decisions",  # makes nothing that stays, and names nothing of anybody's
}
# These need the admin key, and no project (see test_keys.py):
OPERATORS = {"POST /admin/keys", "GET /admin/keys", "GET /admin/keys/{id}", "DELETE /admin/keys/{id}"}
# These are about one thing of a project: what is sent along. Those that take it away come last.
ABOUT_ONE: dict[str, Any] = {
    "GET /interactions/{id}": None,
    "GET /interactions/{id}?stream=true": None,
    "GET /interactions/{id}?stream=true&last_event_id=evt_1": None,
    "GET /interactions/{id}/export": None,
    "POST /interactions/{id}:cancel": {},
    "POST /interactions/{id}/cancel": {},
    "GET /files/{id}": None,
    "GET /files/{id}:download?alt=media": None,
    "GET /files/http{id}": None,
    "GET /files/http{id}:download?alt=media": None,
    f"GET {STORE}": None,
    f"GET {STORE}/documents": None,
    f"GET {STORE}/documents/{{document}}": None,
    f"GET {STORE}/documents/{{document}}:download?alt=media": None,
    f"GET {STORE}/operations/{{operation}}": None,
    f"GET {STORE}/upload/operations/{{operation}}": None,
    f"POST {STORE}:importFile": {"fileName": "files/FILE"},
    f"POST /upload{STORE}:uploadToFileSearchStore": b"of beta",
    f"PUT /upload{STORE}:uploadToFileSearchStore": b"of beta",
    "GET /webhooks/{id}": None,
    "PATCH /webhooks/{id}": {"state": "disabled"},
    "POST /webhooks/{id}:ping": {},
    "POST /webhooks/{id}:rotateSigningSecret": {},
    "POST /webhooks/{id}/rotate_secret": {},
    "GET /triggers/{id}": None,
    "PATCH /triggers/{id}": {"status": "paused"},
    "GET /triggers/{id}/executions": None,
    "POST /triggers/{id}/executions": {},
    "DELETE /interactions/{id}": None,
    "DELETE /files/http{id}": None,
    "DELETE /files/{id}": None,
    f"DELETE {STORE}/documents/{{document}}?force=true": None,
    f"DELETE {STORE}?force=true": None,
    "DELETE /webhooks/{id}": None,
    "DELETE /triggers/{id}": None,
}


def routes_of(application: object) -> set[str]:
    """Every route of every router that an application is made of."""
    found: set[str] = set()
    seen: set[int] = set()
    left = deque([application])
    while left:
        thing = left.popleft()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        if isinstance(thing, Router):
            routes = [route for route in thing.routes if isinstance(route, Route)]
            assert len(routes) == len(thing.routes), "a kind of route that is not looked into here"
            for route in routes:
                path = route.path.replace(":path}", "}")
                found |= {f"{method} {path}" for method in (route.methods or set()) - {"HEAD"}}
        elif type(thing).__module__.startswith("antiphon."):
            left.extend(value for value in vars(thing).values() if hasattr(value, "__dict__"))
    return found


@pytest.fixture(scope="module")
def routes() -> set[str]:
    """Those of the application as a server runs it."""

    async def inside() -> set[str]:
        chosen = Settings(models=(ModelSetting("scripted", "scripted", ""),), admin_key=ADMIN, embedder="none")
        async with app.running(chosen) as application:
            return routes_of(application)

    return asyncio.run(inside())


def test_every_route_is_looked_at(routes: set[str]) -> None:
    about_one = {route.partition("?")[0] for route in ABOUT_ONE}
    known = OPEN | LISTS | MAKE | OPERATORS | about_one
    assert len(routes) > 40, "the routes were not found"
    assert routes - known == set(), "say in this file what another project may see of these"


@pytest.fixture(scope="module")
def server(session_server: ServerFactory) -> Server:
    keys = ("--api-key", f"alpha:{ALPHA}", "--api-key", f"beta:{BETA}")
    return session_server(SCRIPT, *keys, ANTIPHON_ADMIN_KEY=ADMIN)


def ask(server: Server, route: str, key: str, body: Any = None, headers: dict[str, str] | None = None) -> Answer:
    method, path = route.split(" ", 1)
    path = path.replace("/upload/", "/upload/v1beta/", 1) if path.startswith("/upload/") else f"/v1beta{path}"
    return server.request(method, path, body, {"x-goog-api-key": key, **(headers or {})})


def got(server: Server, route: str, key: str, body: Any = None, headers: dict[str, str] | None = None) -> Any:
    answer = ask(server, route, key, body, headers)
    assert answer.status == 200, (route, answer.body)
    return answer.json()


@pytest.fixture(scope="module")
def of_alpha(server: Server, routes: set[str]) -> dict[str, dict[str, str]]:
    """One of everything of alpha's: what stands in a path for each parameter, by the path's first word."""
    asked = {"model": "scripted", "input": "for ever", "background": True, "labels": {"whose": "alphas"}}
    interaction = got(server, "POST /interactions", ALPHA, asked)["id"]
    file = got(server, "POST /upload/files", ALPHA, b"of alpha", RAW | {"content-type": "text/plain"})["file"]["name"]
    store = got(server, "POST /fileSearchStores", ALPHA, {})["name"]
    uploading = got(server, f"POST /upload/{store}:uploadToFileSearchStore", ALPHA, b"of alpha", RAW)
    importing = got(server, f"POST /{store}:importFile", ALPHA, {"fileName": file})
    done = finished(server, uploading)
    finished(server, importing)
    found = {
        "interactions": {"id": interaction},
        "files": {"id": last(file)},
        "fileSearchStores": {
            "store": last(store),
            "document": last(done["response"]["documentName"]),
            "operation": last(importing["name"]),
        },
        "upload operation": {"operation": last(uploading["name"])},
    }
    if "POST /webhooks" in routes:
        hook = {"uri": "https://example.org/hook", "subscribed_events": ["interaction.completed"]}
        found["webhooks"] = {"id": last(got(server, "POST /webhooks", ALPHA, hook)["id"])}
    if "POST /triggers" in routes:
        asked = {"interaction": {"model": "scripted", "input": "x"}, "schedule": "0 0 1 1 *", "time_zone": "UTC"}
        found["triggers"] = {"id": last(got(server, "POST /triggers", ALPHA, asked)["id"])}
    return found


def last(name: str) -> str:
    return name.rpartition("/")[2]


def finished(server: Server, operation: Any) -> Any:
    for _ in range(int(PATIENCE * 100)):
        if operation.get("done"):
            return operation
        operation = got(server, f"GET /{operation['name']}", ALPHA)
    pytest.fail("the operation does not end")


def filled(route: str, of_alpha: dict[str, dict[str, str]]) -> str:
    """The route with alpha's ids in it."""
    words = route.split("/")
    names = of_alpha[words[2] if words[1] == "upload" else words[1].partition("?")[0]]
    if "/upload/operations/" in route:
        names = names | of_alpha["upload operation"]
    if "http{id}" in route:  # a whole address, as clients put it in the place of an id
        route = route.replace("http{id}", "http:%2F%2Fhere%2Fv1beta%2Ffiles%2F{id}")
    for name, value in names.items():
        route = route.replace(f"{{{name}}}", value)
    assert "{" not in route
    return route


@pytest.fixture(scope="module")
def sent(of_alpha: dict[str, dict[str, str]]) -> Iterator[Any]:
    """What a route is sent, with a file's name in it that exists."""

    def of(route: str) -> Any:
        body = ABOUT_ONE[route]
        if not isinstance(body, dict):
            return body
        return json.loads(json.dumps(body).replace("FILE", of_alpha["files"]["id"]))

    yield of


@pytest.mark.parametrize("route", ABOUT_ONE)
def test_what_is_anothers_is_not_there(
    server: Server, routes: set[str], of_alpha: dict[str, dict[str, str]], sent: Any, route: str
) -> None:
    if route.partition("?")[0] not in routes:
        pytest.skip("there is no such route yet")
    path, body = filled(route, of_alpha), sent(route)
    headers = RAW if "/upload/" in path and isinstance(body, bytes) else None
    before = state(server, of_alpha)
    foreign = ask(server, path, BETA, body, headers)
    made_up = path
    for names in of_alpha.values():
        for value in names.values():
            made_up = made_up.replace(value, "z" * len(value))
    nothing = ask(server, made_up, BETA, body, headers)
    assert foreign.status == nothing.status == 404, foreign.body
    assert bare(foreign.body, of_alpha) == bare(nothing.body, of_alpha), "not even that it exists is said"
    assert state(server, of_alpha) == before


def bare(body: bytes, of_alpha: dict[str, dict[str, str]]) -> bytes:
    """An answer without the ids that it was asked for."""
    for names in of_alpha.values():
        for value in names.values():
            body = body.replace(value.encode(), b"?")
    return re.sub(b"zzzz+", b"?", body)


def state(server: Server, of_alpha: dict[str, dict[str, str]]) -> dict[str, Any]:
    """All that alpha has, as alpha sees it."""
    paths = [f"GET /{kind}/{names['id']}" for kind, names in of_alpha.items() if "id" in names]
    store = f"GET /fileSearchStores/{of_alpha['fileSearchStores']['store']}"
    return {path: got(server, path, ALPHA) for path in [*paths, store, f"{store}/documents"]}


@pytest.mark.parametrize("route", sorted(LISTS))
def test_what_is_anothers_is_in_no_list(
    server: Server, routes: set[str], of_alpha: dict[str, dict[str, str]], route: str
) -> None:
    if route not in routes:
        pytest.skip("there is no such route yet")
    mine = ask(server, f"{route}?pageSize=100", ALPHA).body.decode()
    foreign = ask(server, f"{route}?pageSize=100", BETA)
    assert foreign.status == 200
    names = of_alpha[route.partition("/")[2]]
    assert names.get("id", names.get("store", "")) in mine
    for each in of_alpha.values():
        assert not any(value in foreign.body.decode() for value in each.values())


def test_nothing_of_anothers_can_be_named_in_a_request(server: Server, of_alpha: dict[str, dict[str, str]]) -> None:
    interaction, file = of_alpha["interactions"]["id"], of_alpha["files"]["id"]
    store = of_alpha["fileSearchStores"]["store"]
    chained = {"model": "scripted", "input": "x", "previous_interaction_id": interaction}
    answer = ask(server, "POST /interactions", BETA, chained)
    assert answer.status == 404 and "alpha" not in answer.body.decode()
    searched = {"type": "file_search", "file_search_store_names": [f"fileSearchStores/{store}"]}
    answer = ask(server, "POST /interactions", BETA, {"model": "scripted", "input": "x", "tools": [searched]})
    assert answer.status == 404, answer.body
    shown = [{"type": "document", "uri": f"files/{file}", "mime_type": "text/csv"}]
    mine = ask(server, "POST /interactions", ALPHA, {"model": "scripted", "input": shown})
    answer = ask(server, "POST /interactions", BETA, {"model": "scripted", "input": shown})
    assert mine.status == 200 and answer.status == 400 and "of alpha" not in answer.body.decode(), answer.body
    own = got(server, "POST /fileSearchStores", BETA, {})["name"]
    assert ask(server, f"POST /{own}:importFile", BETA, {"fileName": f"files/{file}"}).status == 404
    for route, names in (
        (f"GET /{own}/documents/{{document}}", "fileSearchStores"),
        (f"GET /{own}/operations/{{operation}}", "fileSearchStores"),
    ):
        path = route
        for name, value in of_alpha[names].items():
            path = path.replace(f"{{{name}}}", value)
        assert ask(server, path, BETA).status == 404


def test_the_same_request_of_two_projects_makes_two_interactions(server: Server) -> None:
    body = {"model": "scripted", "input": "the very same"}
    headers = {"idempotency-key": "the-very-same"}
    made = {got(server, "POST /interactions", key, body, headers)["id"] for key in (ALPHA, BETA)}
    assert len(made) == 2


def test_a_conversation_of_anothers_cannot_be_overwritten_by_an_import(server: Server) -> None:
    made = got(server, "POST /interactions", ALPHA, {"model": "scripted", "input": "x"})["id"]
    lines = ask(server, f"GET /interactions/{made}/export", ALPHA).body
    before = got(server, f"GET /interactions/{made}", ALPHA)
    assert ask(server, "POST /interactions:import", BETA, lines).status == 409
    assert ask(server, f"GET /interactions/{made}", BETA).status == 404
    assert got(server, f"GET /interactions/{made}", ALPHA) == before


@pytest.mark.parametrize("route", sorted(OPEN))
def test_what_is_open_says_nothing_of_a_project(
    server: Server, routes: set[str], of_alpha: dict[str, dict[str, str]], route: str
) -> None:
    if route not in routes:
        pytest.skip("there is no such route yet")
    said = ask(server, route.replace("{name}", "scripted"), BETA).body.decode()
    for names in of_alpha.values():
        assert not any(value in said for value in names.values())


def test_files_are_kept_apart_on_the_disk_too(server: Server, tmp_path: Path) -> None:
    """The same bytes of two projects are one file on the disk: deleting one project's takes nothing from the other."""
    headers = RAW | {"content-type": "text/plain"}
    names = {
        key: got(server, "POST /upload/files", key, b"the same bytes", headers)["file"]["name"] for key in (ALPHA, BETA)
    }
    assert ask(server, f"DELETE /{names[ALPHA]}", ALPHA).status == 200
    assert ask(server, f"GET /{names[BETA]}:download?alt=media", BETA).body == b"the same bytes"
