"""The server's tools in the hands of one interaction: what the model is offered, its calls, and what comes of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from antiphon import ids, readings, wire
from antiphon.ports import Outcome, Record, Session, Tool, Turn, Use
from antiphon.toolsteps import bare, lost, result_of, tool_type

logger = logging.getLogger("antiphon.engine")


class Toolbox:
    """Sessions of the tools that a request declares. `seconds` is how long one call may take."""

    def __init__(self, tools: Mapping[str, Tool], key: bytes, seconds: float) -> None:
        self._tools = tools
        self._key = key
        self._seconds = seconds
        self._sessions: list[tuple[str, Session]] = []
        self._names: dict[str, Session] = {}
        self._uses: list[tuple[Use, Session]] = []
        self._opened = False
        self._opening = asyncio.Lock()

    async def open(self, record: Record, turn: Turn, room: int) -> Turn:
        """Begin to use them, once; the turn with what they tell the model."""
        async with self._opening:  # an agent may want several at the same time, all of them the first
            if self._opened:
                return turn
            opened = await self._open(record, turn, room)
            self._opened = True
        told = [turn.system_instruction, *(session.instructions for session in opened)]
        return msgspec.structs.replace(turn, system_instruction="\n\n".join(filter(None, told)) or None)

    async def _open(self, record: Record, turn: Turn, room: int) -> list[Session]:
        uses = [
            Use(
                project=record.project,
                interaction=record.id,
                declared=declared,
                steps=turn.steps,
                functions=turn.functions,
                room=room,
            )
            for declared in record.tools or ()
            if _type(declared) in self._tools
        ]
        opened = await self._begin(uses)
        self._uses = list(zip(uses, opened, strict=True))
        self._take_names(opened, {function.name for function in turn.functions})
        return opened

    async def _begin(self, uses: Sequence[Use]) -> list[Session]:
        """Open all at the same time; those that were opened are closed with the run, even if another could not be."""
        tasks = [asyncio.create_task(self._tools[_type(use.declared)].open(use)) for use in uses]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()  # what is done already is not touched by this
            await asyncio.gather(*tasks, return_exceptions=True)
            self._sessions += [
                (_type(use.declared), task.result())
                for use, task in zip(uses, tasks, strict=True)
                if not task.cancelled() and task.exception() is None
            ]

    def _take_names(self, opened: Sequence[Session], own: set[str | None]) -> None:
        """Which session a function belongs to; the caller's own functions come first, then who came first."""
        for session in opened:
            for function in session.functions:
                if function.name and function.name not in own:
                    self._names.setdefault(function.name, session)

    def offered(self, functions: Sequence[wire.Function], steps: Sequence[wire.Step]) -> tuple[wire.Function, ...]:
        """What the model may call now: the caller's functions, less those still to be searched for, and the tools'."""
        own = tuple(functions)
        if any(function.defer_loading for function in own):
            found = _found(steps)
            own = tuple(function for function in own if not function.defer_loading or function.name in found)
        theirs = [
            function
            for _, session in self._sessions
            for function in session.functions
            if self._names.get(function.name or "") is session
        ]
        return (*own, *theirs)

    def functions(self) -> dict[str, tuple[wire.Function, ...]]:
        """What the tools can be used for, by their types."""
        found: dict[str, tuple[wire.Function, ...]] = {}
        for type, session in self._sessions:
            theirs = (function for function in session.functions if self._names.get(function.name or "") is session)
            found[type] = (*found.get(type, ()), *theirs)
        return found

    def type_of(self, name: str) -> str:
        """The type of the tool that a function belongs to; '' where there is none."""
        session = self._names.get(name)
        return next((type for type, its in self._sessions if its is session), "")

    def __contains__(self, name: str) -> bool:
        """Whether a function that the model calls is one of the server's tools."""
        return name in self._names

    def started(self, id: str, name: str) -> Any:
        """A call's step as the stream starts it, before its arguments are known."""
        return bare(self._names[name].call(id, name, {}))

    def call(self, id: str, name: str, arguments: dict[str, Any]) -> Any:
        """A call's step, sealed."""
        return readings.seal_call(self._key, self._names[name].call(id, name, arguments), name, arguments)

    async def run(self, call: wire.ToolCallStep) -> tuple[Any, Sequence[wire.ImageContent]]:
        """The sealed result of a call, and its figures: whatever goes wrong with it is a result that the model sees."""
        outcome = await self._outcome(call)
        return readings.seal_result(self._key, outcome), outcome.figures

    async def use(self, name: str, arguments: Mapping[str, Any], about: Sequence[wire.Step] = ()) -> Outcome:
        """What comes of a function of a tool, for who is no model: no step is written of it.

        With `about` the tool is opened for this one use, with these steps as its conversation.
        """
        session = self._names.get(name)
        if session is None:
            raise wire.InvalidRequest(f"No tool that is to be used here has a function '{name}'.")
        if not about:
            return await self._within(session, session.call(ids.call_id(), name, arguments))
        use = next(use for use, opened in self._uses if opened is session)
        async with asyncio.timeout(self._seconds):
            fresh = await self._tools[_type(use.declared)].open(msgspec.structs.replace(use, steps=about))
        try:
            return await self._within(fresh, fresh.call(ids.call_id(), name, arguments))
        finally:
            await fresh.aclose()

    async def _outcome(self, call: wire.ToolCallStep) -> Outcome:
        type = tool_type(call)
        opened = readings.open_call(self._key, call)
        session = next((session for kind, session in self._sessions if kind == type and session.owns(opened)), None)
        if session is None:
            return _lost(call, "The tool is not there any more.")
        return await self._within(session, opened)

    async def _within(self, session: Session, call: Any) -> Outcome:
        type = tool_type(call)
        try:
            async with asyncio.timeout(self._seconds):
                return await session.run(call)
        except TimeoutError:
            return _lost(call, f"The tool gave no result within {self._seconds:g} s.")
        except Exception as error:
            logger.exception("the tool %s failed", type)
            return _lost(call, f"The tool failed: {error.__class__.__name__}.")

    async def aclose(self) -> None:
        """The interaction has ended."""
        sessions, self._sessions = self._sessions, []
        for type, session in sessions:
            try:
                async with asyncio.timeout(10):
                    await session.aclose()
            except Exception:
                logger.exception("the tool %s could not be closed", type)


async def available(tools: Mapping[str, Tool], wanted: Sequence[wire.Tool], project: str) -> list[wire.Tool]:
    """Those of the wanted tools that can be had here."""
    found = []
    for declared in wanted:
        with contextlib.suppress(wire.ApiError):
            if (tool := tools.get(_type(declared))) is not None:
                await tool.check(declared, project, "tools")
                found.append(declared)
    return found


def _type(declared: wire.Tool) -> str:
    return str(declared.__struct_config__.tag)


def _lost(call: wire.ToolCallStep, why: str) -> Outcome:
    return Outcome(step=lost(result_of(call), why), reading=why, trusted=True)


def _found(steps: Sequence[wire.Step]) -> set[str]:
    """The names of the functions that tool searches of this conversation have found."""
    results = (step.result or () for step in steps if isinstance(step, wire.ToolSearchResultStep))
    return {function.name or "" for result in results for function in result}
