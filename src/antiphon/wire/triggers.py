"""The types of the Triggers API: interactions on a schedule, and what became of each of their runs."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from .base import Timestamp, Wire
from .interaction import CreateInteraction

TriggerStatus = Literal["active", "paused", "error"]
TriggerExecutionStatus = Literal["in_progress", "completed", "failed", "skipped", "timed_out"]
DisplayName = Annotated[str, Meta(max_length=512)]


class CreateTrigger(Wire, kw_only=True):
    """The body of POST /triggers. `schedule` is a cron expression of five fields, `time_zone` a name like Europe/Paris."""

    interaction: CreateInteraction
    schedule: Annotated[str, Meta(max_length=512)]
    time_zone: Annotated[str, Meta(max_length=128)]
    display_name: DisplayName | None = None
    environment_id: str | None = None
    execution_timeout_seconds: Annotated[int, Meta(ge=1, le=86400)] | None = None
    max_consecutive_failures: Annotated[int, Meta(ge=1, le=1000)] | None = None


class UpdateTrigger(Wire, kw_only=True):
    """The body of PATCH /triggers/{id}: what is absent stays as it is."""

    display_name: DisplayName | None = None
    status: TriggerStatus | None = None


class Trigger(Wire, kw_only=True):
    """An interaction, and when it runs."""

    id: str
    interaction: CreateInteraction
    schedule: str
    time_zone: str
    status: TriggerStatus
    display_name: str | None = None
    environment_id: str | None = None
    execution_timeout_seconds: int | None = None
    max_consecutive_failures: int | None = None
    consecutive_failure_count: int | None = None
    previous_interaction_id: str | None = None
    create_time: Timestamp | None = None
    update_time: Timestamp | None = None
    next_run_time: Timestamp | None = None
    last_run_time: Timestamp | None = None
    last_pause_time: Timestamp | None = None
    last_resume_time: Timestamp | None = None


class TriggerList(Wire, kw_only=True):
    """A page of GET /triggers, the newest first; an empty one is `{}`."""

    triggers: list[Trigger] | None = None
    next_page_token: str | None = None


class RunTrigger(Wire, kw_only=True):
    """The body of POST /triggers/{id}/executions: nothing."""


class TriggerExecution(Wire, kw_only=True):
    """One run of a trigger, or why there was none."""

    id: str
    trigger_id: str
    status: TriggerExecutionStatus
    scheduled_time: Timestamp | None = None
    start_time: Timestamp | None = None
    end_time: Timestamp | None = None
    interaction_id: str | None = None
    environment_id: str | None = None
    error: str | None = None


class TriggerExecutionList(Wire, kw_only=True):
    """A page of GET /triggers/{id}/executions, the newest first."""

    trigger_executions: list[TriggerExecution] | None = None
    next_page_token: str | None = None
