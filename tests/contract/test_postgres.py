"""What PostgreSQL adds to a store's promises: many servers at once, and a database that goes away and comes back."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import msgspec
import pytest

from antiphon import log, sql, wire
from antiphon.ports import Fenced, Stored
from antiphon.stores.postgres import PostgresStore
from postgres import Line, Postgres
from records import WHOLE, Clock, ending, opening, record, segment, words
from serving import ServerFactory

PATIENCE = 120.0  # seconds: no wait here takes longer
SHORT = 0.3  # seconds: what a store that is to give up soon is given
COMMITTED = b"INSERT 0 1"  # what the database answers to a create or an append when it is on its disk

# A row as each version of the schema had it, by version: what migrations must carry along. A new migration needs a new one.
SAMPLES = {
    1: (
        "INSERT INTO antiphon.interaction"
        " (id, project, conversation, status, last, compacted, updated, ended, expires, record, frames)"
        " VALUES ($1, 'p', $1, 'completed', 6, false, 1800000000, 1800000000, 1800000100, $2, $3)"
    ),
}
SAMPLES |= dict.fromkeys((2, 3), SAMPLES[1])  # a row is written as before: what came to it has a default


def run(body: Callable[[Callable[..., PostgresStore]], Awaitable[None]]) -> None:
    """Run a body that is given a factory of stores, all of which are closed at its end."""

    async def inside() -> None:
        async with AsyncExitStack() as stack, asyncio.timeout(PATIENCE):

            def opened(url: str, clock: Clock | None = None, **options: Any) -> PostgresStore:
                store = PostgresStore(url, clock or Clock(), **options)
                stack.push_async_callback(store.aclose)
                return store

            await body(opened)

    asyncio.run(inside())


async def stored_of(store: PostgresStore, id: str) -> Stored:
    stored = await store.get("p", id)
    assert stored is not None
    return stored


# ---------------------------------------------------------------------------------------------------- the schema


def test_servers_that_start_together_bring_the_schema_up_to_date_once(database: str) -> None:
    async def body(opened: Callable[..., PostgresStore]) -> None:
        stores = [opened(database) for _ in range(8)]
        keys = await asyncio.gather(*(store.secret() for store in stores))
        assert len(set(keys)) == 1

    run(body)


def test_there_is_a_sample_of_every_version() -> None:
    assert set(SAMPLES) == {number for number, _ in sql.migrations("postgres")}


@pytest.mark.parametrize("version", [0, *SAMPLES])
def test_what_an_earlier_version_kept_is_kept(database: str, version: int) -> None:
    async def body(opened: Callable[..., PostgresStore]) -> None:
        made = record()
        connection = await asyncpg.connect(database)
        if version:
            queries = sql.queries("postgres")
            for step in ("create_schema", "create_version", "insert_version"):
                await connection.execute(queries[step])
            for _, script in sql.migrations("postgres")[:version]:
                await connection.execute(script)
            await connection.execute(queries["set_version"], version)
            await connection.execute(SAMPLES[version], made.id, msgspec.json.encode(made), WHOLE.frames)
        store = opened(database)
        if version:
            stored = await stored_of(store, made.id)
            assert (stored.record, stored.frames, stored.status) == (made, WHOLE.frames, "completed")
        fresh = record(made)
        await store.create(fresh, "completed", WHOLE)
        assert [stored.record.id for stored in await store.lineage("p", fresh.id)][-1] == fresh.id
        newest = sql.migrations("postgres")[-1][0]
        assert await connection.fetchval("SELECT number FROM antiphon.version") == newest
        await connection.close()

    run(body)


def test_a_newer_schema_is_refused_in_words(database: str) -> None:
    async def body(opened: Callable[..., PostgresStore]) -> None:
        await opened(database).secret()
        connection = await asyncpg.connect(database)
        await connection.execute("UPDATE antiphon.version SET number = 1000")
        await connection.close()
        with pytest.raises(wire.FailedPrecondition, match=r"version 1000 .* up to 3"):
            await opened(database).secret()

    run(body)


@pytest.mark.parametrize("url", ["mysql://u:hunter2@h/d", "postgresql://u:hun/ter2@h/d", "hunter2", ""])
def test_what_is_no_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(ValueError, match="must look like") as refusal:
        PostgresStore(url)
    assert "hunter2" not in str(refusal.value) and "hun" not in str(refusal.value)


def test_a_url_may_name_several_hosts(database: str) -> None:
    async def body(opened: Callable[..., PostgresStore]) -> None:
        several = re.sub(r"@([^/]+)/", r"@127.0.0.1:1,\1/", database)
        assert len(await opened(several).secret()) == 32

    run(body)


def test_a_backup_made_while_servers_write_is_one_moment_and_can_be_gone_on_with(
    database: str, postgres: Postgres
) -> None:
    async def body(opened: Callable[..., PostgresStore]) -> None:
        store = opened(database)
        ended, running = record(), record(background=True)
        await store.create(ended, "completed", WHOLE)
        await store.create(running, "in_progress", segment(1, *opening()))
        key = await store.secret()
        back, ends = asyncio.Event(), asyncio.Event()
        others = [record(background=True) for _ in range(5)]
        for made in others:
            await store.create(made, "in_progress")
        tasks = [asyncio.create_task(write_on(store, made.id, ends, back)) for made in others]
        copy = opened(await asyncio.to_thread(postgres.copy, database))
        ends.set()
        written = await asyncio.gather(*tasks)
        assert await copy.secret() == key
        assert (await stored_of(copy, ended.id)).frames == WHOLE.frames
        claimed = await copy.claim(running.id)
        assert claimed is not None
        await copy.append(running.id, claimed.attempt, "completed", segment(3, *words("a", "b"), *ending()))
        assert (await stored_of(copy, running.id)).frames == WHOLE.frames
        for made, frames in zip(others, written, strict=True):
            stored = await stored_of(copy, made.id)
            assert frames.startswith(stored.frames) and stored.status == "in_progress"
            numbers = [number for number, _ in log.decode(stored.frames)]
            assert numbers == list(range(1, len(numbers) + 1))

    run(body)


# ---------------------------------------------------------------------------------------------------- many servers


def test_one_servers_claim_fences_the_other_out(database: str) -> None:
    async def body(opened: Callable[..., PostgresStore]) -> None:
        one, other = opened(database), opened(database)
        made = record(background=True)
        await one.create(made, "in_progress", segment(1, *opening()))
        claims = await asyncio.gather(*(store.claim(made.id) for store in (one, other) for _ in range(5)))
        assert sorted(claim.attempt for claim in claims if claim) == list(range(2, 12)), "no attempt is given twice"
        for late in range(1, 11):
            with pytest.raises(Fenced):
                await one.append(made.id, late, "in_progress", segment(3, *words("late")))
        await other.append(made.id, 11, "completed", segment(3, *words("a", "b"), *ending()))
        assert (await stored_of(one, made.id)).frames == WHOLE.frames

    run(body)


def test_a_claim_sees_all_that_the_attempt_before_could_write(database: str) -> None:
    """Claims and appends of one interaction at the same moment: whoever comes second sees the first."""

    async def body(opened: Callable[..., PostgresStore]) -> None:
        one, other = opened(database), opened(database)
        for _ in range(30):
            made = record(background=True)
            await one.create(made, "in_progress", segment(1, *opening()))
            append = one.append(made.id, 1, "in_progress", segment(3, *words("a")))
            written, claimed = await asyncio.gather(append, other.claim(made.id), return_exceptions=True)
            assert isinstance(claimed, Stored)
            there = len(log.split(claimed.frames))
            assert there == (2 if isinstance(written, Fenced) else 3), written

    run(body)


def test_branches_that_are_deleted_at_the_same_moment_take_their_trunk_with_them(database: str) -> None:
    async def body(opened: Callable[..., PostgresStore]) -> None:
        stores = [opened(database) for _ in range(4)]
        for _ in range(20):
            first = record()
            second = record(first)
            branches = [record(second) for _ in stores]
            for made in (first, second, *branches):
                await stores[0].create(made, "completed", WHOLE)
            assert await stores[0].delete("p", first.id) and await stores[0].delete("p", second.id)
            pairs = zip(stores, branches, strict=True)
            assert all(await asyncio.gather(*(store.delete("p", made.id) for store, made in pairs)))
            for made in (first, second, *branches):
                assert not await stores[0].exists(made.id)

    run(body)


def test_sweepers_on_many_servers_do_the_work_once(database: str) -> None:
    async def body(opened: Callable[..., PostgresStore]) -> None:
        clock = Clock()
        stores = [opened(database, clock) for _ in range(4)]
        old = [record() for _ in range(300)]
        kept = [record(expires=1_900_000_000.0) for _ in range(50)]
        for made in (*old, *kept):
            await stores[0].create(made, "completed", WHOLE)
        clock.now += 200
        touched = await asyncio.gather(*(store.sweep(clock.now, clock.now) for store in stores))
        assert sum(touched) == len(old) + len(kept)
        assert [await stores[0].exists(made.id) for made in (old[0], old[-1])] == [False, False]
        assert all([(await stored_of(stores[0], made.id)).compacted for made in kept])

    run(body)


# ---------------------------------------------------------------------------------------------------- answers that are lost


def test_an_append_whose_answer_is_lost_is_written_once(database: str) -> None:
    async def body(opened: Callable[..., PostgresStore]) -> None:
        async with Line(database) as line:
            store = opened(line.url)
            made = record(background=True)
            await store.create(made, "in_progress", segment(1, *opening()))
            line.lose(COMMITTED)
            await store.append(made.id, 1, "in_progress", segment(3, *words("a")))
            line.lose(COMMITTED)
            await store.append(made.id, 1, "completed", segment(4, *words("b"), *ending()))
            assert line.lost == 2
            assert (await stored_of(store, made.id)).frames == WHOLE.frames

    run(body)


def test_an_append_is_written_once_although_more_has_gathered_before_it_is_tried_again(database: str) -> None:
    async def body(opened: Callable[..., PostgresStore]) -> None:
        async with Line(database) as line:
            store, other = opened(line.url, patience=SHORT), opened(database)
            made = record(background=True)
            await store.create(made, "in_progress", segment(1, *opening()))
            line.freeze(COMMITTED)
            with pytest.raises(wire.Unavailable):
                await store.append(made.id, 1, "in_progress", segment(3, *words("a")))
            assert len(log.split((await stored_of(other, made.id)).frames)) == 3, "it was written, and nobody was told"
            line.thaw()
            await store.append(made.id, 1, "completed", segment(3, *words("a", "b"), *ending()))
            assert (await stored_of(other, made.id)).frames == WHOLE.frames

    run(body)


def test_a_create_whose_answer_is_lost_is_one_interaction(database: str) -> None:
    async def body(opened: Callable[..., PostgresStore]) -> None:
        async with Line(database) as line:
            store = opened(line.url)
            await store.secret()
            made = record()
            line.lose(COMMITTED)
            await store.create(made, "completed", WHOLE)
            await store.create(made, "completed", WHOLE)
            assert line.lost == 1
            assert (await stored_of(store, made.id)).frames == WHOLE.frames
            assert len(await store.page("p", None, 10)) == 1
            with pytest.raises(wire.AlreadyExists):
                await store.create(record(id=made.id, model="other"), "completed", WHOLE)

    run(body)


def test_an_append_that_would_leave_a_gap_or_rewrite_the_past_is_refused(database: str) -> None:
    async def body(opened: Callable[..., PostgresStore]) -> None:
        store = opened(database)
        made = record(background=True)
        await store.create(made, "in_progress", segment(1, *opening()))
        await store.append(made.id, 1, "in_progress", segment(3, *words("a")))
        for wrong in (segment(5, *words("c")), segment(3, *words("z")), segment(1, *opening()), segment(3, *ending())):
            with pytest.raises(Fenced):
                await store.append(made.id, 1, "in_progress", wrong)
        assert (await stored_of(store, made.id)).frames == segment(1, *opening(), *words("a")).frames

    run(body)


# ---------------------------------------------------------------------------------------------------- a database away


def test_a_read_after_a_restart_does_not_fail_over_the_old_connections(database: str, postgres: Postgres) -> None:
    async def body(opened: Callable[..., PostgresStore]) -> None:
        store = opened(database)
        made = record()
        await store.create(made, "completed", WHOLE)
        await asyncio.to_thread(postgres.restart)
        assert (await stored_of(store, made.id)).frames == WHOLE.frames

    run(body)


def test_a_database_that_is_away_is_waited_for_by_trying_again(database: str, postgres: Postgres) -> None:
    async def body(opened: Callable[..., PostgresStore]) -> None:
        before, after = opened(database), opened(database)
        made = record(background=True)
        await before.create(made, "in_progress", segment(1, *opening()))
        await asyncio.to_thread(postgres.stop)
        try:
            for store in (before, after):
                for attempt in (store.append(made.id, 1, "completed", WHOLE), store.get("p", made.id), store.secret()):
                    with pytest.raises(wire.Unavailable):
                        await attempt
        finally:
            await asyncio.to_thread(postgres.start)
        await before.append(made.id, 1, "completed", segment(3, *words("a", "b"), *ending()))
        assert (await stored_of(after, made.id)).frames == WHOLE.frames

    run(body)


def test_a_database_that_does_not_answer_is_not_waited_for_longer_than_said(database: str) -> None:
    async def body(opened: Callable[..., PostgresStore]) -> None:
        async with Line(database) as line:
            store = opened(line.url, patience=SHORT)
            await store.secret()
            line.freeze()
            with pytest.raises(wire.Unavailable):
                await store.get("p", "v1_x")
            line.thaw()
            assert await store.get("p", "v1_x") is None

    run(body)


def test_a_statement_that_waits_for_a_lock_gives_up_in_time(database: str) -> None:
    async def body(opened: Callable[..., PostgresStore]) -> None:
        store = opened(database, patience=SHORT)
        made = record(background=True)
        await store.create(made, "in_progress", segment(1, *opening()))
        frozen = await asyncpg.connect(database)
        async with frozen.transaction():
            await frozen.execute("SELECT FROM antiphon.interaction FOR UPDATE")
            with pytest.raises(wire.Unavailable):
                await store.append(made.id, 1, "in_progress", segment(3, *words("a")))
        await frozen.close()
        await store.append(made.id, 1, "completed", segment(3, *words("a", "b"), *ending()))
        assert (await stored_of(store, made.id)).frames == WHOLE.frames

    run(body)


def test_a_server_that_stands_still_within_a_transaction_keeps_nobody_waiting_for_long(database: str) -> None:
    async def body(opened: Callable[..., PostgresStore]) -> None:
        frozen, other = opened(database, patience=SHORT), opened(database)
        made = record(background=True)
        await other.create(made, "in_progress", segment(1, *opening()))
        locked, over = asyncio.Event(), asyncio.Event()

        async def stand_still(connection: Any) -> None:
            async with connection.transaction():
                await connection.execute("UPDATE antiphon.interaction SET hidden = true")
                locked.set()
                await over.wait()

        standing = asyncio.create_task(frozen._on(stand_still))
        await locked.wait()
        await other.append(made.id, 1, "completed", segment(3, *words("a", "b"), *ending()))
        over.set()
        with pytest.raises(wire.Unavailable):
            await standing
        assert (await stored_of(other, made.id)).frames == WHOLE.frames

    run(body)


def test_a_database_that_would_acknowledge_too_early_is_asked_not_to(database: str) -> None:
    async def body(opened: Callable[..., PostgresStore]) -> None:
        connection = await asyncpg.connect(database)
        name = await connection.fetchval("SELECT current_database()")
        for given, used in (("off", "on"), ("remote_apply", "remote_apply")):
            await connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = {given}")
            shown = await opened(database)._on(lambda inside: inside.fetchval("SHOW synchronous_commit"))
            assert shown == used
        await connection.execute(f"ALTER DATABASE {name} RESET synchronous_commit")
        await connection.close()

    run(body)


async def write_on(store: PostgresStore, id: str, ends: asyncio.Event, back: asyncio.Event) -> bytes:
    """Append to a log until `ends`, as a run does: what failed is tried again with what came meanwhile. All of it."""
    frames, waiting, last = b"", opening(id), 0
    while True:
        if ends.is_set():
            waiting += ending(id)
        status = "completed" if ends.is_set() else "in_progress"
        piece = segment(last + 1, *waiting)
        while True:
            try:
                await store.append(id, 1, status, piece)
                break
            except wire.Unavailable:
                await back.wait()
                if status == "in_progress":
                    waiting += words("more")
                    piece = segment(last + 1, *waiting)
        frames, last, waiting = frames + piece.frames, piece.last, words("one", "two")
        if status == "completed":
            return frames


def test_crashes_of_the_database_under_load_lose_nothing_and_double_nothing(database: str, postgres: Postgres) -> None:
    async def body(opened: Callable[..., PostgresStore]) -> None:
        store = opened(database)
        back, ends = asyncio.Event(), asyncio.Event()
        back.set()
        runs = [record(background=True) for _ in range(20)]
        for made in runs:
            await store.create(made, "in_progress")
        tasks = [asyncio.create_task(write_on(store, made.id, ends, back)) for made in runs]
        for _ in range(3):
            seen = (await stored_of(store, runs[-1].id)).frames
            while (await stored_of(store, runs[-1].id)).frames == seen:
                pass  # until writing is under way again
            back.clear()
            await asyncio.to_thread(postgres.restart, "immediate")
            back.set()
        ends.set()
        for made, frames in zip(runs, await asyncio.gather(*tasks), strict=True):
            stored = await stored_of(store, made.id)
            assert stored.frames == frames and stored.status == "completed"
            numbers = [number for number, _ in log.decode(stored.frames)]
            assert numbers == list(range(1, len(numbers) + 1))

    run(body)


# ---------------------------------------------------------------------------------------------------- words from outside


@pytest.mark.parametrize("id", ["v1_\0", "v1_\ud800", "v1_é", "'; DROP SCHEMA antiphon; --"])
def test_an_id_that_cannot_be_is_one_that_is_not_there(database: str, id: str) -> None:
    async def body(opened: Callable[..., PostgresStore]) -> None:
        store = opened(database)
        assert await store.get("p", id) is None
        assert await store.lineage("p", id) == []
        assert await store.claim(id) is None
        assert await store.page("p", id, 10) == []
        assert not await store.delete("p", id)
        assert not await store.exists(id)

    run(body)


def test_the_password_is_in_no_log_and_no_error(database: str, caplog: pytest.LogCaptureFixture) -> None:
    password = urlsplit(database).password
    assert password is not None
    wrong = "5ecret"

    async def body(opened: Callable[..., PostgresStore]) -> None:
        for url in (database.replace(password, wrong), re.sub(r":\d+/", ":1/", database), database + "_not_there"):
            with pytest.raises(wire.Unavailable) as away:
                await opened(url).secret()
            cause: BaseException | None = away.value
            while cause is not None:
                assert password not in repr(cause) and wrong not in repr(cause)
                cause = cause.__cause__
        assert password not in repr(opened(database))

    with caplog.at_level(logging.DEBUG):
        run(body)
    assert "the database cannot be used" in caplog.text
    assert password not in caplog.text and wrong not in caplog.text


def test_a_lone_servers_claim_is_taken_again_after_a_restart_of_the_database(database: str, postgres: Postgres) -> None:
    async def body(opened: Callable[..., PostgresStore]) -> None:
        first, later = opened(database), opened(database)
        await first.alone()
        assert first._alone is not None
        before = first._alone._connection
        await asyncio.to_thread(postgres.restart, "immediate")
        while first._alone._connection is before:  # noqa: ASYNC110 - another process: nothing here could tell
            await asyncio.sleep(0)
        with pytest.raises(wire.FailedPrecondition, match="Another server is using this database"):
            await later.alone()

    run(body)


# ---------------------------------------------------------------------------------------------------- a whole server


def test_a_server_keeps_its_conversations_in_the_database(server: ServerFactory, database: str) -> None:
    first = server("", ANTIPHON_DATABASE=database)
    made = first.create("My name is Phil.")
    later = first.create("Hello again.", previous_interaction_id=made["id"])
    first.restart()
    assert first.get(later["id"])["previous_interaction_id"] == made["id"]
    assert [step["type"] for step in first.get(made["id"])["steps"]] == ["user_input", "model_output"]


def test_a_background_run_survives_the_death_of_its_server(server: ServerFactory, database: str) -> None:
    dying = server('[[turns]]\ntext = "one two"\nfault = { kind = "stall", after = 1 }', ANTIPHON_DATABASE=database)
    made = dying.create("Go on.", background=True)
    dying.kill()
    alive = server('[[turns]]\ntext = "done"', ANTIPHON_DATABASE=database)
    events = list(alive.events("GET", f"/v1beta/interactions/{made['id']}?stream=true"))
    assert events[-1]["event_type"] == "interaction.completed"
    assert alive.get(made["id"])["status"] == "completed"


def test_a_second_server_on_the_same_database_is_refused(server: ServerFactory, database: str) -> None:
    server("", ANTIPHON_DATABASE=database)
    with pytest.raises(AssertionError, match="Another server is using this database"):
        server("", ANTIPHON_DATABASE=database)


def test_a_database_that_cannot_be_reached_stops_the_start_with_words(server: ServerFactory) -> None:
    with pytest.raises(AssertionError, match="The database"):
        server("", ANTIPHON_DATABASE="postgresql://nobody:secret-word@127.0.0.1:9/none")
