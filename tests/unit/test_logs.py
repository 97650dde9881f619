"""Lines of the log: what they are about, in both forms."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Iterator

import pytest

from antiphon import logs, wire
from records import Clock, record


class Lines(logging.Handler):
    """Keeps lines as a formatter makes them."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(self.format(record))


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    own = logging.getLogger("antiphon.interactions")
    level = own.level
    own.setLevel(logging.INFO)
    yield own
    own.setLevel(level)
    own.handlers.clear()


def attached(logger: logging.Logger, formatter: logging.Formatter) -> Lines:
    handler = Lines(formatter)
    logger.addHandler(handler)
    return handler


def test_a_line_has_what_was_bound_where_it_was_written_and_nothing_of_others(logger: logging.Logger) -> None:
    handler = attached(logger, logs.Json())

    async def work(id: str) -> None:
        logs.bind(interaction=id, attempt=1, key="")
        await asyncio.sleep(0)
        logger.warning("said %s", "it")

    async def body() -> None:
        await asyncio.gather(work("v1_a"), work("v1_b"))
        logger.warning("outside")

    asyncio.run(body())
    a, b, outside = map(json.loads, handler.lines)
    assert (a["interaction"], b["interaction"]) == ("v1_a", "v1_b")
    assert (a["message"], a["level"], a["attempt"]) == ("said it", "warning", 1)
    assert "interaction" not in outside and "key" not in a


def test_what_a_task_starts_is_about_the_same(logger: logging.Logger) -> None:
    handler = attached(logger, logs.Text())

    async def inner() -> None:
        logger.warning("deep")

    async def body() -> None:
        logs.bind(interaction="v1_a", project="p")
        await asyncio.create_task(inner())

    asyncio.run(body())
    assert handler.lines[0].endswith("WARNING antiphon.interactions: deep (interaction=v1_a, project=p)")


def test_nobody_writes_a_line_of_his_own(logger: logging.Logger) -> None:
    handler = attached(logger, logs.Text())
    logger.warning("no such model: %s", "x\r\n2026-11-23 00:00:00,000 INFO antiphon: all is well")
    [line] = handler.lines
    assert "\n" not in line and "\r" not in line and "x\\r\\n2026" in line


def test_a_traceback_is_one_line_of_json_and_follows_a_line_of_text(logger: logging.Logger) -> None:
    as_json, as_text = attached(logger, logs.Json()), attached(logger, logs.Text())
    try:
        raise ValueError("why")
    except ValueError:
        logger.exception("broken")
    [line] = as_json.lines
    assert "\n" not in line and json.loads(line)["exception"].endswith("ValueError: why")
    first, *rest = as_text.lines[0].splitlines()
    assert first.endswith("broken") and rest[-1] == "ValueError: why"


@pytest.mark.parametrize("content", [False, True])
def test_an_interaction_that_ended_is_told_with_its_figures_and_its_content_only_if_asked_for(
    logger: logging.Logger, content: bool
) -> None:
    handler, clock = attached(logger, logs.Json()), Clock()
    clock.now += 2.5
    one = record(key="k1", input=[wire.UserInputStep(content=[wire.TextContent(text="swordfish")])])
    usage = wire.Usage(total_input_tokens=3, total_output_tokens=4)
    logs.Journal(content=content, clock=clock).ends(one, "completed", usage)
    line = json.loads(handler.lines[0])
    expected = {"interaction": one.id, "project": "p", "key": "k1", "status": "completed", "seconds": 2.5}
    assert {name: line[name] for name in expected} == expected
    assert (line["input_tokens"], line["output_tokens"]) == (3, 4)
    assert ("swordfish" in handler.lines[0]) is content


def test_a_name_that_somebody_made_up_does_not_fill_the_log(logger: logging.Logger) -> None:
    handler = attached(logger, logs.Json())
    logs.Journal(clock=Clock()).ends(record(model="gemini-" + "1-" * 50_000), "completed", None)
    assert len(handler.lines[0]) < 600


def test_configured_lines_go_to_standard_error(capsys: pytest.CaptureFixture[str]) -> None:
    before, level = logging.root.handlers[:], logging.root.level
    try:
        logs.configure("info", "json")
        logging.getLogger("antiphon.test").info("hello")
        logging.getLogger("antiphon.test").debug("not this")
    finally:
        logging.root.handlers[:] = before
        logging.root.setLevel(level)
    assert json.loads(capsys.readouterr().err)["message"] == "hello"
