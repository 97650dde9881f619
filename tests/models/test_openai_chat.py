"""The OpenAI-compatible back-end, against a real small server on a free port."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from antiphon import wire
from antiphon.models.openai_chat import OpenAIChat
from antiphon.ports import Call, Delta, Finish, Text, Thought, Tokens, Turn

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def test(scenario: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run an async test, and let none hang."""

    def run() -> None:
        asyncio.run(asyncio.wait_for(scenario(), 20))

    run.__doc__ = scenario.__doc__
    return run


test.__test__ = False  # type: ignore[attr-defined]


@asynccontextmanager
async def upstream(handler: Handler) -> AsyncIterator[str]:
    app = web.Application(client_max_size=2**26)
    app.router.add_post("/v1/chat/completions", handler)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"delta": delta, "finish_reason": finish}]}).encode() + b"\n\n"


def streaming(*pieces: bytes) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces:
            await response.write(piece)
        return response

    return handle


def answering(status: int, content: Any, **headers: str) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.json_response(content, status=status, headers=headers)

    return handle


def turn(**options: Any) -> Turn:
    return Turn(model="m", steps=[wire.UserInputStep(content="Hi")], conversation="c", **options)


async def ask(url: str, asked: Turn | None = None, **options: Any) -> list[Delta]:
    model = OpenAIChat(url, **options)
    try:
        return [delta async for delta in model.stream(asked or turn())]
    finally:
        await model.aclose()


async def fails(kind: type[wire.ApiError], handler: Handler, **options: Any) -> wire.ApiError:
    async with upstream(handler) as url:
        with pytest.raises(wire.ApiError) as caught:
            await ask(url, **options)
    assert type(caught.value) is kind or isinstance(caught.value, kind)
    return caught.value


@test
async def test_an_answer_is_followed_as_it_is_written() -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2}}\n\n'
    pieces = [chunk(content="Hel"), chunk(content="lo"), chunk("stop"), usage, b"data: [DONE]\n\n"]
    async with upstream(streaming(*pieces)) as url:
        assert await ask(url) == [Text("Hel"), Text("lo"), Finish("stop", Tokens(3, 2))]


@test
async def test_events_may_be_cut_anywhere_and_end_their_lines_in_either_way() -> None:
    text = b": ping\r\n\r\n" + (chunk(reasoning="hm") + chunk("stop", content="é{}")).replace(b"\n", b"\r\n")
    pieces = [text[place : place + 3] for place in range(0, len(text), 3)]
    async with upstream(streaming(*pieces)) as url:
        assert await ask(url) == [Thought("hm"), Text("é{}"), Finish()]


@test
async def test_an_answer_that_nobody_follows_is_fetched_in_one_piece() -> None:
    asked: list[dict[str, Any]] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append({**await request.json(), "key": request.headers.get("authorization")})
        return web.json_response({"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]})

    async with upstream(handle) as url:
        assert await ask(f"{url}/v1", turn(followed=False), model="real", api_key="k") == [Text("Hello"), Finish()]
    assert asked == [
        {"model": "real", "messages": [{"role": "user", "content": "Hi"}], "stream": False, "key": "Bearer k"}
    ]


@test
async def test_calls_come_whole() -> None:
    function = wire.Function(name="f", parameters={"type": "object", "required": ["x"]})
    pieces = [
        chunk(tool_calls=[{"index": 0, "id": "1", "function": {"name": "f", "arguments": '{"x"'}}]),
        chunk("tool_calls", tool_calls=[{"index": 0, "function": {"arguments": ": 1}"}}]),
    ]
    async with upstream(streaming(*pieces)) as url:
        assert await ask(url, turn(functions=(function,))) == [Call(0, "f", '{"x": 1}'), Finish()]


@test
async def test_a_refused_request_gives_the_servers_own_words() -> None:
    error = await fails(wire.InvalidRequest, answering(400, {"error": {"message": "top_p must be in (0, 1]"}}))
    assert error.message == "top_p must be in (0, 1]"


@test
async def test_a_wrong_key_is_this_servers_fault() -> None:
    error = await fails(wire.Internal, answering(401, {"error": {"message": "no"}}))
    assert "own key" in error.message


@test
async def test_an_unknown_model_is_unknown() -> None:
    await fails(wire.ModelNotFound, answering(404, {"error": {"message": "no model m"}}))


@test
async def test_a_busy_server_says_when_to_come_back() -> None:
    error = await fails(wire.RateLimited, answering(429, {"error": "slow down"}, **{"retry-after": "7"}))
    assert error.retry_after == 7


@test
async def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(wire.Unavailable, match=f"127.0.0.1:{port}"):
            await ask(f"http://127.0.0.1:{port}")


@test
async def test_silence_has_a_limit() -> None:
    asked = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(chunk(content="a"))
        asked.set()
        await asyncio.Event().wait()
        return response

    error = await fails(wire.DeadlineExceeded, handle, silence=0.1)
    assert asked.is_set()
    assert "0.1 seconds" in error.message


@test
async def test_a_stream_that_ends_without_a_finish_is_an_error() -> None:
    await fails(wire.Unavailable, streaming(chunk(content="a")))


@test
async def test_a_connection_that_breaks_is_an_error() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(chunk(content="a"))
        assert request.transport is not None
        request.transport.abort()
        return response

    await fails(wire.Unavailable, handle)


@test
async def test_an_error_inside_the_stream_is_an_error() -> None:
    error = await fails(wire.RateLimited, streaming(b'data: {"error":{"message":"queue full","code":429}}\n\n'))
    assert "queue full" in error.message


@test
async def test_an_error_after_text_comes_after_the_text() -> None:
    seen: list[Delta] = []
    async with upstream(streaming(chunk(content="a"), b'data: {"error":{"message":"oom"}}\n\n')) as url:
        model = OpenAIChat(url)
        with pytest.raises(wire.Unavailable, match="oom"):
            async for delta in model.stream(turn()):
                seen.append(delta)
        await model.aclose()
    assert seen == [Text("a")]


@test
async def test_leaving_an_answer_ends_the_connection_to_the_server() -> None:
    gone = asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        try:
            while True:
                await response.write(chunk(content="a"))
                await asyncio.sleep(0)
        except (ConnectionError, asyncio.CancelledError):
            gone.set()
            raise

    async with upstream(handle) as url:
        model = OpenAIChat(url)
        answer = model.stream(turn())
        assert await anext(answer) == Text("a")
        await answer.aclose()  # type: ignore[attr-defined]
        await gone.wait()
        await model.aclose()


@test
async def test_a_kept_connection_that_the_server_gave_up_is_replaced() -> None:
    whole = json.dumps({"choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}]}).encode()
    head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(whole)
    connections = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(head + whole)
        if connections == 1:
            await reader.readuntil(b"POST")  # the second request on this connection gets no answer
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        model = OpenAIChat(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        for _ in range(2):
            assert [d async for d in model.stream(turn(followed=False))] == [Text("Hello"), Finish()]
        await model.aclose()
    assert connections == 2


@test
async def test_many_answers_at_once_do_not_mix() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        said = (await request.json())["messages"][0]["content"]
        return await streaming(*(chunk(content=letter) for letter in said), chunk("stop"))(request)

    async with upstream(handle) as url:
        model = OpenAIChat(url)

        async def one(name: str) -> str:
            steps = [wire.UserInputStep(content=name)]
            asked = Turn(model="m", steps=steps, conversation=name)
            return "".join([d.text async for d in model.stream(asked) if isinstance(d, Text)])

        names = [f"conversation {number}" for number in range(40)]
        assert await asyncio.gather(*map(one, names)) == names
        await model.aclose()


@pytest.mark.parametrize("server", ["generic", "vllm", "sglang", "llama-server", "ollama", "lmstudio", "openai"])
def test_every_kind_of_server_is_known(server: Any) -> None:
    assert OpenAIChat("http://127.0.0.1:1", server=server, modalities=("text", "image")).modalities == {"text", "image"}
