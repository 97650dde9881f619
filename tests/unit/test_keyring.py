"""Keys: what they open, what is kept of them, and how soon a revoked one is refused everywhere."""

import asyncio
import re
from collections.abc import Awaitable, Callable

import pytest

from antiphon import wire
from antiphon.keyring import FRESH_SECONDS, KIND, Access, Keyring, Limits, digest, static_id
from antiphon.ports import Entry
from antiphon.stores.memory_ledger import MemoryLedger
from records import Clock


class Counted(MemoryLedger):
    """A ledger that counts how often it was read, and can be away."""

    reads = 0
    away = False

    async def read(self, kind: str, project: str, id: str) -> Entry | None:
        self.reads += 1
        if self.away:
            raise wire.Unavailable("away")
        return await super().read(kind, project, id)

    async def entries(self, *names: str, **options: object) -> list[Entry]:  # type: ignore[override]
        self.reads += 1
        if self.away:
            raise wire.Unavailable("away")
        return await super().entries(*names, **options)  # type: ignore[arg-type]


Body = Callable[[Keyring, Counted, Clock], Awaitable[None]]


def run(body: Body, **options: object) -> None:
    async def inside() -> None:
        clock = Clock()
        ledger = Counted(clock)
        await body(Keyring(ledger, clock=clock, ticks=clock, **options), ledger, clock)  # type: ignore[arg-type]

    asyncio.run(inside())


def other(ledger: Counted, clock: Clock) -> Keyring:
    """Another server's, on the same store."""
    return Keyring(ledger, clock=clock, ticks=clock)


def test_a_key_opens_its_project() -> None:
    async def body(keyring: Keyring, ledger: Counted, clock: Clock) -> None:
        key, text = await keyring.create("kitchen")
        assert await keyring.access(text) == Access("kitchen", key.id)
        assert text.startswith(f"{key.id}_") and re.fullmatch(r"[A-Za-z0-9_-]+", text)

    run(body)


def test_nothing_that_is_kept_has_the_key_in_it() -> None:
    async def body(keyring: Keyring, ledger: Counted, clock: Clock) -> None:
        key, text = await keyring.create("kitchen", "the oven")
        (entry,) = await ledger.entries(KIND)
        secret = text.removeprefix(f"{key.id}_")
        assert len(secret) == 43  # 256 bits
        assert secret.encode() not in entry.body and digest(text).encode() in entry.body
        assert secret not in repr(keyring.__dict__)

    run(body)


def test_what_is_no_key_opens_nothing() -> None:
    async def body(keyring: Keyring, ledger: Counted, clock: Clock) -> None:
        key, text = await keyring.create("kitchen")
        wrong = text[:-1] + ("A" if text[-1] != "A" else "B")
        for made_up in ("", "nothing", key.id, f"{key.id}_", wrong, f"{text}x", f"{'ak_0000000000000000'}_{'x' * 43}"):
            with pytest.raises(wire.Unauthenticated):
                await keyring.access(made_up)
        assert (await keyring.access(text)).project == "kitchen"

    run(body)


def test_what_does_not_look_like_a_key_is_not_looked_for() -> None:
    async def body(keyring: Keyring, ledger: Counted, clock: Clock) -> None:
        for made_up in ("x", "ak_", "ak_0000000000000000_short", "\0" * 70, "ak_00000000000000zz_" + "x" * 43):
            with pytest.raises(wire.Unauthenticated):
                await keyring.access(made_up)
        assert ledger.reads == 0

    run(body)


def test_many_requests_of_one_key_read_it_once() -> None:
    async def body(keyring: Keyring, ledger: Counted, clock: Clock) -> None:
        _, text = await keyring.create("kitchen")
        await asyncio.gather(*(keyring.access(text) for _ in range(100)))
        assert ledger.reads == 1
        assert keyring.at_once(text) is not None
        clock.now += FRESH_SECONDS
        assert keyring.at_once(text) is None
        await asyncio.gather(*(keyring.access(text) for _ in range(100)))
        assert ledger.reads == 2

    run(body)


def test_many_tries_of_one_unknown_key_read_once() -> None:
    async def body(keyring: Keyring, ledger: Counted, clock: Clock) -> None:
        for _ in range(100):
            with pytest.raises(wire.Unauthenticated):
                await keyring.access(f"ak_0000000000000000_{'x' * 43}")
        assert ledger.reads == 1

    run(body)


def test_a_revoked_key_is_refused_at_once_here_and_soon_elsewhere() -> None:
    async def body(keyring: Keyring, ledger: Counted, clock: Clock) -> None:
        key, text = await keyring.create("kitchen")
        elsewhere = other(ledger, clock)
        assert await elsewhere.access(text) == await keyring.access(text)
        revoked = await keyring.revoke(key.id)
        assert revoked.revoked == clock.now
        with pytest.raises(wire.Unauthenticated):
            await keyring.access(text)
        assert FRESH_SECONDS <= 2
        clock.now += FRESH_SECONDS
        with pytest.raises(wire.Unauthenticated):
            await elsewhere.access(text)

    run(body)


def test_revoking_again_changes_nothing_and_an_unknown_one_is_said() -> None:
    async def body(keyring: Keyring, ledger: Counted, clock: Clock) -> None:
        key, _ = await keyring.create("kitchen")
        first = await keyring.revoke(key.id)
        clock.now += 9
        assert await keyring.revoke(key.id) == first
        with pytest.raises(wire.NotFound):
            await keyring.revoke("ak_0000000000000000")

    run(body)


def test_two_that_revoke_at_once_are_both_told_that_it_is() -> None:
    async def body(keyring: Keyring, ledger: Counted, clock: Clock) -> None:
        key, _ = await keyring.create("kitchen")
        done = await asyncio.gather(keyring.revoke(key.id), other(ledger, clock).revoke(key.id))
        assert all(each.revoked for each in done)

    run(body)


def test_keys_of_the_settings_stand_beside_the_others() -> None:
    async def body(keyring: Keyring, ledger: Counted, clock: Clock) -> None:
        assert keyring.at_once("first-key-of-alpha") == Access("alpha", "static-565633b9")
        assert keyring.at_once("only-key-of-beta") == Access("beta", static_id("only-key-of-beta"))
        clock.now += 1e9
        assert keyring.at_once("only-key-of-beta") is not None
        _, text = await keyring.create("gamma")
        assert (await keyring.access(text)).project == "gamma"
        id = static_id("only-key-of-beta")
        assert keyring.is_unlimited(id) and await keyring.get(id) is None

    run(body, static={"first-key-of-alpha": "alpha", "only-key-of-beta": "beta"})


def test_a_key_that_was_taken_out_of_the_settings_may_ask_for_nothing_more() -> None:
    """Its triggers, say. What is left keeps its id, wherever it stands."""

    async def body(keyring: Keyring, ledger: Counted, clock: Clock) -> None:
        assert await keyring.is_revoked(static_id("first-key-of-alpha"))
        assert not await keyring.is_revoked(static_id("only-key-of-beta"))
        assert not await keyring.is_revoked("")  # asked before there were keys
        assert not await other(ledger, clock).is_revoked(static_id("first-key-of-alpha"))  # asks for no keys at all
        key, _ = await keyring.create("kitchen")
        assert not await keyring.is_revoked(key.id) and await keyring.is_revoked("ak_0000000000000000")
        await keyring.revoke(key.id)
        assert await keyring.is_revoked(key.id)

    run(body, static={"only-key-of-beta": "beta"})


def test_while_one_look_for_keys_goes_on_there_is_no_other() -> None:
    class Slow(Counted):
        answers = asyncio.Event()

        async def entries(self, *names: str, **options: object) -> list[Entry]:  # type: ignore[override]
            found = await super().entries(*names, **options)
            await self.answers.wait()
            return found

    async def body() -> None:
        clock = Clock()
        ledger = Slow(clock)
        keyring = Keyring(ledger, clock=clock, ticks=clock)
        first = asyncio.create_task(keyring.look())
        for _ in range(9):
            await asyncio.sleep(0)
            clock.now += FRESH_SECONDS
            await keyring.look()
        assert ledger.reads == 1
        ledger.answers.set()
        await first

    asyncio.run(body())


def test_from_the_first_key_on_requests_need_one() -> None:
    async def body(keyring: Keyring, ledger: Counted, clock: Clock) -> None:
        await keyring.look()
        assert not keyring.required
        key, _ = await other(ledger, clock).create("kitchen")
        await keyring.look()
        assert not keyring.required  # for a moment
        clock.now += FRESH_SECONDS
        await keyring.look()
        await asyncio.sleep(0)
        assert keyring.required
        await keyring.revoke(key.id)
        clock.now += 100
        await keyring.look()
        assert keyring.required  # a server does not open when its last key is revoked
        late = other(ledger, clock)
        await late.look()
        assert late.required

    run(body)


def test_while_the_store_is_away_nobody_new_comes_in() -> None:
    async def body(keyring: Keyring, ledger: Counted, clock: Clock) -> None:
        _, text = await keyring.create("kitchen")
        await keyring.access(text)
        ledger.away = True
        assert (await keyring.access(text)).project == "kitchen"
        clock.now += FRESH_SECONDS
        with pytest.raises(wire.Unavailable):
            await keyring.access(text)
        ledger.away = False
        assert (await keyring.access(text)).project == "kitchen"

    run(body)


def test_without_keys_a_store_that_is_away_changes_nothing() -> None:
    async def body(keyring: Keyring, ledger: Counted, clock: Clock) -> None:
        ledger.away = True
        await keyring.look()
        assert not keyring.required

    run(body)


def test_nobody_waits_for_a_store_that_does_not_answer() -> None:
    async def body(keyring: Keyring, ledger: Counted, clock: Clock) -> None:
        await keyring.look()
        answering = asyncio.Event()

        async def entries(*names: str, **options: object) -> list[Entry]:
            await answering.wait()
            return [Entry(kind=KIND, project="", id="ak_1", body=b"{}")]

        ledger.entries = entries  # type: ignore[method-assign]
        clock.now += FRESH_SECONDS
        async with asyncio.timeout(5):
            await keyring.look()
        assert not keyring.required
        answering.set()
        for _ in range(3):
            await asyncio.sleep(0)
        assert keyring.required

    run(body)


def test_closed_means_that_a_key_is_needed_even_where_there_is_none() -> None:
    async def body(keyring: Keyring, ledger: Counted, clock: Clock) -> None:
        assert keyring.required

    run(body, closed=True)


@pytest.mark.parametrize("project", ["", "-a", "a b", "a/b", "ä", "x" * 64, "a\n"])
def test_a_project_has_a_plain_name(project: str) -> None:
    async def body(keyring: Keyring, ledger: Counted, clock: Clock) -> None:
        with pytest.raises(wire.InvalidRequest, match="'project'"):
            await keyring.create(project)

    run(body)


def test_keys_are_listed_in_the_order_they_were_made_in() -> None:
    async def body(keyring: Keyring, ledger: Counted, clock: Clock) -> None:
        made = []
        for number in range(25):
            clock.now += 0.01
            key, _ = await keyring.create("p" if number % 2 else "q", f"{number}", Limits(tokens_per_day=number + 1))
            made.append(key)
        made[3] = await keyring.revoke(made[3].id)
        assert await keyring.all() == made
        assert await keyring.page(made[9].id, 5) == made[10:15]

    run(body)
