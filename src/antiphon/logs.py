"""What the server says on standard error: lines of text or of JSON, each with the interaction it is about, where known.

What is known of a task's work is kept in a context variable: whoever begins something binds it, and every line that is
written below has it. Content (what was asked and answered) is in no line, unless it is asked for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from antiphon import wire
from antiphon.ports import Record

FORMATS = ("text", "json")
_bound: ContextVar[dict[str, str | int]] = ContextVar("antiphon_logs", default={})  # noqa: B039 - never changed, only replaced
_encode = msgspec.json.Encoder().encode
_LONGEST = 200  # characters of a name that a caller may have made up
logger = logging.getLogger("antiphon.interactions")


def bind(**known: str | int) -> None:
    """Every line of this task, and of those it starts from now on, has these; what is empty is left out."""
    _bound.set({**_bound.get(), **{name: value for name, value in known.items() if value != ""}})


def configure(level: str, form: Literal["text", "json"] = "text") -> None:
    """Write to standard error, from this level on, in this form."""
    handler = logging.StreamHandler()
    handler.setFormatter(Json() if form == "json" else Text())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _known(line: logging.LogRecord) -> dict[str, Any]:
    """What a line is about: what was bound where it was written, and what it was given as `extra={"about": …}`."""
    return {**_bound.get(), **getattr(line, "about", {})}


class Text(logging.Formatter):
    """`time LEVEL logger: message (interaction=…, project=…)`."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """One line, without its traceback."""
        # One line whatever is in it: nobody writes a line of his own by what he sends.
        line = super().formatMessage(record).replace("\r", "\\r").replace("\n", "\\n")
        known = ", ".join(f"{name}={value}" for name, value in _known(record).items())
        return f"{line} ({known})" if known else line


class Json(logging.Formatter):
    """One object a line: time, level, logger, message, what it is about, and a traceback if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_known(record),
        }
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return _encode(line).decode()


class Journal:
    """A line for each interaction that ended (`ports.Watcher`). With `content`, what was asked is in it."""

    def __init__(self, *, content: bool = False, clock: Callable[[], float] = time.time) -> None:
        self._content = content
        self._clock = clock

    async def begins(self, record: Record) -> None:
        """Bind what is known of it, for whatever is said of it from now on."""
        bind(interaction=record.id, project=record.project, key=record.key)

    def refused(self, record: Record) -> None:
        """Nothing was made of it here."""

    def ends(self, record: Record, status: wire.InteractionStatus, usage: wire.Usage | None) -> None:
        """Say how it ended."""
        if not logger.isEnabledFor(logging.INFO):
            return
        about: dict[str, Any] = {
            "interaction": record.id,
            "project": record.project,
            "key": record.key,
            "model": record.model[:_LONGEST],
            "status": status,
            "seconds": round(max(0.0, self._clock() - record.created), 3),
            "input_tokens": usage.total_input_tokens if usage is not None else None,
            "output_tokens": usage.total_output_tokens if usage is not None else None,
        }
        if self._content:
            about["input"] = _encode(record.input).decode()
        known = {name: value for name, value in about.items() if value not in (None, "")}
        logger.info("interaction ended", extra={"about": known})

    def around(
        self, record: Record, kind: Literal["chat", "execute_tool"], name: str
    ) -> AbstractContextManager[dict[str, Any]]:
        """Calls are counted and traced (`telemetry.py`), not told one by one."""
        return nullcontext({})
