"""Ways to answer a question, all of them through the server and the official client: three plain ones, and the agents.

`bare` asks the model. `search` does what a small program would: it searches once with the question's words, puts what
was found into one prompt, and asks. `react` gives the model google_search and url_context; it must call one of them
first, and then goes on by itself.
`deep-research` and `deep-research-max` are the agents, `agent:NAME` is any other, such as one with a part left out. All
are asked for a last line with the answer alone.
"""

from __future__ import annotations

import base64
import json
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from google import genai

from antiphon import wire
from antiphon.citations import cite
from antiphon.ports import Passage
from antiphon.search.local import FILE, Local
from bench.research.questions import Question
from bench.research.score import Answer, Cited

LAST_LINE = "End with one line that begins with 'Answer:' and gives the answer itself, as briefly as possible."
REACT = (
    "Search the documentation with google_search before you answer, several times if need be, and read pages with "
    "url_context. Answer only from what you have read there, and cite it."
)
MODEL = "gemini-3-flash-preview"  # any name: the server's default model answers to it
AGENTS = {
    "deep-research": "deep-research-preview-04-2026",
    "deep-research-max": "deep-research-max-preview-04-2026",
}
WAYS = ("bare", "search", "react", *AGENTS)
TERMINAL = {"completed", "failed", "cancelled", "incomplete", "requires_action", "budget_exceeded"}
CONFIG = {"temperature": 0, "seed": 1, "max_output_tokens": 512}
RESULTS, MOST_OF_A_PAGE = 8, 1000
POLL = 0.5

Json = dict[str, Any]


class NotServed(Exception):
    """The server does not know this way (yet)."""


class Asker:
    """Asks one server; `data` is its data directory, `room` how many characters of search results a prompt may have."""

    def __init__(self, url: str, data: Path, model: str, *, room: int, limit: float) -> None:
        self._client = genai.Client(
            api_key="any", http_options={"base_url": url, "timeout": int(limit * 1000) + 60_000}
        )
        self._search = Local(path=data / FILE)
        self._model, self._room, self._limit = model, room, limit

    async def ask(self, question: Question, way: str) -> Answer:
        """Ask one question in one way. Raises NotServed."""
        prompt = f"{question.ask}\n\n{LAST_LINE}"
        answer = Answer(question.id, way, self._model, "")
        passages: list[Passage] = []
        began = time.perf_counter()
        request: Json = {"model": MODEL, "input": prompt, "generation_config": CONFIG}
        if way == "search":
            passages = await self._found(question.ask)
            request["input"] = stuffed(prompt, passages)
            answer.read, answer.searches = [_url(passage) for passage in passages], 1
        elif way == "react":
            tools = [{"type": "google_search"}, {"type": "url_context"}]
            # Small models answer at once, from nothing: the first call is asked of them, what follows is their own choice.
            config = {**CONFIG, "tool_choice": "any"}
            request |= {"tools": tools, "background": True, "generation_config": config}
            request["input"] = f"{REACT}\n\nQuestion: {prompt}"
        elif way != "bare":
            request = {"agent": AGENTS.get(way) or way.removeprefix("agent:"), "input": prompt, "background": True}
        self._fill(answer, request)
        answer.seconds = round(time.perf_counter() - began, 1)
        if passages:  # as the server does it for its own tools
            answer.cited = [
                Cited(found.start_index or 0, found.end_index or 0, found.url or "")
                for found in cite(answer.text, passages)
                if isinstance(found, wire.UrlCitation)
            ]
        return answer

    async def aclose(self) -> None:
        await self._search.aclose()

    async def _found(self, query: str) -> list[Passage]:
        """The best hits, each with so much of its text, until the room is used up."""
        passages: list[Passage] = []
        room = self._room
        for hit in await self._search.search(query, RESULTS):
            text = hit.text[: min(MOST_OF_A_PAGE, room)]
            room -= len(text)
            if text:
                passages.append(Passage(text, wire.UrlCitation(url=hit.url, title=hit.title)))
        return passages

    def _fill(self, answer: Answer, request: Json) -> None:
        """Send the request, wait for its end, and read what came of it."""
        try:
            made: Any = self._client.interactions.create(**request)
            shown: Json = made.model_dump(mode="json", exclude_none=True)
            shown = self._waited(shown) if request.get("background") else shown
        except Exception as error:  # noqa: BLE001 - the client has its own tree of errors for each way to fail
            if request.get("agent") and getattr(error, "code", getattr(error, "status_code", 0)) in (400, 404, 501):
                raise NotServed(str(error)[:300]) from None
            answer.status, answer.error = "failed", str(error)[:300]
            return
        answer.status = shown.get("status", "")
        answer.error = str(shown.get("error") or "")[:300]
        answer.tokens = (shown.get("usage") or {}).get("total_tokens") or 0
        take_in(shown.get("steps") or [], answer)

    def _waited(self, shown: Json) -> Json:
        """Poll until it has ended; cancel it when its time is up, and take what is there."""
        ends = time.perf_counter() + self._limit
        while shown["status"] not in TERMINAL:
            if time.perf_counter() > ends:
                self._client.interactions.cancel(shown["id"])
                ends = float("inf")
            time.sleep(POLL)
            got: Any = self._client.interactions.get(shown["id"])
            shown = got.model_dump(mode="json", exclude_none=True)
        return shown


def stuffed(prompt: str, passages: list[Passage]) -> str:
    """One prompt with all that one search found."""
    parts = [
        f"[{number}] {passage.citation.title}\n{passage.text}"
        for number, passage in enumerate(passages, 1)
        if isinstance(passage.citation, wire.UrlCitation)
    ]
    found = "\n\n".join(parts)
    return (
        f"Answer the question from these search results. Cite them by their numbers, as in [1].\n\n{found}\n\n"
        f"Question: {prompt}"
    )


def _url(passage: Passage) -> str:
    return passage.citation.url or "" if isinstance(passage.citation, wire.UrlCitation) else ""


# ---------------------------------------------------------------------------------------------------- reading steps


def take_in(steps: list[Json], answer: Answer) -> None:
    """Text, citations, what was retrieved and how often was searched, from an interaction's steps."""
    texts: list[str] = []
    length = 0
    for step in steps:
        reader = _STEPS.get(step.get("type", ""))
        if reader is not None:
            reader(step, answer)
        for content in step.get("content") or () if step.get("type") == "model_output" else ():
            text = content.get("text") or ""
            for note in content.get("annotations") or ():
                if note.get("url"):
                    start, end = note.get("start_index") or 0, note.get("end_index") or 0
                    answer.cited.append(Cited(length + start, length + end, note["url"]))
            texts.append(text)
            length += len(text.encode("utf-8", "surrogatepass"))
    answer.text = "".join(texts)
    answer.read = list(dict.fromkeys(answer.read))


def _search_call(step: Json, answer: Answer) -> None:
    answer.searches += len((step.get("arguments") or {}).get("queries") or ())


def _search_result(step: Json, answer: Answer) -> None:
    answer.read += [item["url"] for item in step.get("result") or () if item.get("url")]


def _read_result(step: Json, answer: Answer) -> None:
    answer.read += [item["url"] for item in step.get("result") or () if item.get("status") == "success"]


def _stage(step: Json, answer: Answer) -> None:
    """An agent's thought: what it found out is sealed in its signature, which hides nothing (`antiphon.signature`)."""
    try:
        stage = json.loads(zlib.decompress(base64.b64decode(step.get("signature") or "")[17:]))
        result = json.loads(stage["result"])
    except (ValueError, zlib.error, KeyError, TypeError):
        return
    for looked in _looked(result):
        reads = looked.get("read") or ()
        answer.read += [read["place"] for read in reads if read.get("status", "success") == "success"]
        answer.searches += sum(not asked.startswith(("http:", "https:")) for asked in looked.get("asked") or ())


def _looked(value: Any) -> Iterator[Json]:
    """Every record of a look at sources (`agents/research_state.py`, `Looked`) in a stage's result."""
    if isinstance(value, dict):
        if "asked" in value or any("place" in read for read in value.get("read") or () if isinstance(read, dict)):
            yield value
            return
        for inner in value.values():
            yield from _looked(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _looked(inner)


_STEPS: Mapping[str, Callable[[Json, Answer], None]] = {
    "google_search_call": _search_call,
    "google_search_result": _search_result,
    "url_context_result": _read_result,
    "thought": _stage,
}
