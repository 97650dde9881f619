"""Inside of a box: runs cells of code one after the other in one interpreter, and says what came of each.

Its text is given to `python -c`: it imports the standard library only and nothing of ours. Requests come on stdin, a
length and JSON each (and a file's bytes); answers go out on a pipe of their own, a letter, a length and bytes each:
`f` is a figure as PNG, `e` ends an answer. What code prints goes to the server by the two standard streams, which are
one pipe. Code can do here what it likes, to this program too: nothing outside trusts what comes from here.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import functools
import importlib.abc
import importlib.machinery
import importlib.util
import io
import json
import linecache
import os
import resource
import struct
import subprocess
import sys
import traceback
import types
import warnings
from collections.abc import Callable
from typing import Any, BinaryIO, TextIO

LONGEST_VALUE = 20_000  # characters of a shown value
MOST_FIGURES = 10
LARGEST_FIGURE = 4 * 2**20
_FIGURES = "box_figures"  # MPLBACKEND is module://box_figures


def main() -> None:
    """`argv[1]` is JSON: `limits` and the number of the pipe for `answers`."""
    asked = json.loads(sys.argv[1])
    sys.argv = [""]
    for first, last in ((3, asked["answers"]), (asked["answers"] + 1, 1024)):
        os.closerange(first, last)
    limit(asked["limits"])
    Driver(asked["answers"]).serve()


def limit(limits: dict[str, int]) -> None:
    """For this process and its children, each; what they use together is the server's to watch."""
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w", encoding="ascii") as file:  # noqa: PTH123
        file.write("1000")  # a machine short of memory ends boxes first; where there is no /proc, it was written before
    for kind, most in (
        (resource.RLIMIT_AS, limits["memory"]),
        (resource.RLIMIT_FSIZE, limits["disk"]),
        (resource.RLIMIT_NPROC, limits["processes"]),
        (resource.RLIMIT_NOFILE, limits["files"]),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_MEMLOCK, 0),
    ):
        resource.setrlimit(kind, (most, most))


class Driver:
    """One interpreter's state, and its two pipes."""

    def __init__(self, answers: int) -> None:
        nothing = os.open("/dev/null", os.O_RDONLY)
        self._requests: BinaryIO = os.fdopen(os.dup(0), "rb")
        os.dup2(nothing, 0)
        os.close(nothing)
        os.set_inheritable(answers, False)
        self._answers = answers
        self._out, self._err = _streams()
        sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - open for good
        self._main = types.ModuleType("__main__")
        sys.modules["__main__"] = self._main
        self._cells = self._pictures = 0
        sys.meta_path.insert(0, _Figures(self))
        warnings.filterwarnings("ignore", message=".*non-interactive.*")  # plt.show() with the backend Agg

    def serve(self) -> None:
        """Until the server closes the pipe."""
        self._answer("r", b"")
        while len(head := self._requests.read(4)) == 4:
            asked = json.loads(self._requests.read(struct.unpack("=I", head)[0]))
            content = self._requests.read(asked.get("size", 0))
            if self._out.buffer.closed:
                self._out, self._err = _streams()
            sys.stdout, sys.stderr, self._pictures = self._out, self._err, 0
            ok = self._guarded(functools.partial(self._do, asked, content))
            ok = self._guarded(self.show_figures) and ok
            self._end(asked["number"], ok)

    def _guarded(self, action: Callable[[], bool]) -> bool:
        try:
            return action()
        except BaseException as error:  # noqa: BLE001 - whatever user code raises
            return self._fault(error)

    def _do(self, asked: dict[str, Any], content: bytes) -> bool:
        if asked["do"] == "warm":
            return _warm(asked["modules"])
        if asked["do"] == "put":
            return _put(asked["name"], content)
        if asked["do"] == "bash":
            return self._bash(asked["code"])
        return self._python(asked["code"])

    def _end(self, number: int, ok: bool) -> None:
        try:
            for stream in {sys.stdout, sys.stderr, self._out}:
                stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # the code closed or replaced it
        self._answer("e", json.dumps({"number": number, "ok": ok}).encode())

    def _answer(self, kind: str, payload: bytes) -> None:
        left = memoryview(kind.encode() + struct.pack("=I", len(payload)) + payload)
        while left:
            left = left[os.write(self._answers, left) :]

    # ------------------------------------------------------------------------------------------------ python

    def _python(self, code: str) -> bool:
        self._cells += 1
        name = f"<cell {self._cells}>"
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)  # lines in tracebacks
        tree = ast.parse(code, name)
        last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
        names = self._main.__dict__
        exec(compile(tree, name, "exec"), names)  # noqa: S102 - what the box is for
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), name, "eval"), names)  # noqa: S307
            if value is not None:
                builtins._ = value  # type: ignore[attr-defined]
                self._show(value)
        return True

    def _show(self, value: object) -> None:
        """A last expression's value, as a notebook shows it."""
        picture = getattr(value, "_repr_png_", None)
        png = picture() if callable(picture) and not isinstance(value, type) else None
        if isinstance(png, bytes):
            self._picture(png)
            return
        text = repr(value)
        if len(text) > LONGEST_VALUE:
            text = f"{text[:LONGEST_VALUE]} … ({len(text)} characters)"
        _say(text)

    def _fault(self, error: BaseException) -> bool:
        """Show an exception as Python does, without this program's own frames. True for a `sys.exit()` that means well."""
        if isinstance(error, SystemExit) and error.code in (None, 0):
            return True
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_code.co_filename == main.__code__.co_filename:
            trace = trace.tb_next
        try:
            lines = traceback.format_exception(type(error), error, trace)
            sys.stderr.write("".join(lines))
        except BaseException:  # noqa: BLE001 - no memory left, a broken __str__, a closed stream
            with contextlib.suppress(OSError):  # closed as well
                os.write(2, f"{type(error).__name__}\n".encode())
        return False

    # ------------------------------------------------------------------------------------------------ figures

    def show_figures(self) -> bool:
        """Give out all figures that are open, and close them. Where pyplot is not loaded, there are none."""
        pyplot = sys.modules.get("matplotlib.pyplot")
        if pyplot is None:
            return True
        try:
            for number in pyplot.get_fignums():
                drawn = io.BytesIO()
                pyplot.figure(number).savefig(drawn, format="png", bbox_inches="tight")
                self._picture(drawn.getvalue())
        finally:
            pyplot.close("all")
        return True

    def _picture(self, png: bytes) -> None:
        self._pictures += 1
        if self._pictures > MOST_FIGURES:
            _say(f"[this picture is left out: it is number {self._pictures}, and there can be {MOST_FIGURES}]")
        elif len(png) > LARGEST_FIGURE:
            _say(f"[a picture of {len(png)} bytes is left out: at most {LARGEST_FIGURE}]")
        else:
            self._answer("f", png)

    # ------------------------------------------------------------------------------------------------ bash

    def _bash(self, code: str) -> bool:
        """In a shell of its own; its folder and its exported variables are there for the next one, and for Python."""
        self._out.flush()
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as left:
            # The trap tells where the shell was when it ended; code that sets its own just does not have that.
            trap = f"trap 'pwd -P >&{writing}; env -0 >&{writing}' EXIT\n"
            shell = subprocess.Popen(["/bin/bash", "-c", trap + code], stdin=subprocess.DEVNULL, pass_fds=(writing,))  # noqa: S603
            os.close(writing)
            status = shell.wait()
            os.set_blocking(reading, False)  # something in the background may hold the other end
            told = left.read() or b""
        folder, _, variables = told.partition(b"\n")
        if os.path.isdir(folder):  # noqa: PTH112
            os.chdir(folder)
            os.environ.update(
                (os.fsdecode(name), os.fsdecode(value))
                for name, _, value in (pair.partition(b"=") for pair in variables.split(b"\0") if b"=" in pair)
            )
        if status:
            _say(f"[exit status {status}]")
        return status == 0


def _streams() -> tuple[TextIO, TextIO]:
    """Both through one buffer, a line at a time: what is printed comes in the order it was printed in."""
    both = io.BufferedWriter(io.FileIO(1, "w", closefd=False))
    options: dict[str, Any] = {"encoding": "utf-8", "line_buffering": True, "write_through": True}
    return io.TextIOWrapper(both, **options), io.TextIOWrapper(both, errors="backslashreplace", **options)


def _say(words: str) -> None:
    sys.stdout.write(f"{words}\n")


def _warm(modules: list[str]) -> bool:
    """Import what programs mostly want, before anybody waits for it."""
    for name in modules:
        if importlib.util.find_spec(name.partition(".")[0]) is not None:
            importlib.import_module(name)
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:  # the first picture looks for fonts
        pyplot.figure().add_subplot().set_title("_")
        pyplot.savefig(io.BytesIO(), format="png", bbox_inches="tight")
        pyplot.close("all")
    return True


def _put(name: str, content: bytes) -> bool:
    handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o644)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    return True


class _Figures(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """A backend for matplotlib that is Agg but for `show()`, which gives the open figures out and closes them."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def find_spec(self, name: str, path: object = None, target: object = None) -> importlib.machinery.ModuleSpec | None:
        return importlib.machinery.ModuleSpec(name, self) if name == _FIGURES else None

    def exec_module(self, module: types.ModuleType) -> None:
        bases = importlib.import_module("matplotlib.backend_bases")
        agg = importlib.import_module("matplotlib.backends.backend_agg")
        show = classmethod(lambda _, *, block=None: self._driver.show_figures())
        manager = type("Manager", (bases.FigureManagerBase,), {"pyplot_show": show})
        canvas = type("Canvas", (agg.FigureCanvasAgg,), {"manager_class": manager})
        module.__dict__.update(FigureCanvas=canvas, FigureManager=manager)


if __name__ == "__main__":
    main()
