"""What is asked of a worker process and what it answers: the words between `media/workers.py` and `media/worker.py`."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec

LENGTH = struct.Struct(">Q")  # stands before each job and answer, in bytes


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What to do with `body`: `task` names a row of the worker's table, `asked` is its question, encoded.

    `seconds` of work, `memory` in bytes of address space, `largest` in bytes of what comes of it.
    """

    task: str
    body: bytes
    asked: msgspec.Raw
    seconds: int
    memory: int
    largest: int


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of a job, encoded; or why nothing did."""

    value: msgspec.Raw = msgspec.Raw(b"\xc0")  # nil
    reason: str = ""


class Task(NamedTuple):
    """A kind of job: a row of the worker's table.

    `asked` is the type of its question. `prepare` loads what it needs (libraries, models) in the worker, once and before
    the child is there: it sees the body, and must not parse it. `work` runs in the child, inside of the jail: it has no
    network, no files to write, and few to read; what it returns is encoded. Both raise Unreadable, in words for the
    user.
    """

    asked: type[Any]
    prepare: Callable[[bytes, Any], None]
    work: Callable[[bytes, Any], Any]
