"""Hundreds of broken and hostile files: each is read or refused in words, and the server's processes stand."""

from __future__ import annotations

import asyncio
import resource
import sys
import textwrap

import hostile
import pytest

from antiphon import wire
from antiphon.media.digest import DigestPages
from antiphon.ports import Digest, Medium, Unreadable, Wanted

MEMORY = 2**31  # bytes that a child may take
SEES = Wanted(modalities=frozenset({"text", "image"}))
KINDS = {"document": wire.DocumentContent, "image": wire.ImageContent}


def medium(file: hostile.File) -> Medium:
    return Medium(kind=file.kind, body=file.body, mime_type=file.mime_type, name=file.name, content=KINDS[file.kind]())


async def digest_all(files: list[hostile.File], wanted: Wanted) -> dict[str, Digest | str]:
    """What came of each: a digest, or the words in which it was refused."""
    digests = DigestPages(workers=2, seconds=10, memory=MEMORY, patience=120)
    try:
        async with asyncio.timeout(300):
            done = await asyncio.gather(*(digests(medium(file), wanted) for file in files), return_exceptions=True)
            whole = next(file for file in hostile.whole() if file.name == "a.docx")
            assert isinstance(await digests(medium(whole), wanted), Digest), "the processes still read what is whole"
    finally:
        await digests.aclose()
    strange = {
        file.name: one for file, one in zip(files, done, strict=True) if not isinstance(one, Digest | Unreadable)
    }
    assert strange == {}
    return {file.name: one if isinstance(one, Digest) else str(one) for file, one in zip(files, done, strict=True)}  # type: ignore[misc]


def most_memory() -> int:
    """Bytes that a process took which is a child of this one, or of its children, and has ended."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


BEFORE: list[int] = []  # other tests' servers may have taken more


@pytest.fixture(scope="module")
def came() -> dict[str, Digest | str]:
    """Of all of them, for a model that sees: no words are looked for in pictures, which takes long."""
    BEFORE.append(most_memory())
    return asyncio.run(digest_all([*hostile.broken(), *hostile.hostile()], SEES))


def test_two_hundred_broken_and_hostile_files_are_read_or_refused_in_words(came: dict[str, Digest | str]) -> None:
    assert len(came) >= 200
    for name, one in came.items():
        if isinstance(one, str):
            assert one.endswith(".") and 10 < len(one) < 500, f"{name}: {one}"
            assert "Traceback" not in one and "Error" not in one, f"{name}: {one}"
        else:
            assert one.parts, name


def test_none_takes_a_process_of_the_server_with_it_or_more_than_its_memory(came: dict[str, Digest | str]) -> None:
    late = [
        name for name, one in came.items() if isinstance(one, str) and "ends its reader." in one and "too long" in one
    ]
    assert late == [], "a worker itself ended or did not answer"
    assert most_memory() <= max(MEMORY, BEFORE[0])


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("locked.pdf", "password"),
        ("locked.docx", "password"),
        ("locked.odt", "password"),
        ("old.doc", "before 2007"),
        ("zip bomb.docx", "bomb"),
        ("entities.docx", "entities"),
        ("external entity.docx", "entities"),
        ("deep.docx", "nested"),
        ("six thousand kids.pdf", "6000 pages"),
        ("thirty thousand files.zip", "21000 files"),
        ("image: 100 megapixels", "million"),
        ("image: drawing", "SVG"),
        ("image: pdf", "type document"),
        ("image: text", "PNG, JPEG"),
        ("as document a.png", "type image"),
    ],
)
def test_what_is_wrong_is_said(came: dict[str, Digest | str], name: str, words: str) -> None:
    assert words in str(came[name])


def test_what_a_hostile_file_says_of_other_files_is_never_read(came: dict[str, Digest | str]) -> None:
    assert not any("root:" in str(one) for one in came.values())


def test_far_cells_take_no_room(came: dict[str, Digest | str]) -> None:
    far = came["far cell.xlsx"]
    assert isinstance(far, Digest) and "XFD" in str(far.parts[0]) and len(str(far.parts[0])) < 500


async def _seen_by_ocr() -> dict[str, Digest | str]:
    files = [
        hostile.File("long.png", "image", hostile.drawn("PNG", (3000, 4)), None),
        hostile.File("cut.jpeg", "image", hostile.drawn("JPEG")[:-200], None),
        hostile.File("small.png", "image", hostile.drawn("PNG", (1, 1)), None),
        hostile.File("bomb.png", "image", hostile.png(30_000, 30_000), None),
    ]
    return await digest_all(files, Wanted())


def test_broken_pictures_are_read_or_refused_for_a_model_that_does_not_see_too() -> None:
    came = asyncio.run(_seen_by_ocr())
    assert "no text found" in str(came["small.png"]) and "million" in str(came["bomb.png"])
    assert came["cut.jpeg"] == "It is broken."


# ---------------------------------------------------------------------------------------------------- the jail

TRIES = """
    import os, socket
    from antiphon.media.jail import Jail
    def tried(what, act):
        try:
            act()
        except OSError as error:
            print(what, "refused", error.errno)
        else:
            print(what, "done")
    tried("fork", lambda: os.fork() or os._exit(0))
    Jail().enter(20, 2**31)
    tried("socket", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    tried("local socket", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
    tried("write", lambda: open("/tmp/antiphon-jail-test", "w"))
    tried("passwords", lambda: open("/etc/passwd"))
    tried("processes", lambda: open("/proc/1/environ"))
    tried("fork", lambda: os.fork() or os._exit(0))
    tried("program", lambda: os.execv("/bin/true", ["true"]))
    tried("signal", lambda: os.kill(os.getppid(), 0))
    tried("library", lambda: open(os.__file__).close())
    try:
        bytearray(2**31)
    except MemoryError:
        print("memory refused")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="seccomp and Landlock are Linux's")
def test_the_jail_has_no_network_no_programs_and_few_files() -> None:
    async def run() -> list[str]:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", textwrap.dedent(TRIES)), stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        return out.decode().splitlines()

    said = asyncio.run(run())
    assert said[0] == "fork done" and "library done" in said and "memory refused" in said
    for what in ("socket", "local socket", "write", "passwords", "processes", "fork", "program", "signal"):
        assert any(line.startswith(f"{what} refused") for line in said), (what, said)
