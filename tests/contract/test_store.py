"""What every store promises. A new store joins by a row in `app.STORES` and a line in conftest.py's `PLACES`."""

import asyncio
from pathlib import Path

import pytest

from antiphon import app, log, wire
from antiphon.ports import Fenced, Store, Stored
from records import PLACES, WHOLE, Clock, Use, ending, opening, record, segment, words


def test_every_store_keeps_this_contract() -> None:
    assert set(app.STORES) <= set(PLACES)


def test_what_is_created_is_read_back(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        made = record()
        await store.create(made, "completed", WHOLE)
        stored = await store.get("p", made.id)
        assert stored is not None
        assert (stored.record, stored.status, stored.frames, stored.attempt) == (made, "completed", WHOLE.frames, 1)
        assert await store.exists(made.id)

    use(body)


def test_another_project_sees_nothing(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        made = record()
        await store.create(made, "completed", WHOLE)
        assert await store.get("q", made.id) is None
        assert await store.lineage("q", made.id) == []
        assert await store.page("q", None, 10) == []
        assert not await store.delete("q", made.id)
        assert await store.get("p", made.id) is not None

    use(body)


def test_appended_events_follow_in_order(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        made = record(background=True)
        await store.create(made, "in_progress")
        assert await store.unfinished() == [made.id]
        await store.append(made.id, 1, "in_progress", segment(1, *opening(), *words("a")))
        await store.append(made.id, 1, "completed", segment(4, *words("b"), *ending()))
        stored = await store.get("p", made.id)
        assert stored is not None and stored.frames == WHOLE.frames and stored.status == "completed"
        assert await store.unfinished() == []

    use(body)


def test_an_older_attempt_can_write_nothing(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        made = record(background=True)
        await store.create(made, "in_progress", segment(1, *opening()))
        claimed = await store.claim(made.id)
        assert claimed is not None and claimed.attempt == 2 and log.number(log.split(claimed.frames)[-1]) == 2
        with pytest.raises(Fenced):
            await store.append(made.id, 1, "in_progress", segment(3, *words("late")))
        await store.append(made.id, 2, "completed", segment(3, *words("a", "b"), *ending()))
        stored = await store.get("p", made.id)
        assert stored is not None and stored.frames == WHOLE.frames

    use(body)


def test_what_has_ended_can_neither_be_claimed_nor_appended_to(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        made = record()
        await store.create(made, "completed", WHOLE)
        assert await store.claim(made.id) is None
        with pytest.raises(Fenced):
            await store.append(made.id, 1, "completed", segment(7, *words("more")))

    use(body)


def test_a_refused_write_leaves_its_neighbours_alone(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        good = [record() for _ in range(20)]
        writes = [store.create(made, "completed", WHOLE) for made in good]
        bad = store.append("v1_unknown", 1, "completed", WHOLE)
        outcomes = await asyncio.gather(*writes[:10], bad, *writes[10:], return_exceptions=True)
        assert [type(outcome) for outcome in outcomes if outcome is not None] == [Fenced]
        for made in good:
            assert await store.get("p", made.id) is not None

    use(body)


def test_lineage_is_the_chain_from_its_first_turn(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        first = record()
        second = record(first)
        left, right = record(second), record(second)
        for made in (first, second, left, right):
            await store.create(made, "completed", WHOLE)
        for leaf in (left, right):
            chain = await store.lineage("p", leaf.id)
            assert [stored.record.id for stored in chain] == [first.id, second.id, leaf.id]
            assert all(stored.frames == WHOLE.frames for stored in chain)

    use(body)


def test_a_deleted_parent_is_gone_and_still_its_childrens_past(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        first = record()
        second = record(first)
        for made in (first, second):
            await store.create(made, "completed", WHOLE)
        assert await store.delete("p", first.id)
        assert await store.get("p", first.id) is None
        assert await store.lineage("p", first.id) == []
        assert not await store.delete("p", first.id)
        assert [stored.record.id for stored in await store.lineage("p", second.id)] == [first.id, second.id]
        assert await store.exists(first.id)
        assert await store.delete("p", second.id)
        assert not await store.exists(first.id), "with its last child the deleted parent is erased"
        assert not await store.exists(second.id)

    use(body)


def test_a_page_is_newest_first_and_goes_on_where_it_ended(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        made = [record() for _ in range(5)]
        for each in made:
            await store.create(each, "completed", WHOLE)
        newest = [each.id for each in reversed(made)]
        page = await store.page("p", None, 2)
        assert [stored.record.id for stored in page] == newest[:2]
        rest = await store.page("p", page[-1].record.id, 10)
        assert [stored.record.id for stored in rest] == newest[2:]

    use(body)


def test_what_has_expired_is_not_seen_and_is_swept_away(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        first = record()
        second = record(first, expires=1_800_000_500.0)
        for made in (first, second):
            await store.create(made, "completed", WHOLE)
        clock.now += 200
        assert await store.get("p", first.id) is None
        await store.sweep(clock.now, 0)
        assert await store.exists(first.id), "a later turn still needs it"
        assert len(await store.lineage("p", second.id)) == 2
        clock.now += 400
        await store.sweep(clock.now, 0)
        assert not await store.exists(first.id) and not await store.exists(second.id)

    use(body)


def test_a_run_under_way_does_not_expire(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        made = record(background=True)
        await store.create(made, "in_progress")
        clock.now += 1000
        await store.sweep(clock.now, clock.now)
        assert await store.exists(made.id)

    use(body)


def test_sweeping_compacts_what_ended_long_ago_and_nothing_else(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        old, running = record(), record(background=True)
        await store.create(old, "completed", WHOLE)
        await store.create(running, "in_progress", segment(1, *opening(), *words("a", "b")))
        clock.now += 50
        fresh = record()
        await store.create(fresh, "completed", WHOLE)
        await store.sweep(clock.now, clock.now - 10)
        stored = await store.get("p", old.id)
        assert stored is not None and stored.compacted
        assert [number for number, _ in log.decode(stored.frames)] == [1, 2, 4, 5, 6]
        assert log.fold(log.decode(stored.frames)) == log.fold(log.decode(WHOLE.frames))
        for untouched in (fresh, running):
            stored = await store.get("p", untouched.id)
            assert stored is not None and not stored.compacted
        assert await store.sweep(clock.now, clock.now - 10) == 0

    use(body)


def test_an_attempt_that_was_given_back_writes_nothing_more_and_was_no_crash(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        made = record(background=True)
        await store.create(made, "in_progress", segment(1, *opening()))
        await store.release(made.id, 1)
        await store.release(made.id, 1)
        claimed = await store.claim(made.id)
        assert claimed is not None and (claimed.attempt, claimed.crashes) == (3, 0)
        with pytest.raises(Fenced):
            await store.append(made.id, 1, "in_progress", segment(3, *words("late")))
        again = await store.claim(made.id)
        assert again is not None and (again.attempt, again.crashes) == (4, 1), "this one was not given back"
        await store.append(made.id, 4, "completed", segment(3, *words("a", "b"), *ending()))

    use(body)


def test_what_is_unfinished_is_told_oldest_first(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        made = [record(background=True) for _ in range(5)]
        for each in reversed(made):
            await store.create(each, "in_progress")
        assert await store.unfinished() == [each.id for each in made]

    use(body)


def test_what_is_brought_in_is_kept_as_it_was(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        first = record()
        chain = [Stored(made, "completed", clock.now - 5, 1, WHOLE.frames) for made in (first, record(first))]
        await store.bring_in(chain)
        kept = await store.lineage("p", chain[-1].record.id)
        assert [(stored.record, stored.updated, stored.frames) for stored in kept] == [
            (stored.record, stored.updated, stored.frames) for stored in chain
        ]

    use(body)


def test_of_a_conversation_that_is_partly_here_nothing_is_brought_in(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        first = record()
        second, third = record(first), record(first)
        await store.create(second, "completed", WHOLE)
        chain = [Stored(made, "completed", clock.now, 1, WHOLE.frames) for made in (first, second, third)]
        with pytest.raises(wire.AlreadyExists):
            await store.bring_in(chain)
        assert [await store.exists(made.id) for made in (first, second, third)] == [False, True, False]

    use(body)


def test_the_secret_is_made_once(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        assert len(await store.secret()) == 32
        assert await store.secret() == await store.secret()

    use(body)


def test_sqlite_keeps_everything_across_a_restart(tmp_path: Path) -> None:
    async def body() -> None:
        make = app.load(app.STORES, "stores", "sqlite")
        clock = Clock()
        made = record()
        store = make(tmp_path / "a.db", clock)
        await store.create(made, "completed", WHOLE)
        key = await store.secret()
        await store.aclose()
        again = make(tmp_path / "a.db", clock)
        stored = await again.get("p", made.id)
        assert stored is not None and stored.frames == WHOLE.frames and await again.secret() == key
        await again.aclose()

    asyncio.run(body())


def test_what_waits_for_a_server_has_not_crashed_when_it_gets_one(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        made = record(background=True)
        await store.create(made, "in_progress", waits=True)
        first, second = await store.claim(made.id), await store.claim(made.id)
        assert first is not None and first.crashes == 0
        assert second is not None and second.crashes == 1

    use(body)


def test_how_far_logs_have_come_is_told_for_many_at_once(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        begun, going, over = record(background=True), record(background=True), record()
        await store.create(begun, "in_progress")
        await store.create(going, "in_progress")
        await store.append(going.id, 1, "in_progress", segment(1, *opening(), *words("a")))
        await store.create(over, "completed", WHOLE)
        reached = await store.reached([begun.id, going.id, over.id, "v1_unknown", "v1_\0"])
        assert reached == {begun.id: (0, False), going.id: (3, False), over.id: (log.reach(WHOLE.frames), True)}

    use(body)


def test_what_was_not_written_to_for_a_while_is_found(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        quiet, busy = record(background=True), record(background=True)
        await store.create(quiet, "in_progress")
        await store.create(busy, "in_progress")
        clock.now += 10
        await store.append(busy.id, 1, "in_progress", segment(1, *opening()))
        assert await store.unfinished(clock.now - 5) == [quiet.id]
        assert await store.unfinished() == [quiet.id, busy.id]

    use(body)


def test_what_a_reader_has_may_be_left_out(use: Use) -> None:
    async def body(store: Store, clock: Clock) -> None:
        made = record(background=True)
        await store.create(made, "in_progress")
        await store.append(made.id, 1, "in_progress", segment(1, *opening()))
        await store.append(made.id, 1, "in_progress", segment(3, *words("a", "b")))
        for after in range(5):
            stored = await store.get("p", made.id, after)
            assert stored is not None
            assert [number for number, _ in log.decode(log.behind(stored.frames, after))] == list(range(after + 1, 5))

    use(body)
