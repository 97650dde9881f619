"""`mcp_server` against real servers, and against some that lie."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp_servers.hostile import TOOL, hostile, raw, refusing, stream

from antiphon import wire
from antiphon.mcp_client import McpTool, Times
from antiphon.ports import Outcome, Use
from antiphon.tools.mcp_server import McpServers, McpSession, cut, is_allowed, names, offered, shaped
from serving import PATIENCE

HERE = Path(__file__).parent
SDK = Path(__file__).parents[2] / ".sdk"
EVERYTHING = "@modelcontextprotocol/server-everything@2026.8.31"
HASTY = Times(connect=1, listing=2, call=1)


async def here(host: str, port: int) -> list[str]:
    """The addresses of this machine alone: for tests that are not about where a server may be."""
    assert host == "127.0.0.1"
    return [host]


Part = Callable[[McpSession], Awaitable[Any]]


def declared(url: str, **fields: Any) -> wire.McpServer:
    return wire.McpServer(**{"name": "station", "url": url, **fields})


def use(server: wire.McpServer, room: int = 16_000) -> Use:
    return Use(project="p", interaction="i", declared=server, room=room)


def in_session(server: wire.McpServer, part: Part, tool: McpServers | None = None, room: int = 16_000) -> Any:
    """What `part` gives with a session of this server."""

    async def whole() -> Any:
        async with asyncio.timeout(PATIENCE):
            session = await (tool or McpServers(resolve=here)).open(use(server, room))
            try:
                return await part(session)
            finally:
                await session.aclose()

    return asyncio.run(whole())


async def called(session: McpSession, name: str, **arguments: Any) -> Outcome:
    return await session.run(session.call("c1", name, arguments))


def look(server: wire.McpServer) -> Outcome:
    """Call the hostile server's only tool."""
    return in_session(server, lambda session: called(session, "station_look"), McpServers(resolve=here, times=HASTY))


def told(server: wire.McpServer, tool: McpServers | None = None) -> str:
    """What the model is told of a server whose tools cannot be listed."""

    async def part(session: McpSession) -> str:
        assert session.functions == ()
        return session.instructions

    return in_session(server, part, tool or McpServers(resolve=here, times=HASTY))


def text_of(outcome: Outcome) -> str:
    step: Any = outcome.step
    assert isinstance(step.result, str)
    return step.result


# ---------------------------------------------------------------------------------------------------- real servers


@contextmanager
def python_server(port: int = 0) -> Iterator[tuple[subprocess.Popen[str], int]]:
    command = [sys.executable, str(HERE / "mcp_servers" / "sdk_server.py"), str(port)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, int(process.stdout.readline())
        finally:
            process.kill()


@pytest.fixture(scope="module")
def station() -> Iterator[str]:
    """The URL of a server made with the official SDK."""
    with python_server() as (_, port):
        yield f"http://127.0.0.1:{port}/mcp"


def npm_package() -> Path:
    """The folder with the npm server, fetched once; two processes do not meet in it."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("node and npm are not installed")
    SDK.mkdir(exist_ok=True)
    folder, stamp = SDK / "mcp-npm", SDK / "mcp-npm" / "installed"
    with (SDK / "mcp-npm.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.read_text(encoding="utf-8") != EVERYTHING:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            command = [
                npm,
                "install",
                "--prefix",
                str(folder),
                "--no-fund",
                "--no-audit",
                "--ignore-scripts",
                EVERYTHING,
            ]
            done = subprocess.run(command, capture_output=True, text=True, timeout=600)
            assert done.returncode == 0, done.stdout + done.stderr
            stamp.write_text(EVERYTHING, encoding="utf-8")
    return folder / "node_modules" / "@modelcontextprotocol" / "server-everything"


@pytest.fixture(scope="module")
def everything() -> Iterator[str]:
    """The URL of the reference server from npm, which is made with the JavaScript SDK and speaks the older protocol."""
    program = npm_package() / "dist" / "index.js"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    environment = {**os.environ, "PORT": str(port)}
    command = ["node", str(program), "streamableHttp"]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        try:
            assert any("listening" in line.lower() for line in process.stderr)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.kill()


def test_the_tools_of_a_server_are_functions_of_the_model(station):
    async def part(session: McpSession) -> dict[str | None, wire.Function]:
        assert session.instructions == ""
        return {function.name: function for function in session.functions}

    functions = in_session(declared(station), part)
    assert {"station_add", "station_weather", "station_who_am_i_"} <= functions.keys()
    assert functions["station_add"] == wire.Function(
        name="station_add",
        description="Add two numbers.",
        parameters={
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}},
            "required": ["a", "b"],
        },
    )


def test_a_call_and_its_result_are_steps_under_the_servers_own_names(station):
    async def part(session: McpSession) -> Any:
        call = session.call("c1", "station_add", {"a": 1, "b": 2})
        return call, await session.run(call)

    call, outcome = in_session(declared(station), part)
    assert call == wire.McpServerToolCallStep(id="c1", name="add", server_name="station", arguments={"a": 1, "b": 2})
    assert outcome == Outcome(
        step=wire.McpServerToolResultStep(call_id="c1", name="add", server_name="station", result="3", is_error=False)
    )


def test_calls_may_run_at_the_same_time(station):
    async def part(session: McpSession) -> list[Outcome]:
        return await asyncio.gather(*(called(session, "station_add", a=n, b=n) for n in range(20)))

    assert [text_of(outcome) for outcome in in_session(declared(station), part)] == [str(2 * n) for n in range(20)]


def test_the_headers_of_the_declaration_go_with_every_request(station):
    server = declared(station, headers={"X-Station-Key": "an-open-secret"})
    assert text_of(in_session(server, lambda s: called(s, "station_who_am_i_"))) == "an-open-secret"


def test_a_picture_is_image_content_and_the_model_reads_that_there_is_one(station):
    outcome = in_session(declared(station), lambda session: called(session, "station_picture"))
    text, image = outcome.step.result
    assert text == wire.TextContent(text="One pixel")
    assert image.mime_type == "image/png" and image.data.startswith("iVBOR")
    assert outcome.reading == "One pixel\n[image/png]"


def test_a_tool_that_fails_is_an_error_that_the_model_sees(station):
    outcome = in_session(declared(station), lambda session: called(session, "station_fail", reason="because"))
    assert outcome.step.is_error is True and "fail" in text_of(outcome)


def test_arguments_that_do_not_fit_never_leave(station):
    outcome = in_session(declared(station), lambda session: called(session, "station_add", a="one", b=2))
    assert outcome.step.is_error is True
    assert text_of(outcome) == "The arguments do not fit. a: must be integer."


def test_a_tool_that_is_not_there_is_named_with_those_that_are(station):
    server = declared(station, allowed_tools=["add"])
    outcome = in_session(server, lambda session: called(session, "weather", place="Paris"))
    assert outcome.step.is_error is True and text_of(outcome) == "There is no such tool; there are: add."


def test_a_long_result_is_cut_and_says_so(station):
    text = text_of(in_session(declared(station), lambda s: called(s, "station_long_text", lines=3000), room=1000))
    assert len(text) <= 1000 and re.search(r"line \d+\.\n\[Cut here: 1,000 of [\d,]+ characters\.\]$", text)


def test_a_call_that_a_crash_left_behind_is_done_by_the_next_session(station):
    call = msgspec.json.decode(
        b'{"type":"mcp_server_tool_call","id":"c9","name":"add","server_name":"station","arguments":{"a":2,"b":3}}',
        type=wire.Step,
    )
    outcome = in_session(declared(station), lambda session: session.run(call))
    assert outcome.step.call_id == "c9" and outcome.step.result == "5"


def test_a_server_that_dies_is_told_and_asked_again_when_it_is_back():
    with python_server() as (process, port):

        async def part(session: McpSession) -> None:
            assert text_of(await called(session, "station_add", a=1, b=2)) == "3"
            process.kill()
            process.wait()
            lost = await called(session, "station_add", a=1, b=2)
            assert lost.step.is_error is True
            assert text_of(lost).startswith("The MCP server 'station' failed: it ")
            with python_server(port):
                assert text_of(await called(session, "station_add", a=1, b=2)) == "3"

        in_session(declared(f"http://127.0.0.1:{port}/mcp"), part)


def test_several_servers_each_own_their_calls(station, everything):
    async def whole() -> None:
        tool = McpServers(resolve=here)
        one = await tool.open(use(declared(station)))
        two = await tool.open(use(declared(everything, name="reference server")))
        try:
            call = two.call("c1", "reference_server_echo", {"message": "hello"})
            assert two.owns(call) and not one.owns(call)
            assert "hello" in text_of(await two.run(call))
            assert text_of(await called(one, "station_add", a=1, b=1)) == "2"
        finally:
            await one.aclose()
            await two.aclose()

    asyncio.run(whole())


def test_the_reference_server_from_npm_is_understood(everything):
    async def part(session: McpSession) -> None:
        there = {function.name for function in session.functions}
        assert {"everything_echo", "everything_get-sum", "everything_get-tiny-image"} <= there
        assert "5" in text_of(await called(session, "everything_get-sum", a=2, b=3))
        outcome: Any = await called(session, "everything_get-tiny-image")
        assert [type(part) for part in outcome.step.result] == [wire.TextContent, wire.ImageContent]
        structured = await called(session, "everything_get-structured-content", location="New York")
        assert "temperature" in json.loads(text_of(structured))
        linked = await called(session, "everything_get-resource-links", count=2)
        assert "://" in text_of(linked)
        wrong = await called(session, "everything_get-sum", a="two", b=3)
        assert text_of(wrong) == "The arguments do not fit. a: must be number."

    in_session(declared(everything, name="everything"), part)


# ---------------------------------------------------------------------------------------------------- servers that lie

BIG = b"[" + b"0," * (5 * 2**20) + b"0]"
LISTING_FAULTS = {
    "no JSON": (raw(200, b"hello"), "its answer is not|it answered with an error"),
    "HTML": (raw(200, b"<html>", "text/html"), "it answered with an error: Unexpected content type"),
    "another protocol": (raw(200, b'{"ok": true}'), "it answered with an error|its answer is not"),
    "no list": (lambda request, handler: {"tools": 5}, "its answer is not what the protocol prescribes"),
    "no key": (raw(401, b""), "HTTP status 401: it wants other 'headers'"),
    "forbidden": (raw(403, b"{}"), "HTTP status 403: it wants other 'headers'"),
    "broken": (raw(500, b"oh"), "HTTP status 500"),
    "too large": (raw(200, BIG), "its answer is larger than [25] MB"),
    "compressed": (raw(200, b"x" * 20, content_encoding="gzip"), "it sent a compressed answer"),
    "elsewhere": (raw(307, b"", location="http://169.254.169.254/latest"), "not followed"),
    "an error": (refusing("No."), "it answered with an error: No."),
    "deep": (raw(200, b"[" * 100_000), "its answer is not|it answered with an error"),
    "an event that never ends": (
        stream(lambda request: (b"data: " if n == 0 else b"x" * 65536 for n in range(10_000))),
        "its answer is larger than [25] MB|it answered with an error|it gave no answer",
    ),
    "events without end": (
        stream(lambda request: iter(lambda: b'data: {"jsonrpc":"2.0","method":"notifications/message"}\n\n', None)),
        "it gave no answer within|its answer is larger",
    ),
    "for another question": (raw(200, b'{"jsonrpc":"2.0","id":999,"result":{"tools":[]}}'), "it gave no answer"),
    "a stream that breaks": (stream(lambda request: iter([b": hello\n\n"])), "it answered with an error"),
    "come back at once": (stream(lambda request: iter([b"id: 1\nretry: 0\ndata:\n\n"])), "HTTP status 404"),
}


@pytest.mark.parametrize("fault", LISTING_FAULTS)
def test_a_server_that_lies_when_it_lists_its_tools_is_told_to_the_model_in_words(fault):
    method, words = LISTING_FAULTS[fault]
    began = time.monotonic()
    with hostile({"tools/list": method}) as server:
        said = told(declared(server.url, headers={"x-secret": "do-not-tell"}))
    assert re.search(words, said) and "The MCP server 'station' cannot be used now: " in said
    assert "do-not-tell" not in said and len(said) < 600
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("fault", LISTING_FAULTS)
def test_a_server_that_lies_about_a_call_is_an_error_that_the_model_sees(fault):
    method, words = LISTING_FAULTS[fault]
    if fault == "no list":
        method = lambda request, handler: {"content": [{"type": "sound"}]}  # noqa: E731
    with hostile({"tools/call": method}) as server:
        outcome = look(declared(server.url))
    step: Any = outcome.step
    assert step.is_error is True and step.call_id == "c1" and not outcome.trusted
    assert re.search(words, text_of(outcome)) and len(text_of(outcome)) < 600


@pytest.mark.parametrize("method", ["initialize", "tools/list", "tools/call"])
def test_a_server_that_stays_silent_is_not_waited_for(method):
    began = time.monotonic()
    with hostile({method: lambda request, handler: server.over.wait(PATIENCE)}) as server:
        if method == "tools/call":
            assert "it gave no answer " in text_of(look(declared(server.url)))
        else:
            assert "it gave no answer " in told(declared(server.url))
    assert time.monotonic() - began < 8


def test_what_a_server_sends_is_not_written_into_the_log(caplog):
    noise = b'data: {"jsonrpc":"2.0","method":"notifications/message","params":"a long secret"}\n\n'
    with (
        caplog.at_level("DEBUG", logger="root"),
        hostile({"tools/call": stream(lambda request: iter([noise]))}) as server,
    ):
        assert look(declared(f"{server.url}?key=k-e-y")).step.is_error is True  # type: ignore[union-attr]
    assert [
        record for record in caplog.records if "secret" in record.getMessage() or "k-e-y" in record.getMessage()
    ] == []


def test_a_server_that_is_not_there_is_told():
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    assert "it could not be reached" in told(declared(f"http://127.0.0.1:{port}/mcp"))


def test_a_server_that_accepts_and_says_nothing_is_told():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert "it gave no answer " in told(declared(f"http://127.0.0.1:{silent.getsockname()[1]}/mcp"))


def test_what_a_server_says_unasked_is_not_listened_to():
    with hostile() as server:
        assert text_of(look(declared(server.url))) == "A wall."
    assert [method for method, _, _ in server.seen if method == "GET"] == []


def test_a_server_that_breaks_its_streams_for_ever_is_not_followed_for_ever():
    breaks = stream(lambda request: iter([b"id: 1\nretry: 0\ndata:\n\n"]))
    with hostile({"tools/call": breaks, "GET": breaks}) as server:
        assert look(declared(server.url)).step.is_error is True  # type: ignore[union-attr]
    assert len([method for method, _, _ in server.seen if method == "GET"]) <= 50


def test_an_endless_listing_is_read_to_a_limit():
    count = iter(range(10**6))

    def page(request: Any, handler: Any) -> Any:
        return {"tools": [{**TOOL, "name": f"look{next(count)}"}], "nextCursor": "more"}

    with hostile({"tools/list": page}) as server:
        functions = in_session(declared(server.url), lambda s: asyncio.sleep(0, s.functions), McpServers(resolve=here))
    assert len(functions) == 50


def test_of_ten_thousand_tools_64_are_offered():
    many = [{**TOOL, "name": f"look{n}"} for n in range(10_000)]
    with hostile({"tools/list": lambda request, handler: {"tools": many}}) as server:
        functions = in_session(declared(server.url), lambda s: asyncio.sleep(0, s.functions), McpServers(resolve=here))
    assert [function.name for function in functions] == [f"station_look{n}" for n in range(64)]


def test_allowed_tools_are_found_among_ten_thousand():
    many = [{**TOOL, "name": f"look{n}"} for n in range(10_000)]
    with hostile({"tools/list": lambda request, handler: {"tools": many}}) as server:
        wanted = declared(server.url, allowed_tools=["look9000", wire.AllowedTools(tools=["look17"])])
        functions = in_session(wanted, lambda s: asyncio.sleep(0, s.functions), McpServers(resolve=here))
    assert [function.name for function in functions] == ["station_look17", "station_look9000"]


def test_a_tool_that_vanishes_is_an_error_of_the_call():
    with hostile({"tools/call": refusing("Unknown tool")}) as server:
        outcome: Any = look(declared(server.url))
    assert outcome.step.is_error is True
    assert outcome.step.result == "The MCP server 'station' failed: it answered with an error: Unknown tool."


def test_a_server_that_forgot_the_connection_is_connected_to_again():
    answers = iter([(404, b"")])

    def call(request: Any, handler: Any) -> Any:
        for status, body in answers:
            raw(status, body)(request, handler)
        return {"content": [{"type": "text", "text": "A door."}]}

    async def part(session: McpSession) -> tuple[str, str]:
        return text_of(await called(session, "station_look")), text_of(await called(session, "station_look"))

    with hostile({"tools/call": call}) as server:
        first, second = in_session(declared(server.url), part)
    assert "HTTP status 404" in first and second == "A door."
    assert len(server.asked("initialize")) == 2


def test_a_run_that_is_cancelled_leaves_no_call_behind():
    async def part(session: McpSession) -> None:
        task = asyncio.create_task(called(session, "station_look"))
        await asyncio.to_thread(asked.acquire, timeout=PATIENCE)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asked = threading.Semaphore(0)

    def wait(request: Any, handler: Any) -> Any:
        asked.release()
        server.over.wait(PATIENCE)
        return {"content": []}

    with hostile({"tools/call": wait}) as server:
        in_session(declared(server.url), part, McpServers(resolve=here))


# ---------------------------------------------------------------------------------------------------- where it goes


def check(server: wire.McpServer, tool: McpServers | None = None) -> None:
    asyncio.run((tool or McpServers()).check(server, "p", "tools[0]"))


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1/mcp", "http://localhost:8080", "http://[::1]/", "http://0x7f.1/", "http://127.0.0.1:8000/",
     "http://169.254.169.254/", "http://10.1.2.3/", "http://[::ffff:127.0.0.1]/", "http://0.0.0.0/", "http://100.64.0.1/"],
)  # fmt: skip
def test_a_private_address_is_refused_when_the_interaction_is_created(url):
    with pytest.raises(wire.InvalidRequest, match=r"'tools\[0\].url' cannot be asked: \w+"):
        check(declared(url))


def test_a_private_address_is_refused_again_when_it_is_connected_to():
    with hostile() as server:
        assert re.search(r"cannot be used now: (port \d+ is|the host is)", told(declared(server.url), McpServers()))
    assert server.seen == []


@pytest.mark.parametrize("allow", ["127.0.0.1:{port}", "127.0.0.0/8:{port}"])
def test_the_operator_may_allow_a_private_place(allow):
    with hostile() as server:
        tool = McpServers(allow=(allow.format(port=server.port),))
        check(declared(server.url), tool)
        assert in_session(declared(server.url), lambda s: asyncio.sleep(0, len(s.functions)), tool) == 1


def test_the_address_that_was_checked_is_the_one_that_is_connected_to():
    asked: list[tuple[str, int]] = []

    async def resolve(host: str, port: int) -> list[str]:
        asked.append((host, port))
        return ["127.0.0.1"]

    with hostile() as server:
        url = f"http://mcp.example.com:{server.port}/mcp"
        outcome = in_session(
            declared(url), lambda session: called(session, "station_look"), McpServers(resolve=resolve)
        )
        assert text_of(outcome) == "A wall."
    assert set(asked) == {("mcp.example.com", server.port)}
    assert {headers["Host"] for _, _, headers in server.seen} == {f"mcp.example.com:{server.port}"}


# ---------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"name": None}, r"Missing required parameter 'name' at 'tools\[0\]'"),
        ({"name": "a/b"}, r"at 'tools\[0\].name'"),
        ({"name": "n" * 65}, r"at 'tools\[0\].name'"),
        ({"url": None}, r"Missing required parameter 'url' at 'tools\[0\]'"),
        ({"url": "ftp://a.example/"}, "must be an http or https URL"),
        ({"url": "a.example"}, "must be an http or https URL"),
        ({"url": "http://"}, "must be an http or https URL"),
        ({"url": "http://a.example:99999/"}, r"Invalid URL at 'tools\[0\].url'"),
        ({"url": "http://[::1/"}, r"Invalid URL at 'tools\[0\].url'"),
        ({"url": "http://u:p@a.example/"}, "must hold no credentials"),
        ({"url": "http://a.example/\r\nx: y"}, "printable"),
        ({"headers": {"a b": "c"}}, "Invalid header name"),
        ({"headers": {"x-a": "b\r\nx-c: d"}}, "cannot be sent"),
        ({"headers": {"Host": "b.example"}}, "is this server's to set"),
        ({"headers": {"Mcp-Session-Id": "1"}}, "is this server's to set"),
        ({"headers": {f"x-{n}": "" for n in range(33)}}, "At most 32 headers"),
        ({"allowed_tools": [wire.AllowedTools(mode="any")]}, r"mode 'any' .*'tools\[0\].allowed_tools\[0\]'"),
    ],
)
def test_a_declaration_that_cannot_be_obeyed_is_refused_with_its_place(fields, words):
    with pytest.raises(wire.InvalidRequest, match=words):
        check(declared(**{"url": "http://93.184.215.14/mcp", **fields}))


def test_a_good_declaration_is_not():
    tools = ["a", wire.AllowedTools(mode="validated", tools=["b"])]
    headers = {"Authorization": "Bearer x"}
    check(declared("https://93.184.215.14/mcp?x=1", name="Deployment Tracker-2", headers=headers, allowed_tools=tools))


# ---------------------------------------------------------------------------------------------------- laws

_NAMES = st.text(max_size=80) | st.text("ab_", max_size=3)


@given(st.from_regex(r"[A-Za-z0-9_\- ]{1,64}", fullmatch=True), st.lists(_NAMES, unique=True, max_size=30))
@settings(deadline=None, max_examples=60)
def test_every_tool_has_a_name_of_its_own_that_the_api_takes(server, tools):
    found = names(server, tools)
    assert list(found.values()) == tools
    for name in found:
        msgspec.convert({"type": "function", "name": name}, wire.Function)


@given(st.text(), st.integers(3, 700))
@settings(deadline=None, max_examples=60)
def test_a_cut_text_keeps_its_room(text, room):
    short = cut(text, room)
    assert len(short) <= room and (len(text) > room or short == text)


@pytest.mark.parametrize(
    ("allowed", "names"),
    [
        (None, "abc"),
        ([], "abc"),
        (["a"], "a"),
        ([wire.AllowedTools(tools=["a", "b"])], "ab"),
        (["c", wire.AllowedTools(mode="auto", tools=["a"])], "ac"),
        ([wire.AllowedTools(mode="none")], ""),
        ([wire.AllowedTools(mode="none", tools=["a"])], "bc"),
        ([wire.AllowedTools(), wire.AllowedTools(mode="none", tools=["a"])], "bc"),
    ],
)
def test_allowed_tools_in_both_forms(allowed, names):
    assert "".join(name for name in "abc" if is_allowed(name, allowed)) == names


NO_SCHEMAS: dict[str, Any] = {
    "not of an object": {"type": "array"},
    "a type that is none": {"type": "object", "properties": {"a": {"type": "thing"}}},
    "a reference to itself": {"type": "object", "properties": {"a": {"$ref": "#/properties/a"}}},
    "too large": {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(2000)}},
    "required is no list": {"type": "object", "required": 5},
}


@pytest.mark.parametrize("fault", NO_SCHEMAS)
def test_a_tool_whose_arguments_cannot_be_checked_is_not_offered(fault):
    tools = [McpTool("bad", "", NO_SCHEMAS[fault]), McpTool("good", "", {})]
    assert [tool.name for tool in offered(tools, None)] == ["good"]


def test_a_schema_that_is_nested_without_end_is_not_offered():
    deep: Any = {}
    for _ in range(5000):
        deep = {"x-own": deep}
    assert offered([McpTool("bad", "", deep)], None) == []


def test_descriptions_and_titles_are_held_short():
    schema = {
        "title": "Arguments",
        "type": "object",
        "properties": {
            "title": {"type": "string", "title": "Title", "description": "word " * 10**5, "default": {"title": "x"}}
        },
    }
    (tool,) = offered([McpTool("a", "word " * 200_000, schema)], None)
    assert len(tool.description) <= 1000
    inner = tool.schema["properties"]["title"]
    assert "title" not in tool.schema and set(inner) == {"type", "description", "default"}
    assert len(inner["description"]) <= 300 and inner["default"] == {"title": "x"}


def test_all_that_one_server_offers_is_bounded():
    tools = [
        McpTool(f"t{n}", "d" * 900, {"properties": {f"p{m}": {"description": "e" * 250} for m in range(20)}})
        for n in range(64)
    ]
    found = offered(tools, None)
    assert 5 <= len(found) <= 15


def test_what_has_no_place_on_the_wire_is_named_instead():
    blocks = [
        {"type": "text", "text": "See:"},
        {"type": "image", "mimeType": "image/x-none", "data": "aGk="},
        {"type": "image", "mimeType": "image/png", "data": "no base64!"},
        {"type": "resource_link", "uri": "file:///a.txt", "name": "a"},
        {"type": "resource", "resource": {"uri": "file:///b.txt", "text": "bee"}},
        {"type": "resource", "resource": {"uri": "file:///c.bin", "mimeType": "application/zip", "blob": "aGk="}},
    ]
    assert shaped({"content": blocks}, 1000) == (
        "See:\n[image image/x-none, not shown]\n[image image/png, not shown]\n[a](file:///a.txt)\n"
        "file:///b.txt\nbee\n[file:///c.bin application/zip, not shown]"
    )


def test_structured_content_stands_in_for_text_that_is_not_there():
    assert shaped({"content": [], "structuredContent": {"a": [1]}}, 1000) == '{"a":[1]}'
    assert shaped({"content": [{"type": "text", "text": "One."}], "structuredContent": {"a": 1}}, 1000) == "One."
    assert shaped({"content": []}, 1000) == "(an empty result)"


def test_media_beyond_the_limit_are_left_out_with_a_word():
    image = {"type": "image", "mimeType": "image/png", "data": "AAAA" * 600_000}
    first, *images = shaped({"content": [image, image]}, 1000)
    assert len(images) == 1 and "left out: too large" in first.text


# ---------------------------------------------------------------------------------------------------- the whole server


def test_an_interaction_calls_a_remote_tool_and_goes_on_with_its_result(server, station):
    script = """
    [[turns]]
    when = "add"
    calls = [{ name = "station_add", arguments = { a = 1, b = 2 } }]
    """
    antiphon = server(script, "--reachable", station.removeprefix("http://").removesuffix("/mcp"))
    tools = [{"type": "mcp_server", "name": "station", "url": station, "allowed_tools": ["add"]}]
    call, result, output = antiphon.create("Please add 1 and 2.", tools=tools)["steps"]
    assert call["type"] == "mcp_server_tool_call" and call["arguments"] == {"a": 1, "b": 2}
    assert (call["server_name"], call["name"]) == ("station", "add")
    assert result["type"] == "mcp_server_tool_result" and result["call_id"] == call["id"] and result["result"] == "3"
    assert output["type"] == "model_output"


def test_a_private_server_is_refused_with_its_place(server, station):
    antiphon = server("")
    body = {"model": "scripted", "input": "Hi", "tools": [{"type": "mcp_server", "name": "s", "url": station}]}
    answer = antiphon.request("POST", "/v1beta/interactions", body)
    assert answer.error["code"] == "invalid_request" and "'tools[0].url'" in answer.error["message"]
