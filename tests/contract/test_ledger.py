"""What every store promises of its ledger: entries that change under one's eyes, leases, listings and counters."""

import asyncio
from contextlib import AsyncExitStack

import pytest

from antiphon import app, sql, wire
from antiphon.ports import Entry, Ledger, Store
from postgres import Line
from records import STORES, Clock, Use

BODY = b'{"what":"\xe2\x82\xac"}'


def entry(id: str, body: bytes = BODY, **fields: object) -> Entry:
    return Entry(**({"kind": "note", "project": "p", "id": id, "body": body} | fields))  # type: ignore[arg-type]


def ids(entries: list[Entry]) -> list[str]:
    return [found.id for found in entries]


def test_what_is_put_is_read_back_as_version_1(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        ledger = store.ledger
        assert await ledger.put(entry("a", version=7, due=clock.now + 0.25))
        assert await ledger.read("note", "p", "a") == entry("a", due=clock.now + 0.25)
        assert await ledger.put(entry("b"))
        assert await ledger.read("note", "p", "b") == entry("b", due=None)
        assert await ledger.read("note", "p", "c") is None

    use(body)


def test_a_name_is_taken_once_within_kind_and_project(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        ledger = store.ledger
        for one in (entry("a"), entry("a", project="q"), entry("a", kind="other")):
            assert await ledger.put(one)
        assert not await ledger.put(entry("a", b"{}", due=1.0))
        assert await ledger.read("note", "p", "a") == entry("a")

    use(body)


def test_projects_and_kinds_are_apart(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        ledger = store.ledger
        assert await ledger.put(entry("a"))
        for kind, project in (("note", "q"), ("other", "p")):
            assert await ledger.read(kind, project, "a") is None
            assert await ledger.entries(kind, project) == []
            assert not await ledger.change(entry("a", b"{}", kind=kind, project=project))
            assert not await ledger.remove(kind, project, "a")
        assert await ledger.read("note", "p", "a") == entry("a")

    use(body)


def test_a_change_must_name_the_version_it_was_made_to(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        ledger = store.ledger
        await ledger.put(entry("a"))
        assert await ledger.change(entry("a", b"1", due=5.0))
        assert not await ledger.change(entry("a", b"2"))
        assert await ledger.read("note", "p", "a") == entry("a", b"1", version=2, due=5.0)
        assert await ledger.change(entry("a", b"3", version=2, due=None))
        assert await ledger.read("note", "p", "a") == entry("a", b"3", version=3)
        assert not await ledger.change(entry("unknown"))

    use(body)


def test_of_many_changes_to_one_version_one_is_made(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        ledger = store.ledger
        await ledger.put(entry("a"))
        made = await asyncio.gather(*(ledger.change(entry("a", b"%d" % number)) for number in range(20)))
        assert sum(made) == 1
        assert await ledger.read("note", "p", "a") == entry("a", b"%d" % made.index(True), version=2)

    use(body)


def test_of_many_that_put_one_name_one_does(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        made = await asyncio.gather(*(store.ledger.put(entry("a", b"%d" % number)) for number in range(20)))
        assert sum(made) == 1
        assert await store.ledger.read("note", "p", "a") == entry("a", b"%d" % made.index(True))

    use(body)


def test_removing_may_name_a_version_and_happens_once(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        ledger = store.ledger
        await ledger.put(entry("a"))
        await ledger.change(entry("a", b"1"))
        assert not await ledger.remove("note", "p", "a", 1)
        assert await ledger.remove("note", "p", "a", 2)
        assert not await ledger.remove("note", "p", "a")
        await ledger.put(entry("a"))
        assert await ledger.remove("note", "p", "a")
        assert await ledger.read("note", "p", "a") is None
        assert await ledger.put(entry("a", b"new"))
        assert await ledger.read("note", "p", "a") == entry("a", b"new")

    use(body)


STRANGE = ["A", "a", "a%", "a%b", "a_", "a_b", "a\\", "ab", "a\U0001f600", "aé", "z", "é", "é/1", "\U0001f600", "日本"]


def test_listings_are_in_the_order_of_code_points(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        ledger = store.ledger
        for id in reversed(STRANGE):
            assert await ledger.put(entry(id))
        assert ids(await ledger.entries("note", "p")) == sorted(STRANGE)
        assert ids(await ledger.entries("note")) == sorted(STRANGE)
        for id in STRANGE:
            assert await ledger.read("note", "p", id) == entry(id)
            assert ids(await ledger.entries("note", "p", after=id)) == [
                other for other in sorted(STRANGE) if other > id
            ]

    use(body)


@pytest.mark.parametrize("prefix", ["a", "a%", "a_", "a\\", "é", "\U0001f600", "%", "_", "", "b"])
def test_a_prefix_is_taken_literally(use: Use, prefix: str) -> None:
    async def body(store: Store, clock: Clock) -> None:
        for id in STRANGE:
            await store.ledger.put(entry(id))
        wanted = sorted(id for id in STRANGE if id.startswith(prefix))
        assert ids(await store.ledger.entries("note", "p", prefix=prefix)) == wanted
        assert ids(await store.ledger.entries("note", prefix=prefix)) == wanted

    use(body)


def test_listings_come_in_pages(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        ledger = store.ledger
        names = [f"k/{number:03}" for number in range(25)]
        for id in names:
            await ledger.put(entry(id))
        await ledger.put(entry("l"))
        found: list[str] = []
        while page := await ledger.entries("note", "p", prefix="k/", after=found[-1] if found else "", size=10):
            assert len(page) <= 10
            found += ids(page)
        assert found == names

    use(body)


def test_without_a_project_all_are_listed(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        ledger = store.ledger
        for id, project in (("b", "p"), ("a", "q"), ("a", "p"), ("c", "")):
            await ledger.put(entry(id, project=project))
        found = [(one.id, one.project) for one in await ledger.entries("note")]
        assert found == [("a", "p"), ("a", "q"), ("b", "p"), ("c", "")]
        assert ids(await ledger.entries("note", "")) == ["c"]

    use(body)


def test_what_is_due_is_taken_for_as_long_as_the_lease(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        ledger, now = store.ledger, clock.now
        await ledger.put(entry("never"))
        await ledger.put(entry("later", due=now + 1))
        await ledger.put(entry("now", due=now))
        await ledger.put(entry("long", due=now - 9, project="q"))
        await ledger.put(entry("other", due=now, kind="other"))
        taken = [entry("long", version=2, due=now + 30, project="q"), entry("now", version=2, due=now + 30)]
        assert await ledger.due("note", now, 30) == taken
        assert await ledger.due("note", now, 30) == []
        assert await ledger.read("note", "p", "now") == taken[1]
        assert ids(await ledger.due("note", now + 1, 30)) == ["later"]
        assert ids(await ledger.due("note", now + 30, 30)) == ["long", "now"]

    use(body)


def test_the_longest_due_are_taken_first(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        for number in range(9):
            await store.ledger.put(entry(f"{number}", due=clock.now - (number * 7) % 9))
        first = await store.ledger.due("note", clock.now, 30, size=4)
        rest = await store.ledger.due("note", clock.now, 30)
        order = sorted(range(9), key=lambda number: (number * 7) % 9, reverse=True)
        assert ids(first) + ids(rest) == [f"{number}" for number in order]
        assert len(first) == 4

    use(body)


def test_whoever_lost_a_lease_can_change_nothing(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        ledger = store.ledger
        await ledger.put(entry("a", due=clock.now))
        (slow,) = await ledger.due("note", clock.now, 30)
        (quick,) = await ledger.due("note", clock.now + 31, 30)
        assert not await ledger.change(entry("a", b"late", version=slow.version))
        assert not await ledger.remove("note", "p", "a", slow.version)
        assert await ledger.remove("note", "p", "a", quick.version)
        assert await ledger.due("note", clock.now + 1000, 30) == []

    use(body)


def test_of_many_that_ask_at_once_each_gets_others(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        for number in range(60):
            await store.ledger.put(entry(f"{number:02}", due=clock.now))
        assert await every(store.ledger, clock) == [f"{number:02}" for number in range(60)]

    use(body)


async def every(ledger: Ledger, clock: Clock, *others: Ledger) -> list[str]:
    """Take what is due in eight tasks a ledger, until nothing is; the ids of all that were taken."""
    taken: list[str] = []

    async def take(one: Ledger) -> None:
        empty = 0
        while empty < 3:  # what somebody else is just taking is passed over
            found = await one.due("note", clock.now, 30, size=3)
            empty = 0 if found else empty + 1
            taken.extend(ids(found))

    await asyncio.gather(*(take(one) for one in (ledger, *others) for _ in range(8)))
    return sorted(taken)


def test_of_two_servers_each_takes_what_the_other_does_not(database: str) -> None:
    async def inside() -> None:
        clock = Clock()
        async with AsyncExitStack() as stack:
            stores: list[Store] = []
            for _ in range(2):
                stores.append(app.load(STORES, "stores", "postgres")(database, clock))
                stack.push_async_callback(stores[-1].aclose)
            for number in range(200):
                await stores[number % 2].ledger.put(entry(f"{number:03}", due=clock.now))
            found = await every(stores[0].ledger, clock, stores[1].ledger)
            assert found == [f"{number:03}" for number in range(200)]
            sums = await asyncio.gather(
                *(stores[number % 2].ledger.add("count", "p", "c", 1, clock.now + 9) for number in range(100))
            )
            assert sorted(sums) == list(range(1, 101))

    asyncio.run(inside())


def test_a_counter_says_what_it_comes_to(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        ledger, later = store.ledger, clock.now + 60
        assert await ledger.add("count", "p", "a", 2, later) == 2
        assert await ledger.add("count", "p", "a", 0.5, later) == 2.5
        assert await ledger.add("count", "p", "a", 0, later) == 2.5
        assert await ledger.add("count", "p", "a", -1, later) == 1.5
        assert await ledger.add("count", "q", "a", 1, later) == 1
        assert await ledger.add("other", "p", "a", 1, later) == 1
        assert sorted(await asyncio.gather(*(ledger.add("count", "p", "b", 1, later) for _ in range(20)))) == [
            *range(1, 21)
        ]

    use(body)


def test_a_counter_that_expired_begins_anew(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        ledger = store.ledger
        await ledger.add("count", "p", "a", 5, clock.now + 60)
        clock.now += 59
        assert await ledger.add("count", "p", "a", 1, clock.now + 60) == 6
        clock.now += 59  # by the first alone it would have gone by now
        assert await ledger.add("count", "p", "a", 1, clock.now + 1) == 7
        clock.now += 1
        assert await ledger.add("count", "p", "a", 3, clock.now + 60) == 3

    use(body)


def test_expired_counters_are_swept_away(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        ledger, now = store.ledger, clock.now
        await ledger.put(entry("a", due=now))
        await ledger.add("count", "p", "soon", 1, now + 1)
        await ledger.add("count", "p", "late", 1, now + 9)
        assert await ledger.sweep(now) == 0
        assert await ledger.sweep(now + 1) == 1
        assert await ledger.sweep(now + 9) == 1
        assert await ledger.read("note", "p", "a") is not None

    use(body)


def test_a_write_whose_answer_is_lost_is_not_made_again(database: str) -> None:
    async def inside() -> None:
        clock = Clock()
        async with Line(database) as line:
            store: Store = app.load(STORES, "stores", "postgres")(line.url, clock)
            await store.ledger.add("count", "p", "a", 1, clock.now + 9)
            line.lose(b"INSERT 0 1")
            with pytest.raises(wire.Unavailable):
                await store.ledger.add("count", "p", "a", 1, clock.now + 9)
            assert await store.ledger.add("count", "p", "a", 1, clock.now + 9) == 3
            await store.ledger.put(entry("a"))
            line.lose(b"UPDATE 1")
            with pytest.raises(wire.Unavailable):  # and not: somebody else was first
                await store.ledger.change(entry("a", b"1"))
            assert await store.ledger.read("note", "p", "a") == entry("a", b"1", version=2)
            assert line.lost == 2
            await store.aclose()

    asyncio.run(inside())


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_entries_outlive_the_process(kind: str, request: pytest.FixtureRequest) -> None:
    place = request.getfixturevalue("tmp_path") / "a.db" if kind == "sqlite" else request.getfixturevalue("database")

    async def inside() -> None:
        for turn in range(2):
            store: Store = app.load(STORES, "stores", kind)(place, Clock())
            assert await store.ledger.put(entry("a", due=7.0)) is (turn == 0)
            assert await store.ledger.read("note", "p", "a") == entry("a", due=7.0)
            await store.aclose()

    asyncio.run(inside())


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_every_query_of_the_ledger_is_in_its_own_file(kind: str) -> None:
    assert not sql.queries(kind).keys() & sql.queries(f"{kind}_ledger").keys()
