"""What an earlier attempt left open when it was cut short."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping

from antiphon import wire
from antiphon.ports import Store, Tool
from antiphon.resource import CUT
from antiphon.run import Run
from antiphon.toolsteps import lost, payload, tool_type


class Turns:
    """Lets in one after the other. Who is not out again after `seconds` is no longer waited for."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._lock = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn."""
        await self._lock.acquire()
        over = False

        def leave() -> None:
            nonlocal over
            if not over:
                over = True
                self._lock.release()

        timer = asyncio.get_running_loop().call_later(self._seconds, leave)
        try:
            yield
        finally:
            timer.cancel()
            leave()


async def close_cut(run: Run, store: Store, tools: Mapping[str, Tool]) -> None:
    """Close the step that a crash cut short, with its error: clients that saw it see a legal continuation."""
    step = run.state.open
    if step is None:
        return
    index = len(run.state.steps)
    error: wire.Status | None = wire.Status(code=CUT, message="The server stopped while this step was being written.")
    tool = tools.get(tool_type(step)) if isinstance(step, wire.ToolResultStep) else None
    if isinstance(step, wire.ToolResultStep) and run.state.deltas:
        error = None  # all that it has to say is there: only its stop is not
    elif isinstance(step, wire.ProcessingResultStep):
        pass  # nothing has an effect in there: it is made anew
    elif isinstance(step, wire.ToolResultStep) and (tool is None or not tool.rerunnable):
        # It may have had its effect, so it is not run again: the model is told that the outcome is unknown.
        why = "The server stopped while this was running: whether it had its effect is not known."
        await run.append(store, wire.StepDelta(index=index, delta=payload(lost(step, why))))
        error = None
    await run.append(store, wire.StepStop(index=index, error=error), hold=error is None)
