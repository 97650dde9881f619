"""The tool code_execution: its steps, its files, its limits; on a real sandbox, and on one that plays what it is told."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import wire
from antiphon.ports import Outcome, Ran, Session, Use
from antiphon.sandbox.boxes import Boxes
from antiphon.tools.code_execution import MOST_FIGURES, CodeExecution, bounded, plain

CSV = base64.b64encode(b"name,age\nAda,36\nBob,41\n").decode()


class PlayedBox:
    """A box that says what it was told to, and keeps what it was given."""

    def __init__(self, ran: Ran) -> None:
        self.ran = ran
        self.files: dict[str, bytes] = {}
        self.cells: list[tuple[str, str, float]] = []
        self.closed = 0

    async def put(self, name: str, content: bytes) -> None:
        if len(content) > 1000:
            raise ValueError("more than 1000 bytes")
        self.files[name] = content

    async def run(self, code: str, language: Literal["python", "bash"] = "python", seconds: float = 30.0) -> Ran:
        self.cells.append((code, language, seconds))
        return self.ran

    async def aclose(self) -> None:
        self.closed += 1


class PlayedSandbox:
    """Gives one box out; `fault` is why there is none."""

    def __init__(self, ran: Ran | None = None, fault: str = "") -> None:
        self.box = PlayedBox(ran or Ran(output="", ok=True))
        self.fault = fault
        self.opened = 0

    async def probe(self, *, warm: bool = True) -> str:
        if self.fault:
            raise wire.Unavailable(self.fault)
        return "played"

    async def open(self) -> PlayedBox:
        await self.probe()
        self.opened += 1
        return self.box

    async def aclose(self) -> None:
        pass


def use(*contents: Any, room: int = 16_000) -> Use:
    steps = [wire.UserInputStep(content=list(contents))] if contents else []
    return Use(project="p", interaction="i", declared=wire.CodeExecution(), steps=steps, room=room)


def session_of(sandbox: Any, used: Use | None = None, **options: Any) -> Session:
    return asyncio.run(CodeExecution(sandbox=sandbox, **options).open(used or use()))


def run(session: Session, arguments: dict[str, Any]) -> Outcome:
    return asyncio.run(session.run(session.call("c1", "code_execution", arguments)))


# ---------------------------------------------------------------------------------------------------- steps


def test_the_model_is_offered_one_function_that_takes_code():
    (function,) = session_of(PlayedSandbox()).functions
    assert function.name == "code_execution"
    assert function.parameters is not None
    assert list(function.parameters["properties"]) == ["code"] and function.parameters["required"] == ["code"]


def test_an_agent_is_offered_bash_as_well():
    sandbox = PlayedSandbox()
    session = session_of(sandbox, bash=True, seconds=5.0)
    (function,) = session.functions
    assert function.parameters is not None
    assert function.parameters["properties"]["language"]["enum"] == ["python", "bash"]
    run(session, {"code": "ls", "language": "bash"})
    assert sandbox.box.cells == [("ls", "bash", 5.0)]


def test_a_call_shows_code_and_language_and_its_result_what_was_printed():
    session = session_of(PlayedSandbox(Ran(output="4\n", ok=True)))
    call = session.call("c1", "code_execution", {"code": "2 + 2"})
    assert call == wire.CodeExecutionCallStep(
        id="c1", arguments=wire.CodeExecutionArguments(code="2 + 2", language="python")
    )
    assert session.owns(call)
    outcome = asyncio.run(session.run(call))
    assert outcome.step == wire.CodeExecutionResultStep(call_id="c1", result="4\n", is_error=False)
    assert not outcome.trusted


@pytest.mark.parametrize("fence", ["```python\nx = 1\n```", "```\nx = 1\n```", "\n```py\nx = 1```\n", "x = 1"])
def test_the_fence_that_models_put_around_code_is_taken_off(fence):
    call = session_of(PlayedSandbox()).call("c1", "code_execution", {"code": fence})
    assert isinstance(call, wire.CodeExecutionCallStep) and call.arguments is not None
    assert call.arguments.code == "x = 1"


@pytest.mark.parametrize(
    "arguments", [{}, {"code": None}, {"code": 3}, {"code": " \n"}, {"other": "x"}, {"code": ["x"]}]
)
def test_a_call_without_code_is_an_error_that_the_model_reads(arguments):
    sandbox = PlayedSandbox()
    outcome = run(session_of(sandbox), arguments)
    assert isinstance(outcome.step, wire.CodeExecutionResultStep)
    assert outcome.step.is_error and "no code" in str(outcome.step.result)
    assert sandbox.opened == 0


def test_bash_is_refused_where_it_was_not_offered():
    outcome = run(session_of(PlayedSandbox()), {"code": "ls", "language": "bash"})
    assert isinstance(outcome.step, wire.CodeExecutionResultStep)
    assert outcome.step.is_error and outcome.step.result == "Only Python can be run."


def test_a_call_that_comes_back_from_disk_without_its_arguments_is_an_error():
    outcome = asyncio.run(session_of(PlayedSandbox()).run(wire.CodeExecutionCallStep(id="c1")))
    assert isinstance(outcome.step, wire.CodeExecutionResultStep) and outcome.step.is_error


def test_output_is_cut_in_the_middle_and_that_is_said():
    output = "\n".join(f"line {number}" for number in range(10_000))
    outcome = run(session_of(PlayedSandbox(Ran(output=output, ok=True)), use(room=500)), {"code": "x"})
    assert isinstance(outcome.step, wire.CodeExecutionResultStep) and isinstance(outcome.step.result, str)
    assert len(outcome.step.result) <= 500
    assert outcome.step.result.startswith("line 0\n") and outcome.step.result.endswith("line 9999")
    assert "characters left out" in outcome.step.result


@given(st.text(alphabet="ab\n", max_size=600), st.integers(100, 500))
def test_cut_text_is_never_longer_than_it_may_be_and_keeps_its_ends(text, most):
    cut = bounded(text, most)
    assert len(cut) <= most
    assert cut == text if len(text) <= most else cut[:5] == text[:5] and cut[-5:] == text[-5:]


def test_figures_are_images_and_the_model_is_told_that_they_are_shown():
    figures = tuple(("image/png", bytes([number])) for number in range(MOST_FIGURES + 2))
    outcome = run(session_of(PlayedSandbox(Ran(output="", ok=True, figures=figures))), {"code": "x"})
    assert len(outcome.figures) == MOST_FIGURES
    assert outcome.figures[1] == wire.ImageContent(data="AQ==", mime_type="image/png")
    assert "2 pictures are left out" in outcome.reading and "Shown to the user: 10 pictures" in outcome.reading


def test_code_that_prints_nothing_is_told_to_have_printed_nothing():
    outcome = run(session_of(PlayedSandbox()), {"code": "x = 1"})
    assert isinstance(outcome.step, wire.CodeExecutionResultStep)
    assert outcome.step.result == "" and outcome.reading == "(It printed nothing.)"


# ---------------------------------------------------------------------------------------------------- no sandbox


def test_where_there_is_no_sandbox_a_request_is_refused_with_the_reason():
    async def test() -> None:
        with pytest.raises(wire.InvalidRequest, match=r"'tools\[0\]': code_execution is not available here. Because."):
            await CodeExecution(sandbox=PlayedSandbox(fault="Because.")).check(wire.CodeExecution(), "p", "tools[0]")
        await CodeExecution(sandbox=PlayedSandbox()).check(wire.CodeExecution(), "p", "tools[0]")

    asyncio.run(test())


def test_a_sandbox_that_is_full_is_an_error_that_the_model_reads():
    outcome = run(session_of(PlayedSandbox(fault="32 sandboxes are in use.")), {"code": "1"})
    assert isinstance(outcome.step, wire.CodeExecutionResultStep)
    assert outcome.step.is_error and "32 sandboxes are in use." in str(outcome.step.result)


def test_it_has_no_settings():
    with pytest.raises(ValueError, match="no settings"):
        CodeExecution("something", sandbox=PlayedSandbox())


# ---------------------------------------------------------------------------------------------------- files


def test_given_files_are_laid_at_the_first_call_and_the_model_is_told_their_names():
    sandbox = PlayedSandbox()
    contents = (
        wire.TextContent(text="Who is older?"),
        wire.DocumentContent(data=CSV, mime_type="text/csv"),
        wire.DocumentContent(data=base64.b64encode(b"other").decode(), mime_type="text/csv"),
        wire.DocumentContent(data=CSV, mime_type="text/csv"),
        wire.ImageContent(data="AQID", mime_type="image/jpeg"),
        wire.VideoContent(data="AQID", mime_type="video/mp4", name="../../My film?.mp4"),
    )
    session = session_of(sandbox, use(*contents))
    for name in ("document.csv (text/csv)", "document_2.csv", "image.jpg (image/jpeg)"):
        assert f"- {name}" in session.instructions
    assert sandbox.opened == 0
    run(session, {"code": "1"})
    run(session, {"code": "2"})
    assert sandbox.opened == 1
    assert sandbox.box.files["document.csv"] == base64.b64decode(CSV)
    assert sandbox.box.files["document_2.csv"] == b"other"
    assert sandbox.box.files["image.jpg"] == b"\x01\x02\x03"


def test_a_file_by_uri_is_fetched_for_its_project_and_one_that_is_not_there_is_told():
    async def files(project: str, uri: str) -> tuple[str, bytes]:
        if project != "p" or not uri.endswith("/known"):
            raise wire.NotFound("There is no such file.")
        return "Sales 2026.xlsx", b"cells"

    sandbox = PlayedSandbox()
    contents = (
        wire.DocumentContent(uri="https://here/v1beta/files/known"),
        wire.DocumentContent(uri="https://here/v1beta/files/lost"),
    )
    session = session_of(sandbox, use(*contents), files=files)
    assert "- Sales_2026.xlsx" in session.instructions
    assert "- lost could not be had: There is no such file." in session.instructions
    run(session, {"code": "1"})
    assert sandbox.box.files == {"Sales_2026.xlsx": b"cells"}


def test_files_that_cannot_be_laid_are_told_with_the_first_result():
    sandbox = PlayedSandbox(Ran(output="out\n", ok=True))
    contents = (
        wire.DocumentContent(data=base64.b64encode(bytes(2000)).decode(), mime_type="application/pdf"),
        wire.ImageContent(data="AQID", mime_type="image/png"),
    )
    session = session_of(sandbox, use(*contents))
    first, second = run(session, {"code": "1"}), run(session, {"code": "1"})
    assert isinstance(first.step, wire.CodeExecutionResultStep) and isinstance(
        second.step, wire.CodeExecutionResultStep
    )
    assert first.step.result == "[The file document.pdf is not there: more than 1000 bytes]\nout\n"
    assert second.step.result == "out\n"


@given(st.text(max_size=200))
def test_every_name_becomes_one_that_a_box_takes(name):
    from antiphon.sandbox.box import _PLAIN

    assert _PLAIN.fullmatch(plain(name)), plain(name)


# ---------------------------------------------------------------------------------------------------- for real


@pytest.fixture(scope="module")
def real() -> Iterator[Callable[[Callable[[Boxes], Awaitable[None]]], None]]:
    """A real sandbox, in a loop that all tests share."""
    with asyncio.Runner() as runner:
        boxes = Boxes(spares=0)
        yield lambda test: runner.run(asyncio.wait_for(test(boxes), 60))
        runner.run(boxes.aclose())


def test_a_model_works_with_a_given_file_in_several_calls(real):
    pytest.importorskip("pandas")

    async def test(boxes: Boxes) -> None:
        tool = CodeExecution(sandbox=boxes)
        session = await tool.open(use(wire.DocumentContent(data=CSV, mime_type="text/csv")))
        for code, expected in (
            ("import pandas as pd\ntable = pd.read_csv('document.csv')", ""),
            ("table['age'].mean()", "np.float64(38.5)\n"),
            ("print(table.name.tolist())", "['Ada', 'Bob']\n"),
        ):
            outcome = await session.run(session.call("c", "code_execution", {"code": code}))
            assert isinstance(outcome.step, wire.CodeExecutionResultStep)
            assert (outcome.step.result, outcome.step.is_error) == (expected, False)
        drawn = await session.run(session.call("c", "code_execution", {"code": "table.plot.bar();"}))
        assert len(drawn.figures) == 1 and str(drawn.figures[0].data).startswith("iVBORw0KGgo")
        await session.aclose()
        assert boxes._open == set()

    real(test)


def test_each_interaction_has_a_box_of_its_own(real):
    async def test(boxes: Boxes) -> None:
        tool = CodeExecution(sandbox=boxes)
        one, other = await tool.open(use()), await tool.open(use())
        await one.run(one.call("c", "code_execution", {"code": "secret = 1"}))
        outcome = await other.run(other.call("c", "code_execution", {"code": "secret"}))
        assert isinstance(outcome.step, wire.CodeExecutionResultStep)
        assert outcome.step.is_error and "NameError" in str(outcome.step.result)
        await one.aclose()
        await other.aclose()

    real(test)


@pytest.mark.parametrize("library", ["numpy", "pandas", "matplotlib", "scipy", "sympy", "PIL"])
def test_the_libraries_of_the_extra_work_in_a_box(real, library):
    pytest.importorskip(library)
    cells = {
        "numpy": "import numpy as np; print(int(np.linalg.det(np.eye(3)) + 0.5))",
        "pandas": "import pandas as pd; print(int(pd.Series([1]).sum()))",
        "matplotlib": "import matplotlib; print(1 if matplotlib.__version__ else 0)",
        "scipy": "import scipy.optimize; print(round(scipy.optimize.brentq(lambda x: x - 1, 0, 3)))",
        "sympy": "import sympy; x = sympy.Symbol('x'); print(sympy.integrate(2 * x, (x, 0, 1)))",
        "PIL": "from PIL import Image; print(Image.new('L', (1, 1), 1).getpixel((0, 0)))",
    }

    async def test(boxes: Boxes) -> None:
        session = await CodeExecution(sandbox=boxes).open(use())
        outcome = await session.run(session.call("c", "code_execution", {"code": cells[library]}))
        assert isinstance(outcome.step, wire.CodeExecutionResultStep)
        assert outcome.step.result == "1\n"
        await session.aclose()

    real(test)
