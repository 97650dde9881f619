"""The Voices API: who can speak here. Voices are the operator's to install, so they are read only."""

from __future__ import annotations

import json
from hashlib import sha256

from starlette.requests import Request
from starlette.responses import Response

from antiphon import wire
from antiphon.ports import Speak, Voice
from antiphon.server import rest
from antiphon.server.rest import Handler
from antiphon.wire import voices as types

_MOST, _USUAL = 1000, 50  # voices of a page
_LONGEST = 2048  # bytes of a search
_ONE_OF = ("accent", "context", "gender", "language_code", "persona", "pitch", "region_code", "type")


def table(speak: Speak | None) -> list[tuple[str, str, Handler]]:
    """The routes, in the order in which they are tried; without speech there are no voices."""
    routes = Routes(speak)
    return [
        ("GET", "/voices", routes.page),
        ("POST", "/voices", routes.create),
        ("GET", "/voices/{id:path}", routes.get),
        ("DELETE", "/voices/{id:path}", routes.delete),
    ]


class Routes:
    """One method a route."""

    def __init__(self, speak: Speak | None) -> None:
        self._speak = speak

    async def page(self, request: Request) -> Response:
        """GET /voices: those of this machine, then the service's names for them."""
        asked = {name: {value.casefold() for value in request.query_params.getlist(name)} for name in _ONE_OF}
        asked = {name: values for name, values in asked.items() if values}
        query = rest.query(request, *map(_camel, _ONE_OF), "pageSize", "pageToken", "search")
        search = query.get("search", "")
        if len(search.encode()) > _LONGEST:
            raise wire.InvalidRequest(f"'search' is longer than {_LONGEST} bytes.")
        size = min(rest.count(query.get("pageSize") or str(_USUAL), 10**9), _MOST)
        found = [voice for voice in await self._all() if _matches(voice, asked, search.casefold())]
        # The token is of these filters: with others it would lead nowhere.
        mark = _mark(asked, search)
        start = _start(rest.after(query), mark)
        more = rest.token_after(f"{mark}:{start + size}") if len(found) > start + size else None
        return rest.answer(types.VoiceList(voices=found[start : start + size] or None, next_page_token=more))

    async def get(self, request: Request) -> Response:
        """GET /voices/{id}."""
        rest.query(request)
        return rest.answer(await self._one(request.path_params["id"]))

    async def create(self, request: Request) -> Response:
        """POST /voices: refused."""
        rest.query(request)
        await rest.plain_body(request, types.CreateVoice, 64 * 2**20)
        raise wire.InvalidRequest(
            "Voices cannot be made here, neither from a prompt nor from a recording: whoever runs this server installs them."
        )

    async def delete(self, request: Request) -> Response:
        """DELETE /voices/{id}: refused."""
        rest.query(request)
        voice = await self._one(request.path_params["id"])
        raise wire.InvalidRequest(f"The voice '{voice.id}' is prebuilt and cannot be deleted.")

    async def _all(self) -> list[types.VoiceResource]:
        return [_resource(voice) for voice in await self._speak.voices()] if self._speak is not None else []

    async def _one(self, id: str) -> types.VoiceResource:
        name = id.removeprefix("voices/").casefold()
        for voice in await self._all():
            if (voice.id or "").casefold() == name:
                return voice
        raise wire.NotFound(f"There is no voice '{id[:100]}'.")


def _resource(voice: Voice) -> types.VoiceResource:
    _, _, region = voice.language_code.partition("-")
    return types.VoiceResource(
        type="prebuilt",
        id=voice.id,
        display_name=voice.display_name or voice.id,
        description=voice.description or None,
        language_code=voice.language_code or None,
        region_code=region or None,
        gender=voice.gender or None,
    )


def _matches(voice: types.VoiceResource, asked: dict[str, set[str]], search: str) -> bool:
    if search and search not in f"{voice.display_name}\n{voice.description}".casefold():
        return False
    return all((getattr(voice, name) or "").casefold() in values for name, values in asked.items())


def _mark(asked: dict[str, set[str]], search: str) -> str:
    said = json.dumps([sorted((name, sorted(values)) for name, values in asked.items()), search])
    return sha256(said.encode()).hexdigest()[:12]


def _start(after: str, mark: str) -> int:
    if not after:
        return 0
    given, _, start = after.partition(":")
    if given != mark or not start.isdigit():
        raise wire.InvalidRequest("'page_token' is of a list with other filters.")
    return int(start[:9])


def _camel(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(word.capitalize() for word in others)
