"""The interaction resource and the ends of its stream, as readings of a record and its folded log. Pure."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Literal

import msgspec

from antiphon import log, wire
from antiphon.ports import Record, Tokens

CUT = 14  # the code of a step that a stop of the server cut short; the attempt that goes on begins it anew


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC, whole seconds, as the service writes it."""
    return _timestamp(int(seconds))


@lru_cache(maxsize=64)
def _timestamp(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def usage(tokens: Tokens, steps: Sequence[wire.Step] = ()) -> wire.Usage:
    """The counts as the service gives them: total = input + output + thought + tool use, cached ones within input.

    `steps` are what the interaction generated: its searches are counted as grounding.
    """
    return wire.Usage(
        total_tokens=tokens.input + tokens.output + tokens.thought + tokens.tool_use,
        total_input_tokens=tokens.input,
        input_tokens_by_modality=_by_modality(tokens.input, tokens.media),
        total_cached_tokens=tokens.cached,
        total_output_tokens=tokens.output,
        output_tokens_by_modality=_by_modality(tokens.output, tokens.made) if tokens.made else None,
        total_tool_use_tokens=tokens.tool_use,
        tool_use_tokens_by_modality=(
            [wire.ModalityTokens(modality="text", tokens=tokens.tool_use)] if tokens.tool_use else None
        ),
        total_thought_tokens=tokens.thought,
        grounding_tool_count=_grounding(steps, tokens.searched),
    )


def _by_modality(total: int, media: Sequence[tuple[str, int]]) -> list[wire.ModalityTokens]:
    """Text first, which is what is no medium."""
    words = total - sum(count for _, count in media)
    counts: list[tuple[Any, int]] = [("text", words)] if words or not media else []
    return [wire.ModalityTokens(modality=kind, tokens=count) for kind, count in [*counts, *media]]


def _media(counts: Sequence[wire.ModalityTokens] | None) -> tuple[tuple[str, int], ...]:
    return tuple(
        (one.modality, one.tokens) for one in counts or () if one.modality and one.tokens and one.modality != "text"
    )


def _grounding(steps: Sequence[wire.Step], searched: int = 0) -> list[wire.GroundingToolCount] | None:
    """How many queries went to the tools that the service bills by the query; None where there were none."""
    counts: dict[Literal["google_search", "google_maps", "retrieval"], int] = {"google_search": searched}
    for step in steps:
        if isinstance(step, wire.GoogleSearchCallStep | wire.GoogleMapsCallStep):
            kind: Literal["google_search", "google_maps"] = (
                "google_search" if isinstance(step, wire.GoogleSearchCallStep) else "google_maps"
            )
            queries = step.arguments.queries if step.arguments is not None else None
            counts[kind] = counts.get(kind, 0) + len(queries or ())
    return [wire.GroundingToolCount(type=kind, count=count) for kind, count in counts.items() if count] or None


def tokens(usage: wire.Usage | None, *, agent: bool = False) -> Tokens:
    """The counts of a usage, to go on counting from. A model's searches are counted from its steps, an `agent`'s here."""
    if usage is None:
        return Tokens()
    return Tokens(
        usage.total_input_tokens or 0,
        usage.total_output_tokens or 0,
        usage.total_thought_tokens or 0,
        usage.total_cached_tokens or 0,
        usage.total_tool_use_tokens or 0,
        _media(usage.input_tokens_by_modality),
        _media(usage.output_tokens_by_modality),
        sum(one.count or 0 for one in usage.grounding_tool_count or () if one.type == "google_search") if agent else 0,
    )


def _model(record: Record) -> str | None:
    """The name that answers; an agent's answer has the agent's."""
    return record.model if record.request.agent is None else None


def created(record: Record) -> wire.StreamInteraction:
    """The interaction as the first event shows it. Without `store` it has no id to come back to (recorded)."""
    return wire.StreamInteraction(
        id=record.id if record.store else "",
        status="in_progress",
        object="interaction",
        model=_model(record),
        agent=record.request.agent,
        model_substitution=record.substitution,
    )


def completed(
    record: Record, state: log.State, status: wire.InteractionStatus, tokens: Tokens, updated: float
) -> wire.StreamInteraction:
    """The interaction as the last event shows it: with its usage, without its steps (recorded)."""
    return wire.StreamInteraction(
        id=record.id if record.store else "",
        status=status,
        usage=usage(tokens, state.steps),
        created=timestamp(record.created),
        updated=timestamp(updated),
        service_tier="standard",
        object="interaction",
        model=_model(record),
        agent=record.request.agent,
        errors=state.errors or None,
        error=state.errors[0] if state.errors else None,
        model_substitution=record.substitution,
    )


def summary(record: Record, last: wire.InteractionEvent | None, updated: float) -> wire.Interaction:
    """The resource without its steps, from the last event of its log alone."""
    state = log.State()
    if isinstance(last, wire.InteractionCompleted):
        state.interaction = last.interaction
        state.status = last.interaction.status
        state.errors = list(last.interaction.errors or ())
    return msgspec.structs.replace(interaction(record, state, updated, whole=True), steps=None)


def _once(steps: list[wire.Step]) -> list[wire.Step]:
    """The steps as the resource has them: words that a stop of the server cut short, and that were said anew, stand once."""
    anew = False
    shown: list[wire.Step] = []
    for step in reversed(steps):
        if anew and isinstance(step, wire.ModelOutputStep) and step.error is not None and step.error.code == CUT:
            step = msgspec.structs.replace(step, content=None)
        anew = anew or (isinstance(step, wire.ModelOutputStep) and step.error is None)
        shown.append(step)
    return shown[::-1]


def interaction(
    record: Record, state: log.State, updated: float, *, whole: bool = False, include_input: bool = False
) -> wire.Interaction:
    """The resource: the generated steps as POST shows them, or with `whole` the timeline and the request as GET does."""
    seen = state.interaction
    request = record.request
    said = _once(state.timeline())
    more: dict[str, Any] = {}
    if whole:
        more = {
            "previous_interaction_id": record.previous_interaction_id,
            "system_instruction": request.system_instruction,
            "tools": request.tools,
            "generation_config": request.generation_config,
            "response_format": request.response_format,
        }
    if include_input:
        more["input"] = record.input
    return wire.Interaction(
        id=record.id if record.store else None,
        status=state.status,
        usage=seen.usage if seen is not None else None,
        created=timestamp(record.created),
        updated=(seen.updated if seen is not None else None) or timestamp(updated),
        service_tier="standard",
        steps=[*record.input, *said] if whole else said,
        object="interaction",
        model=_model(record),
        agent=record.request.agent,
        agent_config=request.agent_config if whole else None,
        labels=request.labels,
        webhook_config=request.webhook_config,
        errors=state.errors or None,
        error=state.errors[0] if state.errors else None,
        model_substitution=record.substitution,
        **more,
    )
