"""The HTTP client towards model servers, against real small servers, on both event loops it may run on."""

from __future__ import annotations

import asyncio
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from antiphon import http1, wire
from antiphon.chat_http import ChatServer
from antiphon.http1 import Failed, Origin, Silent

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
LOOPS = {"asyncio": asyncio.run, "uvloop": uvloop.run}


def test(scenario: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on each loop, and let none hang."""

    @pytest.mark.parametrize("loop", LOOPS)
    def run(loop: str) -> None:
        async def limited() -> None:
            await asyncio.wait_for(scenario(), 20)

        LOOPS[loop](limited())

    run.__doc__ = scenario.__doc__
    return run


test.__test__ = False  # type: ignore[attr-defined]


class Little:
    """A server whose connections are each held by one function, and an `Origin` of it."""

    def __init__(self, talk: Talk) -> None:
        self.talk = talk
        self.connections = 0
        self.requests: list[tuple[bytes, bytes]] = []
        self.gone = asyncio.Event()  # a client has ended a connection, or it was ended here

    async def hold(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self.talk(reader, writer)
        self.gone.set()
        writer.close()

    async def request(self, reader: asyncio.StreamReader) -> bytes:
        """The body of the next request."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        self.requests.append((head, await reader.readexactly(length)))
        return self.requests[-1][1]


@contextmanager
def limit(name: str, value: float) -> Iterator[None]:
    """Another value for one of the module's limits."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http1, name, value)
        yield


async def until(true: Callable[[], Any]) -> None:
    """Let everything else go on until something is so."""
    while not true():  # noqa: ASYNC110 - nobody is there to set an event
        await asyncio.sleep(0)


@asynccontextmanager
async def serving(
    talk: Callable[[Little, asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    certificate: ssl.SSLContext | None = None,
    **options: Any,
) -> AsyncIterator[tuple[Little, Origin]]:
    little = Little(lambda reader, writer: talk(little, reader, writer))
    server = await asyncio.start_server(little.hold, "127.0.0.1", 0, ssl=certificate)
    scheme = "https" if certificate else "http"
    url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    origin = Origin(url, {"content-type": "text/plain"}, **{"silence": 15, **options})
    try:
        yield little, origin
    finally:
        origin.close()
        server.close()


def whole(body: bytes = b"yes", status: bytes = b"200 OK", *headers: bytes) -> bytes:
    lines = b"\r\n".join([b"HTTP/1.1 " + status, *headers, b"content-length: %d" % len(body)])
    return lines + b"\r\n\r\n" + body


async def post(origin: Origin, body: bytes = b"question") -> bytes:
    with await origin.send(origin.opening("POST", "http://any/chat?x=1"), body) as answer:
        return await answer.read()


async def answering(little: Little, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Echoes every request's body."""
    while True:
        writer.write(whole(await little.request(reader)))


def saying(*answers: bytes, then_close: bool = False) -> Any:
    """Answers each request of each connection with the next of these bytes."""

    async def talk(little: Little, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await little.request(reader)
            writer.write(answer)
        if not then_close:
            await reader.read()

    return talk


# ---------------------------------------------------------------------------------------------------- connections


@test
async def test_a_connection_is_used_again() -> None:
    async with serving(answering) as (little, origin):
        assert [await post(origin, b"%d" % number) for number in range(5)] == [b"0", b"1", b"2", b"3", b"4"]
        assert little.connections == 1


@test
async def test_requests_at_once_have_connections_of_their_own_and_the_last_freed_is_used_next() -> None:
    async with serving(answering) as (little, origin):
        assert await asyncio.gather(*(post(origin, b"%d" % n) for n in range(9))) == [b"%d" % n for n in range(9)]
        assert little.connections == 9
        last = list(origin.free)[-1]
        with await origin.send(origin.opening("GET", "http://any/")):
            assert last not in origin.free
        assert little.connections == 9


@test
async def test_the_number_of_free_connections_is_bounded() -> None:
    async with serving(answering) as (_, origin):
        with limit("_MOST_FREE", 2):
            await asyncio.gather(*(post(origin) for _ in range(5)))
        assert len(origin.free) == len(origin.open) == 2


@test
async def test_a_connection_that_the_server_closed_while_it_was_free_is_not_used() -> None:
    async with serving(saying(whole(), then_close=True)) as (little, origin):
        for _ in range(3):
            assert await post(origin) == b"yes"
            await until(lambda: not origin.free)
        assert little.connections == len(little.requests) == 3


@test
async def test_a_free_connection_is_closed_in_time() -> None:
    async with serving(answering, idle=0.05) as (little, origin):
        await post(origin)
        await little.gone.wait()
        assert not origin.open


@test
async def test_a_connection_that_is_closed_as_a_request_comes_is_replaced() -> None:
    async def talk(little: Little, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await little.request(reader)
        writer.write(whole())
        await little.request(reader)  # and no answer

    async with serving(talk) as (little, origin):
        assert [await post(origin), await post(origin)] == [b"yes", b"yes"]
        assert (little.connections, len(little.requests)) == (2, 3)


@test
async def test_a_request_that_was_begun_long_before_the_connection_broke_is_not_sent_again() -> None:
    async def talk(little: Little, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await little.request(reader)
        writer.write(whole())
        await little.request(reader)

    async with serving(talk) as (little, origin):
        await post(origin)
        with limit("_CROSSING", 0.0), pytest.raises(Failed, match="ended before the answer"):
            await post(origin)
        assert (little.connections, len(little.requests)) == (1, 2)


@test
async def test_a_request_on_a_new_connection_is_sent_once() -> None:
    async with serving(saying(b"", then_close=True)) as (little, origin):
        with pytest.raises(Failed):
            await post(origin)
        assert len(little.requests) == 1


@test
async def test_a_request_whose_answer_had_begun_is_not_sent_again() -> None:
    async with serving(saying(whole(), b"HTTP/1.1 2", then_close=True)) as (little, origin):
        await post(origin)
        with pytest.raises(Failed, match="ended before the answer"):
            await post(origin)
        assert (little.connections, len(little.requests)) == (1, 2)


@test
async def test_an_interim_answer_is_an_answer_that_had_begun() -> None:
    async with serving(saying(whole(), b"HTTP/1.1 100 Continue\r\n\r\n", then_close=True)) as (little, origin):
        await post(origin)
        with pytest.raises(Failed, match="ended before the answer"):
            await post(origin)
        assert (little.connections, len(little.requests)) == (1, 2)


@test
async def test_nobody_there_is_said() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        with pytest.raises(Failed, match=r"111|refused"):
            await post(Origin(f"http://127.0.0.1:{taken.getsockname()[1]}", {}, silence=15))


@test
async def test_a_host_that_has_no_address_is_said() -> None:
    for host in ("nowhere.invalid", f"{'x' * 64}.invalid"):
        with pytest.raises(Failed):
            await post(Origin(f"http://{host}", {}, silence=15))


@test
async def test_a_server_that_takes_no_connection_is_given_up() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        with limit("_CONNECT", 0.1):
            origin = Origin(f"http://127.0.0.1:{full.getsockname()[1]}", {}, silence=15)
            # The kernel takes a few for a server that does not; the others get no answer to their first packet.
            waiting = [asyncio.ensure_future(post(origin)) for _ in range(8)]
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            error = done.pop().exception()
            assert isinstance(error, Silent) and str(error) == "could not be reached within 0.1 seconds"
            for one in waiting:
                one.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)
        assert not origin.open


# ---------------------------------------------------------------------------------------------------- answers


def framed(body: bytes, how: str, sizes: list[int]) -> bytes:
    """An answer with `body`, whose end is known in one of three ways."""
    if how == "length":
        return whole(body)
    if how == "close":
        return b"HTTP/1.1 200 OK\r\n\r\n" + body
    chunks, place = b"", 0
    while place < len(body):
        piece = body[place : place + (sizes.pop() if sizes else 7)]
        chunks += b"%x;some=extension\r\n%b\r\n" % (len(piece), piece)
        place += len(piece)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\ncontent-type: late\r\n\r\n"


@asynccontextmanager
async def joined() -> AsyncIterator[http1._Connection]:
    """A connection that a test feeds by itself, so that it knows what comes in which pieces, and when."""
    here, there = socket.socketpair()
    origin, loop = Origin("http://any", {}, silence=15), asyncio.get_running_loop()
    with there:
        _, connection = await loop.create_connection(lambda: http1._Connection(origin), sock=here)
        yield connection
        origin.close()
        await asyncio.sleep(0)


async def take_in(pieces: list[bytes], how: str, *, read: bool) -> tuple[bytes, bytes | None, bool]:
    """What a request gets that is answered by just these pieces, its type, and whether its connection is kept."""
    async with joined() as connection:
        asked = asyncio.ensure_future(connection.exchange(b"GET / HTTP/1.1\r\n", None))
        await asyncio.sleep(0)
        for piece in pieces:
            connection.data_received(piece)
        if how == "close":
            connection.eof_received()
        with await asked as answer:
            body = await answer.read() if read else b""
            while piece := b"" if read else await answer.piece():
                body += piece
        return body, answer.headers.get(b"content-type"), connection in connection.origin.free


@given(
    st.binary(max_size=60),
    st.sampled_from(["length", "chunked", "close"]),
    st.lists(st.integers(1, 20), max_size=5),
    st.sampled_from(
        [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\ncontent-type: early\r\n\r\n"]
    ),
    st.sets(st.integers(1, 300)),
    st.booleans(),
)
def test_an_answer_may_come_in_any_pieces(
    body: bytes, how: str, sizes: list[int], interim: bytes, cuts: set[int], read: bool
) -> None:
    data = interim + framed(body, how, sizes)
    places = [0, *sorted(cut for cut in cuts if cut < len(data)), len(data)]
    pieces = [data[a:b] for a, b in pairwise(places)]
    assert asyncio.run(take_in(pieces, how, read=read)) == (body, None, how != "close")


@pytest.mark.parametrize("read", [True, False])
@pytest.mark.parametrize("how", ["length", "chunked", "close"])
def test_an_answer_may_come_byte_by_byte(how: str, read: bool) -> None:
    data = framed(b"some words\r\n\r\n", how, [3, 5])
    pieces = [data[place : place + 1] for place in range(len(data))]
    assert asyncio.run(take_in(pieces, how, read=read)) == (b"some words\r\n\r\n", None, how != "close")


@test
async def test_status_and_headers_are_there_before_the_body() -> None:
    head = b"HTTP/1.1 429 Slow Down\r\nRetry-After: 7\r\nContent-Length: 5\r\n\r\n"
    async with serving(saying(head)) as (_, origin):
        with await origin.send(origin.opening("GET", "http://any/")) as answer:
            assert answer.status == 429
            assert answer.headers == {b"retry-after": b"7", b"content-length": b"5"}


@test
async def test_an_answer_without_a_body_ends_with_its_head() -> None:
    async with serving(saying(b"HTTP/1.1 204 No Content\r\n\r\n", whole())) as (little, origin):
        assert [await post(origin), await post(origin)] == [b"", b"yes"]
        assert little.connections == 1


@test
async def test_a_connection_that_the_answer_gives_up_is_not_used_again() -> None:
    old = b"HTTP/1.0 200 OK\r\ncontent-length: 3\r\n\r\nyes"
    for last in (old, whole(b"yes", b"200 OK", b"Connection: close")):
        async with serving(saying(last)) as (little, origin):
            assert [await post(origin), await post(origin)] == [b"yes", b"yes"]
            assert little.connections == 2


@test
async def test_an_answer_that_breaks_off_is_an_error() -> None:
    chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
    for begun in (whole(b"hello world")[:-5], chunked, b"HTTP/1.1 200 OK\r\ncontent-le"):
        async with serving(saying(begun, then_close=True)) as (_, origin):
            with pytest.raises(Failed, match="it ended before the answer did"):
                await post(origin)
            assert not origin.open


@test
async def test_what_came_before_an_answer_broke_off_is_read_first() -> None:
    async with serving(saying(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello", then_close=True)) as (_, origin):
        with await origin.send(origin.opening("GET", "http://any/")) as answer:
            await until(lambda: not origin.open)
            assert await answer.piece() == b"hello"
            with pytest.raises(Failed):
                await answer.piece()


@test
async def test_a_connection_that_is_reset_is_an_error() -> None:
    async def talk(little: Little, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await little.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nhello")  # whose end would be the connection's
        await writer.drain()
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    async with serving(talk) as (_, origin):
        with pytest.raises(Failed, match=r"104|reset"):
            await post(origin)


@test
async def test_what_is_not_http_is_an_error() -> None:
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n"
    both = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n"
    for garbage in (b"SSH-2.0-OpenSSH_9.6\r\n", b"\x15\x03\x01\x00\x02\x02\x16", upgrade, both):
        async with serving(saying(garbage)) as (little, origin):
            with pytest.raises(Failed, match="what it sent is not HTTP"):
                await post(origin)
            await little.gone.wait()


@test
async def test_a_head_has_a_limit() -> None:
    endless = b"HTTP/1.1 200 OK\r\n", b"x-filler: ", b"a" * 60_000, b"a" * 60_000, b"a" * 60_000
    many = b"HTTP/1.1 200 OK\r\n" + b"x-filler: a\r\n" * 20_000
    interim = b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000
    trailers = framed(b"some", "chunked", []).removesuffix(b"\r\n") + b"x-filler: a\r\n" * 20_000
    for head in (b"".join(endless), many, interim, trailers):
        async with serving(saying(head)) as (little, origin):
            with pytest.raises(Failed, match="too large"):
                await post(origin)
            await little.gone.wait()


@test
async def test_an_answer_that_is_read_whole_has_a_limit() -> None:
    with limit("_LARGEST_BODY", 1 << 20):
        async with serving(saying(whole(b"a" * (1 << 22)))) as (_, origin):
            with pytest.raises(Failed, match="too large"):
                await post(origin)


@test
async def test_more_than_was_asked_for_is_not_taken_for_the_next_answer() -> None:
    for more in (whole(b"no"), b"HTTP/1.1 2", b"garbage"):
        async with serving(saying(whole() + more)) as (little, origin):
            assert [await post(origin), await post(origin)] == [b"yes", b"yes"]
            assert little.connections == 2


@test
async def test_what_comes_on_a_free_connection_ends_it() -> None:
    ready = asyncio.Event()

    async def talk(little: Little, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await little.request(reader)
        writer.write(whole())
        await ready.wait()
        writer.write(whole(b"no"))
        await reader.read()

    async with serving(talk) as (little, origin):
        assert await post(origin) == b"yes"
        ready.set()
        await little.gone.wait()
        assert not origin.free
        assert await post(origin) == b"yes"


# ---------------------------------------------------------------------------------------------------- flow and time


@test
async def test_a_server_waits_for_a_slow_reader() -> None:
    size, piece = 1 << 25, b"a" * (1 << 16)
    full, written = asyncio.Event(), 0

    async def talk(little: Little, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal written
        await little.request(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size)
        writer.transport.set_write_buffer_limits(high=1 << 16)
        while written < size:
            writer.write(piece)
            written += len(piece)
            if writer.transport.get_write_buffer_size() > 1 << 16:
                full.set()
            await writer.drain()
        await reader.read()

    async with serving(talk) as (_, origin):
        with await origin.send(origin.opening("GET", "http://any/")) as answer:
            await full.wait()
            await until(lambda: answer._paused)
            for _ in range(100):
                await asyncio.sleep(0)
            assert answer._held < 1 << 20 and written < size
            length = 0
            while data := await answer.piece():
                length += len(data)
            assert length == size
        assert len(origin.free) == 1


@test
async def test_an_answer_that_was_held_back_can_still_be_read_whole() -> None:
    async with serving(saying(whole(b"a" * (1 << 22)))) as (_, origin):
        with await origin.send(origin.opening("GET", "http://any/")) as answer:
            await until(lambda: answer._paused)
            assert await answer.read() == b"a" * (1 << 22)
        assert len(origin.free) == 1


@test
async def test_silence_has_a_limit() -> None:
    for begun in (b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhello"):
        async with serving(saying(begun), silence=0.05) as (little, origin):
            with pytest.raises(Silent, match=r"sent nothing for 0.05 seconds"):
                await post(origin)
            await little.gone.wait()


@test
async def test_a_reader_may_take_its_time() -> None:
    async with serving(saying(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello"), silence=0.05) as (_, origin):
        with await origin.send(origin.opening("GET", "http://any/")) as answer:
            other = await origin.send(origin.opening("GET", "http://any/"))
            with pytest.raises(Silent):
                await other.read()
            assert await answer.piece() == b"hello"
            with pytest.raises(Silent):
                await answer.piece()


@test
async def test_a_request_that_is_cancelled_ends_at_the_server() -> None:
    for begun in (b"", b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello"):
        async with serving(saying(begun)) as (little, origin):
            asked = asyncio.ensure_future(post(origin))
            await until(lambda: little.requests)
            asked.cancel()
            await little.gone.wait()
            with pytest.raises(asyncio.CancelledError):
                await asked
            assert not origin.open


@test
async def test_a_request_may_be_cancelled_in_the_moment_of_its_answer() -> None:
    async with joined() as connection:
        asked = asyncio.ensure_future(connection.exchange(b"GET / HTTP/1.1\r\n", None))
        await asyncio.sleep(0)
        connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        assert connection.lost and connection not in connection.origin.open


@test
async def test_an_answer_that_is_left_ends_at_the_server() -> None:
    async with serving(saying(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhello")) as (little, origin):
        with await origin.send(origin.opening("GET", "http://any/")) as answer:
            assert await answer.piece() == b"hello"
        await little.gone.wait()
        with pytest.raises(Failed, match="it was closed here"):
            await answer.piece()


@test
async def test_closing_ends_what_is_awaited() -> None:
    async with serving(saying(b"")) as (little, origin):
        asked = asyncio.ensure_future(post(origin))
        await until(lambda: little.requests)
        origin.close()
        with pytest.raises(Failed, match="it was closed here"):
            await asked


@test
async def test_an_answer_may_come_before_its_request_has_gone_out() -> None:
    async def talk(little: Little, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        writer.write(whole(b"too much", b"413 Content Too Large"))
        await little.gone.wait()

    async with serving(talk) as (little, origin):
        with await origin.send(origin.opening("POST", "http://any/"), b"a" * (1 << 25)) as answer:
            assert (answer.status, await answer.read()) == (413, b"too much")
        assert not origin.open
        little.gone.set()


# ---------------------------------------------------------------------------------------------------- requests


@test
async def test_a_request_says_what_it_must_and_no_more() -> None:
    async with serving(answering) as (little, origin):
        await post(origin)
        with await origin.send(origin.opening("GET", "http://any/props")) as answer:
            await answer.read()
        (head, body), (other, _) = little.requests
        first, *lines = head.decode().strip().split("\r\n")
        assert first == "POST /chat?x=1 HTTP/1.1"
        assert [line.partition(":")[0] for line in lines] == [
            "host", "user-agent", "accept-encoding", "content-type", "content-length",
        ]  # fmt: skip
        assert lines[0].startswith("host: 127.0.0.1:") and "accept-encoding: identity" in lines
        assert body == b"question"
        assert other.startswith(b"GET /props HTTP/1.1\r\n") and b"content-length" not in other


def test_headers_that_are_given_come_first_and_credentials_of_a_url_are_kept_out_of_it() -> None:
    origin = Origin("http://me:secret@[::1]:80/v1", {"User-Agent": "é", "x-y": ""}, silence=1)
    opening = origin.opening("GET", "http://me:secret@[::1]:80/v1/a b").decode()
    assert opening.startswith("GET /v1/a%20b HTTP/1.1\r\nhost: [::1]\r\nuser-agent: é\r\n")
    assert "authorization: Basic bWU6c2VjcmV0\r\n" in opening and opening.endswith("x-y: \r\n")


@pytest.mark.parametrize("header", [("a b", "c"), ("", "c"), ("a", "b\r\nc: d"), ("a", "\0"), ("Content-Length", "1")])
def test_a_header_that_would_break_the_request_is_refused(header: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="cannot be sent"):
        Origin("http://any", dict([header]), silence=1)


@pytest.mark.parametrize("url", ["", "any:8000", "ftp://any", "unix:/a", "//any", "http://"])
def test_a_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"http://|URL|[Hh]ost"):
        Origin(url, {}, silence=1)


# ---------------------------------------------------------------------------------------------------- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key and a certificate for 127.0.0.1 that nobody has signed, in one file."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed: no certificate can be made")
    folder = tmp_path_factory.mktemp("certificate")
    key, signed, kind = folder / "key.pem", folder / "certificate.pem", "ec_paramgen_curve:prime256v1"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", kind, "-nodes", "-days", "2", "-subj", "/CN=little"]
    for_this = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(key), "-out", str(signed)]
    subprocess.run([*made, *for_this], check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_bytes(key.read_bytes() + signed.read_bytes())
    return both


@pytest.mark.parametrize("loop", LOOPS)
def test_a_server_with_a_trusted_certificate_is_spoken_to_over_tls(certificate: Path, loop: str) -> None:
    there = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    there.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))

    async def scenario() -> None:
        async with serving(answering, certificate=there, tls=trusting) as (little, origin):
            assert [await post(origin), await post(origin, b"a" * 300_000)] == [b"question", b"a" * 300_000]
            assert little.connections == 1
        async with serving(saying(b"HTTP/1.1 200 OK\r\n\r\nend"), certificate=there, tls=trusting) as (little, origin):
            with await origin.send(origin.opening("GET", "http://any/")) as answer:
                assert await answer.piece() == b"end"
            await little.gone.wait()

    LOOPS[loop](asyncio.wait_for(scenario(), 20))


@pytest.mark.parametrize("loop", LOOPS)
def test_a_certificate_that_nobody_trusts_is_refused(certificate: Path, loop: str) -> None:
    there = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    there.load_cert_chain(certificate)

    async def scenario() -> None:
        async with serving(answering, certificate=there) as (little, origin):
            with pytest.raises(Failed, match="certificate"):
                await post(origin)
            assert not little.requests and not origin.open

    LOOPS[loop](asyncio.wait_for(scenario(), 20))


# ---------------------------------------------------------------------------------------------------- ChatServer


async def asked(answer: bytes, *, silence: float = 15, path: str = "/v1") -> list[Any]:
    async with serving(saying(answer, answer)) as (_, origin):
        server = ChatServer(f"http://user:secret@{origin._host}:{origin._port}{path}", silence=silence)
        try:
            return [delta async for delta in server.ask({"stream": True})]
        finally:
            await server.aclose()


@test
async def test_a_redirect_is_not_followed() -> None:
    with pytest.raises(wire.Unavailable, match=r"points to https://there/v1 \(HTTP 308\)") as caught:
        await asked(whole(b"", b"308 Permanent Redirect", b"Location: https://there/v1"))
    assert "secret" not in str(caught.value)


@test
async def test_a_server_that_speaks_no_http_is_unavailable() -> None:
    with pytest.raises(wire.Unavailable, match=r"^The connection to 127.0.0.1:\d+ failed: what it sent is not HTTP"):
        await asked(b"SSH-2.0-OpenSSH_9.6\r\n")


@test
async def test_a_server_that_is_silent_is_too_late() -> None:
    with pytest.raises(wire.DeadlineExceeded, match=r"^127.0.0.1:\d+ sent nothing for 0.05 seconds\.$"):
        await asked(b"", silence=0.05)


@test
async def test_the_last_event_may_lack_the_end_of_its_line() -> None:
    event = b'data: {"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}]}'
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: %d\r\n\r\n" % len(event)
    assert len(await asked(head + event)) == 2


@test
async def test_an_error_while_the_body_of_a_refusal_comes_is_a_broken_connection() -> None:
    with pytest.raises(wire.DeadlineExceeded):
        await asked(b"HTTP/1.1 500 Oh\r\ncontent-length: 9\r\n\r\nhello", silence=0.05)
