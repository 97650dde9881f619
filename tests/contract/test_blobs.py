"""What every place for large bytes promises. A new one joins by a row in `blobs.places.PLACES` and a line in `MADE`."""

from __future__ import annotations

import asyncio
import datetime
import hashlib
import random
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from antiphon import wire
from antiphon.blobs import Depot, make
from antiphon.blobs.bucket import Bucket
from antiphon.blobs.memory import MemoryBlobs
from antiphon.blobs.places import PLACES
from antiphon.blobs.sigv4 import Keys, encoded, query_of, signed
from records import Clock

MADE: dict[str, Callable[[pytest.FixtureRequest], tuple[str, str | None]]] = {
    "memory": lambda request: ("memory", None),
    "disk": lambda request: (str(request.getfixturevalue("tmp_path") / "media"), None),
    "s3": lambda request: (request.getfixturevalue("bucket"), None),
    "postgres": lambda request: ("postgres", request.getfixturevalue("database")),
}
SHARED = {"disk", "s3", "postgres"}  # between processes
PATIENCE = 60.0  # seconds
Body = Callable[[Depot, Clock], Awaitable[None]]
Use = Callable[[Body], None]


@pytest.fixture(params=MADE)
def place(request: pytest.FixtureRequest) -> tuple[str, str | None]:
    return MADE[request.param](request)


@pytest.fixture
def use(place: tuple[str, str | None]) -> Use:
    """Run a body over each place."""

    def run(body: Body) -> None:
        async def inside() -> None:
            clock = Clock()
            depot = make(place[0], database=place[1], clock=clock)
            try:
                async with asyncio.timeout(PATIENCE):
                    await body(depot, clock)
            finally:
                await depot.aclose()

        asyncio.run(inside())

    return run


def sha(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def test_every_place_keeps_this_contract() -> None:
    assert set(PLACES) == set(MADE)


def test_bytes_come_back_under_their_sha256(use: Use) -> None:
    long = random.Random(1).randbytes(3 * 2**20 + 17)
    bodies = [b"", b"x", b"one" * 1000, long, b"x"]

    async def body(depot: Depot, clock: Clock) -> None:
        names = await depot.put("v1_a", bodies)
        assert names == [sha(each) for each in bodies]
        assert await depot.get(names[::-1]) == bodies[::-1]
        assert await depot.get([]) == [] and await depot.put("v1_a", []) == []

    use(body)


def test_a_part_is_read_alone(use: Use) -> None:
    content = random.Random(2).randbytes(2 * 2**20 + 5)

    async def body(depot: Depot, clock: Clock) -> None:
        (name,) = await depot.put("v1_a", [content])
        for first, size in [
            (0, 1),
            (0, 10**9),
            (2**20 - 1, 2),
            (2**20, 2**20),
            (2**21, 100),
            (len(content), 5),
            (7, 0),
        ]:
            assert await depot.part(name, first, size) == content[first : first + size], (first, size)

    use(body)


def test_a_file_is_taken_and_is_gone(use: Use, tmp_path: Path) -> None:
    content = random.Random(3).randbytes(2**20 + 3)

    async def body(depot: Depot, clock: Clock) -> None:
        for owner in ("file:a", "file:b"):  # the second is there already
            path = tmp_path / "upload"
            path.write_bytes(content)
            assert await depot.take(owner, path) == sha(content) and not path.exists()
        await depot.drop(["file:a"])
        assert await depot.get([sha(content)]) == [content]
        await depot.drop(["file:b"])
        with pytest.raises(wire.Unavailable):
            await depot.get([sha(content)])

    use(body)


def test_bytes_stay_until_their_last_owner_lets_go(use: Use) -> None:
    async def body(depot: Depot, clock: Clock) -> None:
        (name,) = await depot.put("v1_a", [b"shared"])
        assert await depot.put("v1_b", [b"shared", b"mine"]) == [name, sha(b"mine")]
        await depot.hold("file:c", [name])
        await depot.drop(["v1_b", "v1_unknown"])
        with pytest.raises(wire.Unavailable):
            await depot.get([sha(b"mine")])
        await depot.drop(["v1_a"])
        assert await depot.get([name]) == [b"shared"]
        await depot.drop(["file:c"])
        for asked in (depot.get([name]), depot.part(name, 0, 1), depot.hold("v1_d", [name])):
            with pytest.raises(wire.Unavailable):
                await asked
        await depot.drop([])
        assert await depot.owners("", clock.now) == []
        assert await depot.put("v1_e", [b"shared"]) == [name], "what is gone can come again"
        assert await depot.get([name]) == [b"shared"]

    use(body)


def test_what_is_not_there_is_held_by_nobody(use: Use) -> None:
    async def body(depot: Depot, clock: Clock) -> None:
        await depot.put("v1_a", [b"here"])
        with pytest.raises(wire.Unavailable):
            await depot.hold("v1_b", [sha(b"here"), sha(b"never")])
        assert await depot.owners("", clock.now) == ["v1_a"]

    use(body)


def test_owners_are_told_in_order_and_by_age(use: Use) -> None:
    async def body(depot: Depot, clock: Clock) -> None:
        made = [f"v1_{number:03d}" for number in range(5)]
        for owner in reversed(made):
            await depot.put(owner, [b"a", owner.encode()])
        await depot.put("file:x", [b"a"])
        began = clock.now
        assert await depot.owners("v1_", began) == made
        assert await depot.owners("v1_", began, size=2) == made[:2]
        assert await depot.owners("v1_", began, made[1], 2) == made[2:4]
        assert await depot.owners("file:", began) == ["file:x"]
        assert await depot.owners("v1_", began - 1) == []
        clock.now += 10
        await depot.put(made[2], [b"a"])
        assert await depot.owners("v1_", began + 5) == [each for each in made if each != made[2]]
        assert await depot.owners("v1_", began + 10) == made

    use(body)


def test_who_puts_while_another_drops_loses_nothing(use: Use) -> None:
    """The same few contents come and go under many owners at once; what is held at the end is there."""
    contents = [b"a" * 3000, b"b" * 3000]

    async def body(depot: Depot, clock: Clock) -> None:
        async def come_and_go(number: int) -> list[str]:
            owner = f"v1_{number}"
            for round in range(2):
                names = await depot.put(owner, contents)
                assert await depot.get(names) == contents
                if number % 2 or round < 1:
                    await depot.drop([owner])
            return names

        names = (await asyncio.gather(*(come_and_go(number) for number in range(6))))[0]
        assert await depot.get(names) == contents
        await depot.drop([f"v1_{number}" for number in range(6)])
        assert await depot.owners("", clock.now) == []
        with pytest.raises(wire.Unavailable):
            await depot.get(names)

    use(body)


@pytest.mark.parametrize("kind", sorted(SHARED))
def test_several_servers_share_a_place(kind: str, request: pytest.FixtureRequest) -> None:
    source, database = MADE[kind](request)

    async def body() -> None:
        clock = Clock()
        depots = [make(source, database=database, clock=clock) for _ in range(3)]
        try:
            (names, *_) = await asyncio.gather(*(depot.put("v1_a", [b"shared"]) for depot in depots))
            await depots[0].put("v1_b", [b"shared"])
            await depots[1].drop(["v1_a"])
            assert await depots[2].get(names) == [b"shared"]

            async def come_and_go(depot: Depot, owner: str) -> None:
                for _ in range(2):
                    assert await depot.get(await depot.put(owner, [b"together"])) == [b"together"]
                    await depot.drop([owner])

            await asyncio.gather(
                *(come_and_go(depot, f"v1_{n}{m}") for n, depot in enumerate(depots) for m in range(2))
            )
            assert await depots[0].owners("", clock.now) == ["v1_b"]
        finally:
            for depot in depots:
                await depot.aclose()

    asyncio.run(body())


moves = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "hold", "drop"]), st.integers(0, 3), st.lists(st.integers(0, 3), max_size=3)
    ),
    max_size=25,
)


@settings(max_examples=20, deadline=None)
@given(done=moves)
def test_the_disk_and_the_memory_give_the_same_answers(tmp_path_factory: pytest.TempPathFactory, done: Any) -> None:
    async def body() -> None:
        clock = Clock()
        folder = tmp_path_factory.mktemp("blobs")
        depots = [MemoryBlobs(clock), make(str(folder), clock=clock)]
        contents = [b"", b"a", b"bb" * 100, b"c" * 5000]
        for move, who, which in done:
            clock.now += 1
            said = [await _answer(depot, move, f"v1_{who}", [contents[each] for each in which]) for depot in depots]
            assert said[0] == said[1]
            held = {sha(body) for body in contents if await _there(depots[0], sha(body))}
            assert {path.name for path in folder.glob("??/*")} == held
            assert await depots[0].owners("", clock.now - 3) == await depots[1].owners("", clock.now - 3)
        await depots[1].aclose()

    asyncio.run(body())


async def _answer(depot: Depot, move: str, owner: str, bodies: list[bytes]) -> Any:
    try:
        if move == "put":
            return await depot.put(owner, bodies)
        if move == "hold":
            return await depot.hold(owner, [sha(body) for body in bodies])
        return await depot.drop([owner])
    except wire.Unavailable as error:
        return error.message


async def _there(depot: Depot, name: str) -> bool:
    try:
        await depot.get([name])
    except wire.Unavailable:
        return False
    return True


# ---------------------------------------------------------------------------------------------------- the disk


def test_a_folder_that_takes_nothing_is_unavailable(tmp_path: Path) -> None:
    async def body() -> None:
        (tmp_path / "media").write_text("in the way")
        depot = make(str(tmp_path / "media"))
        with pytest.raises(wire.Unavailable):
            await depot.put("v1_a", [b"x"])
        await depot.aclose()

    asyncio.run(body())


BUSY = """
import asyncio, sys
from antiphon.blobs import make

async def body():
    depot, me = make(sys.argv[1]), int(sys.argv[2])
    print("begun", flush=True)
    for count in range(10**6):
        body = b"%d" % (count // 2) * 5000  # the others are at the same, or were, or will be
        if count % 3 == me:
            print(*await depot.put(f"v1_{me}_{count}", [body]), flush=True)
        else:
            (name,) = await depot.put(f"v1_{me}", [body])
            assert await depot.get([name]) == [body]
            await depot.drop([f"v1_{me}"])

asyncio.run(body())
"""


def test_processes_that_are_killed_lose_nothing_that_somebody_was_given(tmp_path: Path) -> None:
    folder = tmp_path / "media"
    given: set[str] = set()
    for _ in range(2):
        command = [sys.executable, "-c", BUSY, str(folder)]
        busy = [subprocess.Popen([*command, str(n)], stdout=subprocess.PIPE, stderr=subprocess.PIPE) for n in range(3)]
        for process in busy:
            assert process.stdout is not None and process.stdout.readline() == b"begun\n"
        with pytest.raises(subprocess.TimeoutExpired):
            busy[0].wait(0.5)
        for process in busy:
            process.kill()
            said, faults = process.communicate()
            assert faults == b""
            given |= {line for line in said.decode().splitlines() if len(line) == 64}
    assert given
    for name in given:
        assert sha((folder / name[:2] / name).read_bytes()) == name
    for path in folder.glob("??/*"):
        assert sha(path.read_bytes()) == path.name


def test_bytes_on_the_disk_are_for_their_owner_alone(tmp_path: Path) -> None:
    async def body() -> None:
        depot = make(str(tmp_path / "media"))
        (name,) = await depot.put("v1_a", [b"x"])
        assert (tmp_path / "media" / name[:2] / name).stat().st_mode & 0o077 == 0
        assert list((tmp_path / "media" / "arriving").iterdir()) == []
        await depot.aclose()

    asyncio.run(body())


# ---------------------------------------------------------------------------------------------------- what the operator says


@pytest.mark.parametrize(
    "source", ["", "ftp://x/y", "s3://", "s3:///prefix", "s3://b/p?colour=red", "s3://b?endpoint=x"]
)
def test_a_place_that_is_none_is_refused(source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    with pytest.raises(ValueError, match=r"[Mm]edia"):
        make(source)


def test_the_database_must_be_named() -> None:
    with pytest.raises(ValueError, match="--database"):
        make("postgres")


# ---------------------------------------------------------------------------------------------------- S3


def test_a_store_that_does_not_know_the_key_is_unavailable_and_says_why(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It also shows that the store of these tests checks signatures."""
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "guessed")

    async def body() -> None:
        depot = make(bucket)
        with pytest.raises(wire.Unavailable, match="SignatureDoesNotMatch"):
            await depot.put("v1_a", [b"x"])
        await depot.aclose()

    asyncio.run(body())


@pytest.mark.parametrize("session", [None, "a/session+token=="])
@pytest.mark.parametrize(
    ("method", "path", "query"),
    [
        (
            "GET",
            "/bucket",
            {"list-type": "2", "prefix": "a b/ä+~", "start-after": "x=y&z", "continuation-token": "a/=="},
        ),
        ("PUT", "/bucket/of test/blobs/ab/ä~+_-.(1)*", {}),
        ("DELETE", "/", {}),
    ],
)
def test_requests_are_signed_as_amazons_own_library_signs_them(
    method: str, path: str, query: dict[str, str], session: str | None
) -> None:
    from botocore import auth, awsrequest, credentials

    payload = sha(b"a body")
    path, text = encoded(path, "/"), query_of(query)
    url = f"http://host:9000{path}" + (f"?{text}" if text else "")
    headers = {"range": "bytes=0-9", "x-amz-content-sha256": payload}
    request = awsrequest.AWSRequest(method, url, headers, b"a body")
    keys = credentials.Credentials("AKID", "a/secret", session)
    auth.S3SigV4Auth(keys, "s3", "eu-north-1").add_auth(request)
    then = datetime.datetime.strptime(request.headers["X-Amz-Date"], "%Y%m%dT%H%M%S%z").timestamp()
    ours = signed(
        Keys("AKID", "a/secret", session), "eu-north-1", method, "host:9000", path, text, headers, payload, then
    )
    assert ours["authorization"] == request.headers["Authorization"]


class Stumbling:
    """A store in which each request fails some times before it does what it should: keep nothing, have nothing."""

    def __init__(self, *answers: bytes | None) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await reader.readuntil(b"\r\n\r\n"):
                self.asked += 1
                answer = self.answers.pop(0) if self.answers else b"404 Not Found"
                if answer is None:
                    break
                writer.write(b"HTTP/1.1 %b\r\ncontent-length: 0\r\n\r\n" % answer)
        except asyncio.IncompleteReadError:
            pass
        writer.close()


@pytest.mark.parametrize("answers", [(b"503 Slow Down",), (None,), (b"500 Internal Server Error", None)])
def test_a_store_that_stumbles_is_asked_again(answers: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")

    async def body() -> None:
        stumbling = Stumbling(*answers)
        server = await asyncio.start_server(stumbling, "127.0.0.1", 0)
        place = f"s3://bucket?endpoint=http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        bucket = Bucket(place, pause=0.001)
        assert await bucket.get("key") is None and stumbling.asked == len(answers) + 1
        stumbling.answers = [b"503 Slow Down"] * 9
        with pytest.raises(wire.Unavailable, match="503"):
            await bucket.get("key")
        await bucket.aclose()
        server.close()

    asyncio.run(body())
