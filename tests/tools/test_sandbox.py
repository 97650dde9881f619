"""What a box does for honest code, and what it says when code is not: both jails, as whoever runs the tests."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop

from antiphon import wire
from antiphon.sandbox import compiled, confine, jails
from antiphon.sandbox.box import Box
from antiphon.sandbox.boxes import Boxes
from antiphon.sandbox.jails import Limits
from antiphon.sandbox.process import Gone

LIMITS = Limits(memory=600 * 2**20, disk=32 * 2**20, processes=24)
Test = Callable[[Box, Boxes], Awaitable[None]]
PNG = b"\x89PNG\r\n\x1a\n"


class Jailer:
    """A loop and a sandbox that many tests share: finding out which jail holds is slower than a box."""

    def __init__(self, jail: Any) -> None:
        self._jail = jail
        self.place = Path(tempfile.mkdtemp())  # pytest's own folders can be entered by their owner only
        self.place.chmod(0o1777)
        self._runner = asyncio.Runner(loop_factory=uvloop.new_event_loop)  # as the server has it
        self._shared = Boxes(jail, limits=LIMITS, spares=0)
        self._runner.run(self._shared.probe())

    def __call__(self, test: Test, **options: Any) -> None:
        """Run the test with a box, of the shared sandbox or of one with these options; nothing may be left of it."""
        known, handles = set(confine.descendants(os.getpid())), len(list(Path("/proc/self/fd").iterdir()))
        before, tempfile.tempdir = tempfile.tempdir, str(self.place)
        try:
            self._runner.run(asyncio.wait_for(self._whole(test, options), 60))
        finally:
            tempfile.tempdir = before
        assert set(confine.descendants(os.getpid())) <= known
        assert len(list(Path("/proc/self/fd").iterdir())) <= handles
        assert list(self.place.iterdir()) == []

    async def _whole(self, test: Test, options: dict[str, Any]) -> None:
        boxes = Boxes(self._jail, **{"limits": LIMITS, "spares": 0, **options}) if options else self._shared
        box = await boxes.open()
        try:
            await test(box, boxes)
        finally:
            await box.aclose()
            if options:
                await boxes.aclose()

    def close(self) -> None:
        self._runner.run(self._shared.aclose())
        self._runner.close()
        self.place.rmdir()


@pytest.fixture(scope="module", params=["bubblewrap", "landlock"])
def sandbox(request: pytest.FixtureRequest) -> Iterator[Jailer]:
    """`sandbox(test)` runs `test(box, boxes)`."""
    jailer = Jailer(request.param)
    yield jailer
    jailer.close()


# ---------------------------------------------------------------------------------------------------- python


def test_variables_functions_and_imports_are_kept_from_one_run_to_the_next(sandbox):
    async def test(box: Box, _: Boxes) -> None:
        await box.run("import math\nx = 20\ndef double(n):\n    return 2 * n")
        assert (await box.run("print(double(x) + math.floor(2.5))")).output == "42\n"

    sandbox(test)


def test_the_value_of_a_last_expression_is_shown_as_a_notebook_shows_it(sandbox):
    async def test(box: Box, _: Boxes) -> None:
        assert (await box.run("1 + 1")).output == "2\n"
        assert (await box.run("_ * 2")).output == "4\n"
        assert (await box.run("None")).output == ""
        assert (await box.run("'text'")).output == "'text'\n"
        assert (await box.run("2 + 2;")).output == "4\n"
        long = await box.run("'x' * 1_000_000")
        assert len(long.output) < 21_000 and "(1000002 characters)" in long.output

    sandbox(test)


def test_both_streams_and_those_of_other_programs_come_in_order(sandbox):
    code = """
import os, subprocess, sys
print("one")
print("two", file=sys.stderr)
os.system("echo three")
subprocess.run(["sh", "-c", "echo four >&2"])
os.write(1, b"five\\n")
print("six", end="")
"""

    async def test(box: Box, _: Boxes) -> None:
        assert (await box.run(code)).output == "one\ntwo\nthree\nfour\nfive\nsix"

    sandbox(test)


def test_an_exception_is_shown_with_its_lines_and_without_the_drivers(sandbox):
    async def test(box: Box, _: Boxes) -> None:
        ran = await box.run("def half(n):\n    return n / 0\n\nhalf(3)")
        assert not ran.ok
        assert ran.output.startswith(
            'Traceback (most recent call last):\n  File "<cell 1>", line 4, in <module>\n    half(3)'
        )
        assert "return n / 0" in ran.output and ran.output.endswith("ZeroDivisionError: division by zero\n")
        assert (await box.run("print(1)\nprint((")).output.endswith("SyntaxError: '(' was never closed\n")
        assert (await box.run("1")).ok

    sandbox(test)


def test_code_that_exits_reads_stdin_or_breaks_its_own_streams_harms_only_that_run(sandbox):
    cells = {
        "import sys\nprint('a')\nsys.exit()": "a\n",
        "import sys\nsys.exit('bad')": "SystemExit: bad",
        "input()": "EOFError",
        "import sys\nsys.stdout = None": "",
        "import sys\nsys.stdout.close()": "",
        "class Odd:\n    def __repr__(self):\n        raise ValueError('no')\nOdd()": "ValueError: no",
        "class Worse(Exception):\n    def __str__(self):\n        raise KeyboardInterrupt\nraise Worse": "Worse",
        "import threading\nt = threading.Thread(target=lambda: 1 / 0)\nt.start()\nt.join()": "ZeroDivisionError",
        "def f():\n    f()\nf()": "RecursionError",
        "print('\\ud800')": "UnicodeEncodeError",
    }

    async def test(box: Box, _: Boxes) -> None:
        await box.run("kept = 1")
        for code, expected in cells.items():
            ran = await box.run(code)
            assert expected in ran.output, code
        assert (await box.run("print(kept)")).output == "1\n"

    sandbox(test)


def test_functions_can_be_given_to_other_processes(sandbox):
    code = """
import concurrent.futures, multiprocessing
def square(n):
    return n * n
with concurrent.futures.ThreadPoolExecutor(2) as pool:
    print(list(pool.map(square, range(3))))
if __name__ == "__main__":
    process = multiprocessing.get_context("fork").Process(target=lambda: print(square(5)))
    process.start()
    process.join()
"""

    async def test(box: Box, _: Boxes) -> None:
        assert (await box.run(code)).output == "[0, 1, 4]\n25\n"

    sandbox(test)


def test_bytes_that_are_no_text_and_a_flood_of_text_are_shown_as_far_as_they_can(sandbox):
    async def test(box: Box, _: Boxes) -> None:
        assert (await box.run("import os; os.write(1, b'a\\xff\\n'); None")).output == "a\ufffd\n"
        ran = await box.run("for number in range(100_000):\n    print('line', number)")
        assert ran.output.startswith("line 0\n") and ran.output.endswith("line 99999\n")
        assert "bytes left out" in ran.output and len(ran.output) < 210_000

    sandbox(test)


def test_a_flood_without_end_is_ended(sandbox):
    async def test(box: Box, _: Boxes) -> None:
        ran = await box.run("while True:\n    print('x' * 10_000)")
        assert not ran.ok and "printed more than 64 MiB" in ran.output

    sandbox(test)


# ---------------------------------------------------------------------------------------------------- bash


def test_bash_leaves_its_folder_and_its_variables_for_the_next_run(sandbox):
    async def test(box: Box, _: Boxes) -> None:
        ran = await box.run("mkdir -p a/b && cd a/b && export COLOUR=red && echo hi > file; ls /nowhere", "bash")
        assert not ran.ok and ran.output.endswith("[exit status 2]\n")
        assert (await box.run("echo $COLOUR; cat file; exit 0", "bash")).output == "red\nhi\n"
        assert (await box.run("import os\nprint(os.environ['COLOUR'], os.listdir())")).output == "red ['file']\n"
        assert (await box.run('read line; echo "[$line]"', "bash")).output == "[]\n"

    sandbox(test)


# ---------------------------------------------------------------------------------------------------- files


def test_a_file_that_is_given_is_there(sandbox):
    async def test(box: Box, _: Boxes) -> None:
        content = bytes(range(256)) * 40_000
        await box.put("data.bin", content)
        ran = await box.run(
            "data = open('data.bin', 'rb').read()\nprint(len(data), data == bytes(range(256)) * 40_000)"
        )
        assert ran.output == "10240000 True\n"
        await box.put("data.bin", b"new")
        assert (await box.run("print(open('data.bin').read())")).output == "new\n"

    sandbox(test)


def test_a_name_that_is_no_plain_one_is_refused(sandbox):
    async def test(box: Box, _: Boxes) -> None:
        for name in ("", ".", "..", ".hidden", "a/b", "/etc/passwd", "a\0b", "a\nb", "x" * 200, "-rf"):
            with pytest.raises(ValueError, match="plain"):
                await box.put(name, b"")

    sandbox(test)


def test_a_file_is_never_laid_through_a_link_or_into_a_pipe(sandbox):
    async def test(box: Box, _: Boxes) -> None:
        await box.run(
            "import os\nos.symlink('victim', 'link')\nopen('victim', 'w').write('old')\nos.mkdir('folder')\nNone"
        )
        for name in ("link", "folder"):
            with pytest.raises(ValueError, match="cannot be written"):
                await box.put(name, b"new")
        assert (await box.run("open('victim').read()")).output == "'old'\n"

    sandbox(test)


def test_more_than_the_disk_holds_is_refused(sandbox):
    async def test(box: Box, _: Boxes) -> None:
        with pytest.raises(ValueError, match="more than 32 MiB"):
            await box.put("large", bytes(33 * 2**20))

    sandbox(test)


# ---------------------------------------------------------------------------------------------------- figures


def test_figures_come_out_when_they_are_shown_and_when_they_are_open_at_the_end(sandbox):
    pytest.importorskip("matplotlib")
    code = """
import matplotlib.pyplot as plt
plt.plot([1, 2, 3])
plt.show()
plt.figure()
plt.bar([1, 2], [3, 4])
plt.figure()
print("drawn")
"""

    async def test(box: Box, _: Boxes) -> None:
        ran = await box.run(code)
        assert ran.ok and ran.output == "drawn\n"
        assert [kind for kind, _ in ran.figures] == ["image/png"] * 3
        assert all(image.startswith(PNG) for _, image in ran.figures)
        assert (await box.run("print(plt.get_fignums())")).output == "[]\n"
        asked = await box.run("import matplotlib\nmatplotlib.use('Agg')\nplt.plot([1])\nplt.show()\nNone")
        assert asked.ok and asked.output == "" and len(asked.figures) == 1

    sandbox(test, limits=Limits())


def test_there_are_at_most_ten_figures_and_pictures_show_themselves(sandbox):
    pytest.importorskip("PIL")

    async def test(box: Box, _: Boxes) -> None:
        many = await box.run(
            "import matplotlib.pyplot as plt\nfor _ in range(12):\n    plt.figure(figsize=(1, 1))\nNone"
        )
        assert len(many.figures) == 10 and "left out" in many.output
        one = await box.run("from PIL import Image\nImage.new('RGB', (4, 4))")
        assert [image[:8] for _, image in one.figures] == [PNG] and one.output == ""

    sandbox(test, limits=Limits())


# ---------------------------------------------------------------------------------------------------- limits


def test_what_runs_too_long_is_ended_and_the_next_run_begins_anew_with_the_given_files(sandbox):
    async def test(box: Box, _: Boxes) -> None:
        await box.put("given.txt", b"given")
        await box.run("x = 1; open('own.txt', 'w').write('own')")
        ran = await box.run("print('before', flush=True)\nwhile True: pass", seconds=0.3)
        assert not ran.ok
        assert (
            ran.output.startswith("before\n[The code ran longer than 0.3 seconds.")
            and "variables and files are lost" in ran.output
        )
        ran = await box.run("import os\nprint(os.listdir(), 'x' in globals())")
        assert ran.ok and ran.output == "['given.txt'] False\n"

    sandbox(test)


def test_one_process_that_wants_too_much_memory_gets_a_memory_error_and_lives(sandbox):
    async def test(box: Box, _: Boxes) -> None:
        await box.run("kept = 1")
        ran = await box.run("x = []\nwhile True:\n    x.append(bytearray(10_000_000))")
        assert not ran.ok and ran.output.endswith("MemoryError\n")
        assert (await box.run("del x\nprint(kept)")).output == "1\n"

    sandbox(test)


def test_memory_that_forks_share_is_counted_once(sandbox):
    code = """
import os, time
taken = bytearray(os.urandom(1 << 20)) * 150
children = []
for _ in range(8):
    child = os.fork()
    if child == 0:
        time.sleep(0.5)
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
print("all together")
"""

    async def test(box: Box, _: Boxes) -> None:
        assert (await box.run(code)).output == "all together\n"

    sandbox(test)


def test_nothing_of_a_box_runs_between_two_calls(sandbox):
    code = """
import subprocess, threading, time
ticks = []
def tick():
    while True:
        ticks.append(time.monotonic())
        time.sleep(0.001)
threading.Thread(target=tick, daemon=True).start()
child = subprocess.Popen(["sh", "-c", "while :; do :; done"])
while len(ticks) < 3:
    time.sleep(0.001)
"""

    async def test(box: Box, _: Boxes) -> None:
        await box.run(code)
        assert box._process is not None
        below = confine.descendants(box._process.popen.pid)
        assert len(below) >= 2 and {confine.state(process) for process in below} <= {"T"}
        assert (await box.run("print(len(ticks) > 2, child.poll())")).output == "True None\n"

    sandbox(test)


# ---------------------------------------------------------------------------------------------------- broken drivers

# Writes to each handle that is not a standard stream: among them the one for answers.
_EVERYWHERE = """
import os
def everywhere(what):
    for handle in range(3, 64):
        try:
            os.write(handle, what)
        except OSError:
            pass
"""
BROKEN = {
    "writes gibberish": f"{_EVERYWHERE}everywhere(b'gibberish' * 100)",
    "claims a huge answer": f"{_EVERYWHERE}everywhere(b'f' + b'\\xff' * 4)",
    "sends figures without end": f"{_EVERYWHERE}while True:\n    everywhere(b'f\\x01\\0\\0\\0x')",
    "answers for another call": f"{_EVERYWHERE}everywhere(b'e\\x18\\0\\0\\0' + b'{{\"number\":999, \"ok\":true}}')",
    "answers with what is no JSON": f"{_EVERYWHERE}everywhere(b'e\\x02\\0\\0\\0{{{{')",
    "closes everything": "import os\nos.closerange(0, 256)",
    "exits": "import os\nos._exit(3)",
    "kills itself": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "crashes": "import ctypes\nctypes.string_at(0)",
    "becomes another program": "import os\nos.execv('/bin/true', ['true'])",
    "stops itself": "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
}


@pytest.mark.parametrize("how", BROKEN)
def test_a_driver_that_is_broken_ends_its_run_and_the_next_one_begins_anew(sandbox, how):
    async def test(box: Box, _: Boxes) -> None:
        ran = await box.run(BROKEN[how], seconds=3)
        assert not ran.ok and "variables and files are lost" in ran.output
        assert (await box.run("print('anew')")).output == "anew\n"

    sandbox(test)


def test_the_end_of_a_driver_is_told_as_it_was(sandbox):
    async def test(box: Box, _: Boxes) -> None:
        assert "exited with status 3" in (await box.run(BROKEN["exits"])).output
        assert "ended by signal 9" in (await box.run(BROKEN["kills itself"])).output
        assert "ended by signal 11" in (await box.run(BROKEN["crashes"])).output

    sandbox(test)


def test_an_answer_that_was_made_up_before_is_not_taken_for_a_later_one(sandbox):
    code = f"""{_EVERYWHERE}
import json, struct
for ahead in range(2, 8):
    answer = json.dumps({{"number": ahead, "ok": True}}).encode()
    everywhere(b"e" + struct.pack("=I", len(answer)) + answer)
"""

    async def test(box: Box, _: Boxes) -> None:
        await box.run(code)
        assert (await box.run("print('mine')")).output == "mine\n"

    sandbox(test)


# ---------------------------------------------------------------------------------------------------- many


def user_of(box: Box) -> int:
    assert box._process is not None
    return Path(f"/proc/{box._process.popen.pid}").stat().st_uid


def test_boxes_know_nothing_of_each_other(sandbox):
    async def test(box: Box, boxes: Boxes) -> None:
        others = [await boxes.open() for _ in range(3)]
        everybody = [box, *others]
        await asyncio.gather(
            *(one.run(f"x = {number}\nopen('x', 'w').write(str(x))") for number, one in enumerate(everybody))
        )
        seen = await asyncio.gather(*(one.run("print(x, open('x').read())") for one in everybody))
        assert [ran.output for ran in seen] == ["0 0\n", "1 1\n", "2 2\n", "3 3\n"]
        assert len({user_of(one) for one in everybody}) == (4 if os.geteuid() == 0 else 1)
        assert all(user_of(one) > 0 for one in everybody)
        for one in others:
            await one.aclose()

    sandbox(test)


def test_runs_of_one_box_take_turns(sandbox):
    async def test(box: Box, _: Boxes) -> None:
        await box.run("order = []")
        await asyncio.gather(*(box.run(f"order += ['in', {number}, 'out']") for number in range(4)))
        assert (
            await box.run("print(order[::3], order[2::3])")
        ).output == "['in', 'in', 'in', 'in'] ['out', 'out', 'out', 'out']\n"

    sandbox(test)


def test_a_run_that_nobody_waits_for_any_more_is_ended(sandbox):
    async def test(box: Box, _: Boxes) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(box.run("while True: pass"), 0.2)
        assert (await box.run("print('anew')")).output == "anew\n"

    sandbox(test)


def test_a_box_that_is_closed_runs_nothing(sandbox):
    async def test(box: Box, _: Boxes) -> None:
        await box.aclose()
        await box.aclose()
        assert not (await box.run("1")).ok

    sandbox(test)


def test_there_are_only_so_many_boxes(sandbox):
    async def test(box: Box, boxes: Boxes) -> None:
        with pytest.raises(wire.Unavailable, match="1 sandboxes are in use"):
            await boxes.open()
        await box.aclose()
        await (await boxes.open()).aclose()

    sandbox(test, most=1)


def test_a_spare_is_ready_with_its_modules_and_is_replaced(sandbox):
    async def test(box: Box, boxes: Boxes) -> None:
        for _ in range(2):
            assert boxes._refill is not None
            await boxes._refill
            (spare,) = boxes._ready
            taken = await boxes.open()
            assert taken._process is spare
            assert (await taken.run("import sys\nprint('decimal' in sys.modules)")).output == "True\n"

    sandbox(test, spares=1, warm=("decimal", "a_module_that_there_is_not"))


def test_a_spare_that_has_died_is_not_given_out(sandbox):
    async def test(box: Box, boxes: Boxes) -> None:
        assert boxes._refill is not None
        await boxes._refill
        (spare,) = boxes._ready
        spare.popen.kill()
        with pytest.raises(Gone):
            await spare.answer()
        taken = await boxes.open()
        assert (await taken.run("print(1)")).output == "1\n"

    sandbox(test, spares=1, warm=())


def test_a_box_that_ended_between_two_calls_says_that_its_state_is_lost(sandbox):
    async def test(box: Box, _: Boxes) -> None:
        await box.put("given.txt", b"given")
        process = box._process
        assert process is not None
        below = confine.descendants(process.popen.pid)
        process.popen.kill()
        with pytest.raises(Gone):
            await process.answer()
        ran = await box.run("print(open('given.txt').read())")
        assert (
            ran.ok and ran.output.startswith("[The sandbox ended between two calls.") and ran.output.endswith("given\n")
        )
        assert below and {confine.state(each) for each in below} <= {"X", "Z"}

    sandbox(test)


ABANDONED = """
import asyncio, os, sys, tempfile
from antiphon.sandbox import confine
from antiphon.sandbox.boxes import Boxes

async def main():
    tempfile.tempdir = sys.argv[2]
    boxes = Boxes(sys.argv[1], spares=1, warm=())
    box = await boxes.open()
    await boxes._refill
    started = "import os\\nfor _ in range(3):\\n    os.fork()\\nopen('file', 'w').write('x')\\nwhile True: pass"
    running = asyncio.create_task(box.run(started))
    while len(below := confine.descendants(os.getpid())) < 10:
        await asyncio.sleep(0.01)
    print(*below, flush=True)
    await running

asyncio.run(main())
"""


@pytest.mark.parametrize("jail", ["bubblewrap", "landlock"])
def test_a_server_that_is_killed_leaves_nothing_behind(jail):
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o1777)
        command = [sys.executable, "-c", ABANDONED, jail, place]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            assert server.stdout is not None
            ends = [os.pidfd_open(int(process)) for process in server.stdout.readline().split()]
            server.kill()
        assert len(ends) >= 10
        for end in ends:
            ready, _, _ = select.select([end], [], [], 20)
            assert ready, "a process of the box outlives the server"
            os.close(end)
        assert list(Path(place).iterdir()) == []


# ---------------------------------------------------------------------------------------------------- none


def test_where_no_jail_holds_the_reasons_are_given(monkeypatch):
    def broken(*_: object) -> Any:
        raise OSError("forbidden here")

    monkeypatch.setattr(jails.Bubblewrap, "start", broken)
    monkeypatch.setattr(jails.Landlock, "start", broken)

    async def test() -> None:
        boxes = Boxes()
        for _ in range(2):
            with pytest.raises(wire.Unavailable, match=r"bwrap: forbidden here; .*Landlock: forbidden here"):
                await boxes.probe()
        with pytest.raises(wire.Unavailable):
            await boxes.open()
        await boxes.aclose()

    asyncio.run(test())


def test_a_jail_that_lets_code_out_is_not_taken(monkeypatch):
    monkeypatch.setattr("antiphon.sandbox.boxes._HELD", ["something else"])

    async def test() -> None:
        boxes = Boxes()
        with pytest.raises(wire.Unavailable, match="its trial went wrong: kept in"):
            await boxes.probe()
        await boxes.aclose()

    asyncio.run(test())


# ---------------------------------------------------------------------------------------------------- compiled files


def test_packages_without_compiled_files_are_found_and_compiled(tmp_path, monkeypatch):
    package = tmp_path / "a_package_to_compile"
    package.mkdir()
    (package / "__init__.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert compiled.missing(["a_package_to_compile", "a_package_that_there_is_not"]) == [package]
    compiling = compiled.begin([package])
    assert compiling is not None and compiling.wait(60) == 0
    assert compiled.missing(["a_package_to_compile"]) == []
