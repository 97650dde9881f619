"""file_search: looks in the documents of file search stores and shows the pieces that fit, numbered, to be cited.

The steps are the API's: `file_search_call`, which has no room for the query (it travels in the signature), and
`file_search_result`. The service leaves that one empty; here it has the pieces, so that a client can show them.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from antiphon import wire
from antiphon.library import Hit, Library
from antiphon.ports import Outcome, Passage, Use

DEFAULT_TOP_K = 8
MOST_TOP_K = 50
MOST_STORES = 20
_LONGEST_QUERY = 1000
_OVERHEAD = 40  # characters that a passage's number and line ends add, at most
_LEAST = 200  # characters; of a passage that is shown at all
_CUT = " […]"
_END = re.compile(r"[.!?…。！？]['\"”’)\]]*(?=\s)|\n")
_FUNCTION = wire.Function(
    name="file_search",
    description=(
        "Search the user's own documents. Use it for every question that they may answer. Call it again with other "
        "words if the answer is not in the results. The results are numbered: cite them as [1] or [2] behind the "
        "words they support."
    ),
    parameters={
        "type": "object",
        "properties": {
            "query": {"type": "string", "description": "What to look for: the question's key words, or the question."}
        },
        "required": ["query"],
    },
)


class _Asked(msgspec.Struct):
    """What a call's signature carries."""

    query: str


class FileSearch:
    """The tool, over one `library`. A search ends after `seconds`."""

    type = "file_search"
    rerunnable = True

    def __init__(self, source: str = "", *, library: Library, seconds: float = 30.0) -> None:
        if source:
            raise ValueError(f"file_search takes its library, not '{source}'")
        self._library = library
        self._seconds = seconds

    async def check(self, declared: wire.Tool, project: str, path: str) -> None:
        """Refuse stores that are not there, filters that cannot be read and too many results."""
        assert isinstance(declared, wire.FileSearch)
        names = declared.file_search_store_names or []
        if not 1 <= len(names) <= MOST_STORES:
            raise wire.InvalidRequest(
                f"'{path}.file_search_store_names' needs 1 to {MOST_STORES} names of stores; it has {len(names)}."
            )
        for place, name in enumerate(names):
            try:
                await self._library.check_store(project, name)
            except wire.ApiError as error:
                raise type(error)(f"{error.message} (at '{path}.file_search_store_names[{place}]')") from None
        if declared.top_k is not None and not 1 <= declared.top_k <= MOST_TOP_K:
            raise wire.InvalidRequest(f"'{path}.top_k' is a number from 1 to {MOST_TOP_K}, not {declared.top_k}.")
        if declared.metadata_filter:
            try:
                self._library.check_filter(declared.metadata_filter)
            except wire.InvalidRequest as error:
                raise wire.InvalidRequest(f"{error.message} (at '{path}.metadata_filter')") from None

    async def open(self, use: Use) -> FileSearchSession:
        """Begin to use it."""
        assert isinstance(use.declared, wire.FileSearch)
        return FileSearchSession(self._library, use.declared, use.project, use.room, self._seconds)

    async def aclose(self) -> None:
        """The library is its owner's to close."""


class FileSearchSession:
    """One function, named like the tool."""

    functions = (_FUNCTION,)
    instructions = ""

    def __init__(self, library: Library, declared: wire.FileSearch, project: str, room: int, seconds: float) -> None:
        self._library = library
        self._declared = declared
        self._project = project
        self._room = room
        self._seconds = seconds

    def call(self, id: str, name: str, arguments: Mapping[str, Any]) -> wire.FileSearchCallStep:
        """The call's step, with the query in its signature; one that is no text is left out."""
        given = arguments.get("query", arguments.get("queries"))
        texts = [given] if isinstance(given, str) else given if isinstance(given, list | tuple) else []
        query = " ".join(" ".join(text.split()) for text in texts if isinstance(text, str))[:_LONGEST_QUERY]
        return wire.FileSearchCallStep(id=id, signature=msgspec.json.encode(_Asked(query)).decode())

    def owns(self, call: wire.ToolCallStep) -> bool:
        """Every call of this type."""
        return True

    async def run(self, call: wire.ToolCallStep) -> Outcome:
        """Search, and show what fits into the room."""
        assert isinstance(call, wire.FileSearchCallStep)
        query = _query(call)
        if not query:
            return _failed(call.id, "No query was given: `query` is a text.")
        try:
            async with asyncio.timeout(self._seconds):
                hits = await self._library.search(
                    self._project,
                    self._declared.file_search_store_names or [],
                    query,
                    self._declared.top_k or DEFAULT_TOP_K,
                    self._declared.metadata_filter,
                )
        except wire.ApiError as error:
            return _failed(call.id, f"The search failed: {error.message}")
        except TimeoutError:
            return _failed(call.id, f"The search found no end within {self._seconds:g} seconds.")
        reading = f"Found in the documents for “{query}”:" if hits else f"Nothing in the documents fits “{query}”."
        step = wire.FileSearchResultStep(call_id=call.id, result=[_item(hit) for hit in hits], is_error=False)
        return Outcome(step=step, reading=reading, passages=_passages(hits, self._room - len(reading)))

    async def aclose(self) -> None:
        """Nothing to do."""


def _query(call: wire.FileSearchCallStep) -> str:
    try:
        return msgspec.json.decode(call.signature or "", type=_Asked).query
    except msgspec.MsgspecError:
        return ""


def _failed(id: str, why: str) -> Outcome:
    return Outcome(step=wire.FileSearchResultStep(call_id=id, result=[], is_error=True), reading=why)


def _item(hit: Hit) -> dict[str, Any]:
    """A piece as clients see it. The fields of a citation, and the text and the score of the search."""
    store = hit.url.partition("/documents/")[0]
    fields: dict[str, Any] = {
        "text": hit.text,
        "title": hit.title,
        "file_name": hit.title,
        "document_uri": hit.url,
        "file_search_store": store,
        "page_number": hit.page,
        "score": round(hit.score, 5),
        "custom_metadata": dict(hit.metadata) or None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _passages(hits: Sequence[Hit], room: int) -> tuple[Passage, ...]:
    """What the model reads: the best pieces, as many as there is sensible room for, the longest cut first."""
    shown = list(hits)
    while shown and room - _heads(shown) < _LEAST * len(shown):
        shown.pop()
    share = _share([len(hit.text) for hit in shown], room - _heads(shown))
    return tuple(Passage(_cut(hit.text, share), _citation(hit)) for hit in shown)


def _heads(hits: Sequence[Hit]) -> int:
    return sum(len(hit.title) + len(hit.url) + _OVERHEAD for hit in hits)


def _share(lengths: Sequence[int], room: int) -> int:
    """The most that each may have so that all fit: short ones leave theirs to long ones."""
    left, share = room, 0
    for place, length in enumerate(sorted(lengths)):
        share = left // (len(lengths) - place)
        if length > share:
            return share
        left -= length
    return max(lengths, default=0)


def _cut(text: str, most: int) -> str:
    """The beginning of a text, up to the end of a sentence or a line."""
    if len(text) <= most:
        return text
    kept = text[: most - len(_CUT)]
    ends = [found.end() for found in _END.finditer(kept)]
    return kept[: ends[-1] if ends and ends[-1] > most // 2 else len(kept)].rstrip() + _CUT


def _citation(hit: Hit) -> wire.FileCitation:
    return wire.FileCitation(
        file_name=hit.title,
        document_uri=hit.url,
        source=hit.url.partition("/documents/")[0],
        page_number=hit.page,
        custom_metadata=dict(hit.metadata) or None,
    )
