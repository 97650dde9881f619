"""From a request to what is run: everything that can be refused is refused here, before anything is begun or kept."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import msgspec

from antiphon import ids, intake, wire
from antiphon.pasts import Pasts
from antiphon.ports import Agent, Model, Record, Resolution, Tool, Turn, gives_of
from antiphon.processing import Processing, reads
from antiphon.run import Run
from antiphon.toolbox import available


class Admission:
    """Checks requests against what is served here; `live` are the runs of this process, by id."""

    def __init__(
        self,
        *,
        models: Mapping[str, Model],
        resolve: Callable[[str], Resolution],
        tools: Mapping[str, Tool],
        agents: Mapping[str, Agent],
        processing: Processing,
        pasts: Pasts,
        live: Mapping[str, Run],
        key: bytes,
        retention: float,
        clock: Callable[[], float],
    ) -> None:
        self._models = models
        self._resolve = resolve
        self._tools = tools
        self._agents = agents
        self._processing = processing
        self._pasts = pasts
        self._live = live
        self._key = key
        self._retention = retention
        self._clock = clock

    async def record(
        self, project: str, request: wire.CreateInteraction, key: str = "", id: str | None = None
    ) -> tuple[Record, Turn]:
        """What a request asks for, checked; nothing is begun or kept. Raises ApiError."""
        intake.check(request)
        agent = intake.agent_of(request, self._agents)
        resolved = self._resolve(request.agent or request.model or "")
        intake.check_model(resolved, agent, self._agents)
        parent, past = await self._past(project, request.previous_interaction_id)
        found = intake.steps(request.input)
        if agent is not None:
            agent.check(request, found)
        intake.check_results(found, past)
        intake.check_signatures(found, self._key)
        model = self._models[resolved.target]
        now = self._clock()
        id = id or ids.interaction_id(now)
        record = Record(
            id=id,
            project=project,
            conversation=parent.conversation if parent is not None else id,
            created=now,
            expires=now + self._retention,
            model=resolved.served_as,
            target=resolved.target,
            input=found,
            request=msgspec.structs.replace(request, input=None),
            tools=intake.effective_tools(request, found, parent)
            if agent is None or request.tools is not None
            else await available(self._tools, agent.tools(request), project),
            previous_interaction_id=request.previous_interaction_id,
            substitution=intake.substitution(resolved),
            background=bool(request.background),
            store=request.store is not False,
            key=key,
            form=intake.form(request.input),
        )
        followed = bool(request.stream or request.background)
        turn = intake.turn(record, past, self._tools, followed=followed, gives=gives_of(model))
        self._processing.check(record, reads(model, turn))
        for place, declared in enumerate(record.tools or ()):
            if (tool := self._tools.get(str(declared.__struct_config__.tag))) is not None:
                await tool.check(declared, project, f"tools[{place}]")
        return record, turn

    async def _past(self, project: str, id: str | None) -> tuple[Record | None, Sequence[wire.Step]]:
        """The interaction that a request goes on from, and all that was said up to its end."""
        if id is None:
            return None, ()
        live = self._live.get(id)
        if live is not None and live.record.project == project and live.record.store:
            raise wire.InvalidRequest(f"Interaction '{id}' at 'previous_interaction_id' is still in progress.")
        return await self._pasts.before(project, id)
