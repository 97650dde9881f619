"""The process in which documents and pictures are read: `python -m antiphon.media.worker`, started by `media/workers.py`.

It reads jobs from its standard input and writes answers to its standard output, one after the other. For each job it
forks: the child parses, under limits of time and memory that the system holds, and ends. A document that loops, crashes
its parser or takes it over has a process that lives for seconds, knows no secret of the server's and sees no other document.
"""

from __future__ import annotations

import os
import re
import resource
import signal
import struct
import sys
from collections.abc import Callable
from functools import partial
from typing import BinaryIO, NoReturn

import msgspec

from antiphon.media import html, painter, pdf
from antiphon.media.kinds import Kind, kind_of
from antiphon.media.odf import read_odf
from antiphon.media.office import read_office
from antiphon.media.package import Package
from antiphon.media.rtf import read_rtf
from antiphon.media.texts import decoded, read_json, read_table, read_text
from antiphon.ports import Document, Leaf, Picture, Unreadable

LENGTH = struct.Struct(">Q")  # stands before each job and answer, in bytes

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([\w.:-]{1,40})", re.IGNORECASE)
# Control characters, and those that turn or hide text without being seen: what the model reads is what a reader sees.
_UNSEEN = re.compile("[\x00-\x08\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069\U000e0000-\U000e007f\ud800-\udfff]")
_PREPARE: dict[Kind, Callable[[], None]] = {"html": html.prepare, "pdf": pdf.prepare}
_TEXTS: dict[Kind, Callable[[str], Document]] = {
    "html": html.read_html,
    "json": read_json,
    "csv": read_table,
    "tsv": partial(read_table, separator="\t"),
    "text": read_text,
}
_SLOW = {signal.SIGXCPU, signal.SIGALRM, signal.SIGKILL}


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """How large a picture may be shown: `side` in pixels, `largest` in bytes."""

    side: int
    largest: int


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """A document to read; with `frame` a picture. `seconds` of work, `memory` in bytes, `largest` of what comes of it."""

    body: bytes
    frame: Frame | None = None
    mime_type: str | None = None
    name: str | None = None
    seconds: int
    memory: int
    largest: int


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The document or the picture, or why there is none."""

    document: Document | None = None
    picture: Picture | None = None
    reason: str = ""


def parse(body: bytes, mime_type: str | None, name: str | None) -> Document:
    """The text of a document, by its kind. Raises Unreadable."""
    kind = kind_of(body, mime_type, name)
    if kind == "pdf":
        return pdf.read_pdf(body)
    if kind == "rtf":
        return read_rtf(body)
    if kind == "zip":
        package = Package(body)
        document = read_office(package) or read_odf(package)
        if document is None:
            raise Unreadable("It is an archive, not a document.")
        return document
    charset = _CHARSET.search(mime_type or "")
    return _TEXTS[kind](decoded(body, charset[1] if charset else None))


def cleaned(document: Document, largest: int) -> Document:
    """The same with only characters that can be seen. Raises Unreadable where nothing is left, or too much."""
    size = sum(len(leaf.text) for leaf in document.leaves)
    if size > largest:
        raise Unreadable(f"It holds {size} characters of text; at most {largest} are read.")
    leaves = [Leaf(_UNSEEN.sub("", leaf.text.replace("\r\n", "\n")).strip(), leaf.number) for leaf in document.leaves]
    leaves = [leaf for leaf in leaves if leaf.text]
    if not leaves:
        raise Unreadable("It holds no text.")
    title = " ".join(_UNSEEN.sub("", document.title or "").split())[:300] or None
    return Document(title=title, leaves=tuple(leaves))


def main() -> None:
    """Answer jobs until the input ends."""
    source, target = sys.stdin.buffer, sys.stdout.buffer
    while header := source.read(LENGTH.size):
        job = msgspec.msgpack.decode(source.read(LENGTH.unpack(header)[0]), type=Job)
        answer = _attempt(job)
        target.write(LENGTH.pack(len(answer)) + answer)
        target.flush()


def _attempt(job: Job) -> bytes:
    """Have a child do the job; what it wrote, or why it wrote nothing."""
    try:
        _prepare(job)
    except Unreadable as error:
        return _failed(str(error))
    ours, theirs = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(ours)
        _child(job, theirs)
    os.close(theirs)
    with open(ours, "rb") as pipe:  # noqa: PTH123 - a descriptor
        answer = _bounded(pipe, 8 * job.largest + 2**20)
    if answer is None:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        slow = os.WTERMSIG(status) in _SLOW
        return _failed("It takes too long to read." if slow else "It is broken in a way that ends its reader.")
    return answer if answer and status == 0 else _failed("It is broken in a way that its reader does not know.")


def _prepare(job: Job) -> None:
    """Load what reads it, so that a process per job need not. Raises Unreadable."""
    if job.frame is not None:
        painter.prepare()
    else:
        _PREPARE.get(kind_of(job.body, job.mime_type, job.name), lambda: None)()


def _bounded(pipe: BinaryIO, most: int) -> bytes | None:
    data = pipe.read(most + 1)
    return data if len(data) <= most else None


def _child(job: Job, pipe: int) -> NoReturn:
    code = 1
    try:
        nowhere = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1):  # the next document, and the answers to others, are not within its reach
            os.dup2(nowhere, stream)
        _confine(job)
        answer = _answer(job)
        with open(pipe, "wb") as file:
            file.write(answer)
        code = 0
    finally:
        os._exit(code)  # nothing of the parent's is closed, flushed or told


def _confine(job: Job) -> None:
    signal.alarm(job.seconds)
    limits = {
        resource.RLIMIT_CPU: job.seconds,
        resource.RLIMIT_AS: job.memory,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NPROC: 0,
    }
    for kind, limit in limits.items():
        resource.setrlimit(kind, (limit, limit))


def _answer(job: Job) -> bytes:
    try:
        if job.frame is not None:
            return msgspec.msgpack.encode(Answer(picture=painter.paint(job.body, job.frame.side, job.frame.largest)))
        document = cleaned(parse(job.body, job.mime_type, job.name), job.largest)
    except Unreadable as error:
        return _failed(str(error))
    except MemoryError:
        return _failed("It takes too much memory to read.")
    except RecursionError:
        return _failed("It is nested too deeply.")
    return msgspec.msgpack.encode(Answer(document=document))


def _failed(reason: str) -> bytes:
    return msgspec.msgpack.encode(Answer(reason=reason))


if __name__ == "__main__":
    main()
