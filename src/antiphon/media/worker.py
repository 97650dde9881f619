"""The process in which media from outside are read: `python -m antiphon.media.worker`, started by `media/workers.py`.

It reads jobs from its standard input and writes answers to its standard output, one after the other. For each job it
forks: the child parses, in a jail (`media/jail.py`) and under limits of time and memory that the system holds, and ends. A
file that loops, crashes its parser or takes it over has a process that lives for seconds, knows no secret of the
server's, reaches nothing and sees no other file.

A kind of job is a row of `TASKS`: what it is asked, what is loaded before, what is done.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, BinaryIO, NoReturn

import msgspec

from antiphon.media import digesting, ocr, painter, parsing, sound, video_frames
from antiphon.media.jail import Jail
from antiphon.media.jobs import LENGTH, Answer, Job, Task
from antiphon.ports import Unreadable

TASKS: dict[str, Task] = {
    "read": parsing.TASK,
    "paint": painter.TASK,
    "show": painter.SHOW,
    "digest": digesting.TASK,
    "recognise": ocr.TASK,
    "listen": sound.TASK,
    "look": video_frames.TASK,
}
_SLOW = {signal.SIGXCPU, signal.SIGALRM, signal.SIGKILL}


def main() -> None:
    """Answer jobs until the input ends."""
    source, target = sys.stdin.buffer, sys.stdout.buffer
    jail = Jail()
    while header := source.read(LENGTH.size):
        job = msgspec.msgpack.decode(source.read(LENGTH.unpack(header)[0]), type=Job)
        answer = _attempt(job, jail)
        target.write(LENGTH.pack(len(answer)) + answer)
        target.flush()


def _attempt(job: Job, jail: Jail) -> bytes:
    """Have a child do the job; what it wrote, or why it wrote nothing."""
    task = TASKS[job.task]
    asked = msgspec.msgpack.decode(job.asked, type=task.asked)
    try:
        task.prepare(job.body, asked)
    except Unreadable as error:
        return _failed(str(error))
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        _child(job, asked, jail, theirs)
    os.close(theirs)
    with open(ours, "rb") as pipe:  # noqa: PTH123 - a descriptor
        answer = _bounded(pipe, job.largest)
    if answer is None:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        slow = os.WTERMSIG(status) in _SLOW
        return _failed("It takes too long to read." if slow else "It is broken in a way that ends its reader.")
    return answer if answer and status == 0 else _failed("It is broken in a way that its reader does not know.")


def _bounded(pipe: BinaryIO, most: int) -> bytes | None:
    data = pipe.read(most + 1)
    return data if len(data) <= most else None


def _child(job: Job, asked: Any, jail: Jail, pipe: int) -> NoReturn:
    code = 1
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1):  # the next file, and the answers to others, are not within its reach
            os.dup2(nowhere, stream)
        jail.enter(job.seconds, job.memory)
        answer = _answer(TASKS[job.task], job.body, asked)
        with open(pipe, "wb") as file:
            file.write(answer)
        code = 0
    finally:
        os._exit(code)  # nothing of the parent's is closed, flushed or told


def _answer(task: Task, body: bytes, asked: Any) -> bytes:
    try:
        value = msgspec.msgpack.encode(task.work(body, asked))
    except Unreadable as error:
        return _failed(str(error))
    except MemoryError:
        return _failed("It takes too much memory to read.")
    except RecursionError:
        return _failed("It is nested too deeply.")
    return msgspec.msgpack.encode(Answer(value=msgspec.Raw(value)))


def _failed(reason: str) -> bytes:
    return msgspec.msgpack.encode(Answer(reason=reason))


if __name__ == "__main__":
    main()
