"""The answer half of the chat-completions dialect: what a server streams becomes the engine's deltas.

Pure: bytes in, deltas out. `Chunks` reads one answer; `answer` asks, checks the calls that come back, and asks again
under a grammar where a call is missing or breaks its schema, so that no call leaves that does not fit its function.
`failure` turns a server's error into ours.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import aclosing
from typing import Any, Literal

import msgspec
from msgspec import structs

from antiphon import schemas, wire
from antiphon.chat import Body, Dialect, ThoughtText, offered, request, shape
from antiphon.ports import Call, Delta, Finish, Text, Thought, Tokens, ToolChoice, Turn
from antiphon.toolforms import CallReader, FoundCall

Written = Callable[[Turn, Dialect], Body]
Ask = Callable[[Body, Collection[str]], AsyncGenerator[Delta, None]]


class _Function(msgspec.Struct):
    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class _Call(msgspec.Struct):
    index: int | None = None
    id: str | None = None
    function: _Function | None = None


class _Said(msgspec.Struct):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    delta: _Said | None = None
    message: _Said | None = None
    finish_reason: str | None = None


class _Prompt(msgspec.Struct):
    cached_tokens: int | None = None


class _Completion(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: _Prompt | None = None
    completion_tokens_details: _Completion | None = None


class _Chunk(msgspec.Struct):
    choices: list[_Choice] = []
    usage: _Usage | None = None
    error: Any = None


_read_chunk = msgspec.json.Decoder(_Chunk).decode
_LENGTH = frozenset({"length", "max_tokens"})
_NOTHING = _Said()


class Chunks:
    """Reads one answer: `feed` each chunk of a stream, or `whole` for an answer in one piece, then `close`.

    `names` are the functions on offer: calls of them that the model writes as text are found, too.
    """

    def __init__(self, names: Collection[str] = (), *, calls_as_text: bool = True) -> None:
        self._reader = CallReader(names) if names and calls_as_text else None
        self._thinking = _Thinking()
        self._calls: dict[int, tuple[int, str | None]] = {}  # the server's index -> ours, and the call's id
        self._count = 0
        self._usage: _Usage | None = None
        self._reason: str | None = None
        self._thought = 0  # characters
        self._said = 0

    def feed(self, data: bytes) -> list[Delta]:
        """The deltas of one chunk. Raises ApiError for an error that the server sent inside the stream."""
        try:
            chunk = _read_chunk(data)
        except msgspec.DecodeError as error:
            raise wire.Unavailable(f"The model server sent what is no chat completion: {error}") from error
        if chunk.error is not None:
            raise failure(500, data, "the model server")
        if chunk.usage is not None:
            self._usage = chunk.usage
        if not chunk.choices:
            return []
        choice = chunk.choices[0]
        if choice.finish_reason is not None:
            self._reason = choice.finish_reason
        return self._deltas(choice.delta or choice.message or _NOTHING)

    def whole(self, data: bytes) -> list[Delta]:
        """All deltas of an answer that came in one piece, `Finish` last."""
        return [*self.feed(data), *self.close()]

    def close(self) -> list[Delta]:
        """What was kept back, and `Finish`. Raises Unavailable when the answer broke off."""
        if self._reason is None:
            raise wire.Unavailable("The model server's answer broke off before its end.")
        if self._reason == "content_filter":
            raise wire.InvalidRequest("The model server's filter blocked the answer.", code="content_blocked")
        if self._reason in ("abort", "error"):
            raise wire.Unavailable("The model server gave up on the answer.")
        deltas: list[Delta] = []
        for delta in self._thinking.close():
            deltas += self._find_calls(delta)
        if self._reader is not None:
            deltas += self._found(self._reader.close())
        deltas.append(Finish("length" if self._reason in _LENGTH else "stop", self._tokens()))
        return deltas

    def _deltas(self, said: _Said) -> list[Delta]:
        deltas: list[Delta] = []
        reasoning = said.reasoning_content or said.reasoning
        if reasoning:
            self._thought += len(reasoning)
            deltas.append(Thought(reasoning))
        if said.content:
            for delta in self._thinking.feed(said.content):
                deltas += self._find_calls(delta)
        for call in said.tool_calls or ():
            deltas.append(self._call(call))
        return deltas

    def _find_calls(self, delta: Text | Thought) -> list[Delta]:
        if isinstance(delta, Thought):
            self._thought += len(delta.text)
            return [delta]
        self._said += len(delta.text)
        return [delta] if self._reader is None else self._found(self._reader.feed(delta.text))

    def _found(self, parts: list[str | FoundCall]) -> list[Delta]:
        deltas: list[Delta] = []
        for part in parts:
            if isinstance(part, str):
                deltas.append(Text(part))
            else:
                deltas.append(Call(self._count, part.name, part.arguments))
                self._count += 1
        return deltas

    def _call(self, call: _Call) -> Delta:
        function = call.function or _Function()
        place = call.index if call.index is not None else -1 - self._count
        index, id = self._calls.get(place, (-1, None))
        # Some servers give every call the index 0: a new id is a new call all the same.
        if index < 0 or (call.id and id and call.id != id):
            index, self._count = self._count, self._count + 1
            self._calls[place] = (index, call.id)
            name = function.name or ""
        else:
            name = ""
        arguments = function.arguments or ""
        if not isinstance(arguments, str):
            arguments = msgspec.json.encode(arguments).decode()
        self._said += len(arguments)
        return Call(index, name, arguments)

    def _tokens(self) -> Tokens:
        usage = self._usage
        if usage is None:
            return Tokens()
        written = usage.completion_tokens or 0
        details = usage.completion_tokens_details
        thought = details.reasoning_tokens if details is not None else None
        if thought is None and self._thought:
            # Most local servers do not count reasoning by itself: an estimate, by its share of the characters.
            thought = round(written * self._thought / (self._thought + self._said))
        thought = min(thought or 0, written)
        cached = usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details is not None else 0
        return Tokens(usage.prompt_tokens or 0, written - thought, thought, cached or 0)


class _Thinking:
    """Splits `<think>…</think>` off the beginning of an answer, for servers that leave it in the text."""

    _OPEN, _CLOSE = "<think>", "</think>"

    def __init__(self) -> None:
        self._state: Literal["start", "inside", "after", "text"] = "start"
        self._kept = ""

    def feed(self, piece: str) -> list[Text | Thought]:
        if self._state == "text":
            return [Text(piece)]
        self._kept += piece
        out: list[Text | Thought] = []
        if self._state == "start":
            head = self._kept.lstrip()
            if not head.startswith(self._OPEN):
                return [] if self._OPEN.startswith(head) else self._all()
            self._state, self._kept = "inside", head[len(self._OPEN) :]
        if self._state == "inside":
            thought, closed, rest = self._kept.partition(self._CLOSE)
            self._state, self._kept = ("after", rest) if closed else ("inside", "")
            if not closed:
                keep = _overlap(thought, self._CLOSE)
                thought, self._kept = thought[: len(thought) - keep], thought[len(thought) - keep :]
            if thought:
                out.append(Thought(thought))
        if self._state == "after":
            # The template's own line breaks: it puts them back when the answer stands in the next prompt.
            self._kept = self._kept.lstrip("\n")
            out += self._all() if self._kept else []
        return out

    def close(self) -> list[Text | Thought]:
        kept, self._kept = self._kept, ""
        if not kept:
            return []
        return [Thought(kept)] if self._state == "inside" else [Text(kept)]

    def _all(self) -> list[Text | Thought]:
        kept, self._kept, self._state = self._kept, "", "text"
        return [Text(kept)] if kept else []


def _overlap(text: str, mark: str) -> int:
    return next((size for size in range(min(len(text), len(mark) - 1), 0, -1) if mark.startswith(text[-size:])), 0)


# -------------------------------------------------------------------------------------------------- asking


async def answer(
    turn: Turn, dialect: Dialect, thought_text: ThoughtText, ask: Ask, *, model: str | None = None
) -> AsyncGenerator[Delta, None]:
    """Ask a turn and yield its answer; each call comes in one piece, once it is known to fit its function.

    The official service sends a call's arguments in one delta, too. A call that is missing where it must be, or that
    breaks its schema, is asked for once more under a grammar; raises MalformedFunctionCall when that fails as well.
    """

    def written(turn: Turn, dialect: Dialect) -> Body:
        return request(turn, dialect, thought_text, model=model)

    functions = {function.name or "": function for function in offered(turn)}
    answered = _checked(turn, dialect, written, ask, functions) if functions else _plain(turn, dialect, written, ask)
    async with aclosing(answered) as deltas:
        async for delta in deltas:
            yield delta


async def _plain(turn: Turn, dialect: Dialect, written: Written, ask: Ask) -> AsyncGenerator[Delta, None]:
    async with aclosing(ask(written(turn, dialect), ())) as deltas:
        async for delta in deltas if shape(turn) is None else _held(deltas):
            yield delta


async def _checked(
    turn: Turn, dialect: Dialect, written: Written, ask: Ask, functions: dict[str, wire.Function]
) -> AsyncGenerator[Delta, None]:
    forced = turn.tool_choice.mode == "any"
    shaped = shape(turn) is not None and not forced
    body = written(turn, dialect)
    if shaped:
        # Asked for calls and JSON at once, servers hold the whole answer to the JSON: the schema has to wait its turn.
        body.pop("response_format", None)
        body.pop("grammar", None)
    gathered = _Gathered(functions)
    async with aclosing(ask(body, functions)) as deltas:
        async for delta in deltas:
            if shown := gathered.take(delta, hold_text=shaped or forced):
                yield shown
    async for delta in _mended(gathered, turn, dialect, written, ask):
        yield delta
    for delta in gathered.rest(text=not forced):
        yield delta


async def _held(deltas: AsyncGenerator[Delta, None]) -> AsyncGenerator[Delta, None]:
    """Pass on an answer that was to be JSON. Raises Internal where the server took the schema and did not hold to it."""
    text: list[str] = []
    async for delta in deltas:
        if isinstance(delta, Text):
            text.append(delta.text)
        elif isinstance(delta, Finish) and delta.reason == "stop":
            try:
                msgspec.json.decode("".join(text))
            except msgspec.DecodeError as error:
                raise wire.Internal("The model's answer is no JSON, though a schema was given.") from error
        yield delta


async def _mended(
    gathered: _Gathered, turn: Turn, dialect: Dialect, written: Written, ask: Ask
) -> AsyncGenerator[Delta, None]:
    """Ask again for what is wrong with the calls, or with the shape of the text."""
    wanted = shape(turn)
    invented = turn.tool_choice.mode != "any" and gathered.has_invented()
    if not invented and gathered.fault(forced=turn.tool_choice.mode == "any"):
        gathered.again()
        forced = structs.replace(turn, tool_choice=ToolChoice("any", turn.tool_choice.names), followed=False)
        async with aclosing(
            ask(written(forced, structs.replace(dialect, force="schema")), gathered.functions)
        ) as deltas:
            async for delta in deltas:
                gathered.take(delta, hold_text=True)
        if fault := gathered.fault(forced=True):
            raise wire.MalformedFunctionCall(fault)
    elif invented or (wanted is not None and not gathered.calls and not gathered.fits(wanted)):
        # Who calls a function that is not there has no use for those that are, and is asked for words.
        gathered.again()
        async with aclosing(ask(written(structs.replace(turn, tool_choice=ToolChoice("none")), dialect), ())) as deltas:
            async for delta in deltas:
                if shown := gathered.take(delta, hold_text=False):
                    yield shown


class _Gathered:
    """What is kept of an answer until its calls have been checked."""

    def __init__(self, functions: dict[str, wire.Function]) -> None:
        self.functions = functions
        self._before = Tokens()
        self.text = ""
        self.calls: dict[int, tuple[str, str]] = {}
        self.finish = Finish()

    def take(self, delta: Delta, *, hold_text: bool) -> Delta | None:
        """Keep `delta`, or give it back to be shown at once."""
        if isinstance(delta, Call):
            name, arguments = self.calls.get(delta.index, ("", ""))
            self.calls[delta.index] = (name or delta.name, arguments + delta.arguments)
            return None
        if isinstance(delta, Finish):
            self.finish = delta
            return None
        if isinstance(delta, Text) and hold_text:
            self.text += delta.text
            return None
        return delta

    def again(self) -> None:
        """Forget the answer, but not what it used; a second one follows."""
        self._before = _sum(self._before, self.finish.tokens)
        self.calls = {}
        self.text = ""

    def fault(self, *, forced: bool) -> str | None:
        """What is wrong with the calls; None when nothing is. An answer cut short by its limit has no faults."""
        if self.finish.reason == "length":
            self.calls = {index: call for index, call in self.calls.items() if self._fault(*call) is None}
            return None
        if forced and not self.calls:
            return "The model was to call a function and called none."
        return next((fault for call in self.calls.values() if (fault := self._fault(*call))), None)

    def has_invented(self) -> bool:
        """Whether a function is called that is not on offer."""
        return any(name not in self.functions for name, _ in self.calls.values())

    def _fault(self, name: str, arguments: str) -> str | None:
        function = self.functions.get(name)
        if function is None:
            return f"The model called {name!r}, which is no function on offer."
        try:
            value = msgspec.json.decode(arguments or "{}")
        except msgspec.DecodeError:
            return f"The model called {name!r} with arguments that are no JSON."
        if not isinstance(value, dict):
            return f"The model called {name!r} with arguments that are no JSON object."
        fault = schemas.violation(value, function.parameters or {})
        return f"The model called {name!r} with arguments that break its schema: {fault}." if fault else None

    def fits(self, schema: Mapping[str, Any]) -> bool:
        """Whether the text kept is JSON of that shape; an answer cut short by its limit cannot be."""
        if self.finish.reason == "length":
            return True
        try:
            return schemas.violation(msgspec.json.decode(self.text), schema) is None
        except msgspec.DecodeError:
            return False

    def rest(self, *, text: bool) -> list[Delta]:
        """What was kept, in order."""
        kept: list[Delta] = [Text(self.text)] if text and self.text else []
        calls = [Call(index, name, arguments or "{}") for index, (name, arguments) in enumerate(self.calls.values())]
        return [*kept, *calls, Finish(self.finish.reason, _sum(self._before, self.finish.tokens))]


def _sum(one: Tokens, two: Tokens) -> Tokens:
    return Tokens(one.input + two.input, one.output + two.output, one.thought + two.thought, one.cached + two.cached)


# -------------------------------------------------------------------------------------------------- errors


class _Fault(msgspec.Struct):
    message: str | None = None
    code: int | str | None = None
    type: str | None = None
    n_prompt_tokens: int | None = None
    n_ctx: int | None = None


class _FaultBody(msgspec.Struct):
    error: _Fault | str | None = None
    message: str | None = None
    detail: Any = None


def failure(status: int, body: bytes, host: str, *, retry_after: float | None = None) -> wire.ApiError:
    """Our error for a server's answer of HTTP `status` with `body`; `host` names the server in the message."""
    fault, message = _fault(body)
    if isinstance(fault.code, int) and fault.code >= 400:
        status = fault.code
    if fault.n_ctx and fault.n_prompt_tokens:
        return wire.InvalidRequest(
            f"The conversation is {fault.n_prompt_tokens} tokens long, and the model reads at most {fault.n_ctx}."
        )
    message = message or f"HTTP {status}"
    if status in (401, 403):
        return wire.Internal(f"{host} refused this server's own key for it (HTTP {status}): {message}")
    kind = _KINDS.get(status, wire.Unavailable if status >= 500 else wire.InvalidRequest)
    # What is wrong with the request is its sender's to read; everything else happened somewhere, and that is named.
    return kind(message if kind is wire.InvalidRequest else f"{host}: {message}", retry_after=retry_after)


_KINDS: dict[int, type[wire.ApiError]] = {
    404: wire.ModelNotFound,
    408: wire.DeadlineExceeded,
    429: wire.RateLimited,
    504: wire.DeadlineExceeded,
}


def _fault(body: bytes) -> tuple[_Fault, str]:
    """What a server says is wrong, in the several shapes that servers say it in, and its words for it."""
    try:
        read = msgspec.json.decode(body, type=_FaultBody)
    except msgspec.DecodeError:
        read = _FaultBody(message=body[:500].decode(errors="replace").strip())
    if isinstance(read.error, _Fault):
        return read.error, read.error.message or ""
    return _Fault(), read.error or read.message or (str(read.detail) if read.detail else "")
