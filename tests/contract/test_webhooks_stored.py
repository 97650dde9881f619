"""Webhooks over each store, and two servers on one database."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook

from antiphon import wire
from antiphon.addresses import Guard
from antiphon.ports import Store
from antiphon.stores.postgres import PostgresStore
from antiphon.webhooks.deliveries import Deliveries, Limits
from antiphon.wire.webhooks import CreateWebhook
from receiver import receiving
from records import Clock, Use, record

EVENTS = ["interaction.completed", "interaction.failed"]


async def ended(project: str, id: str) -> wire.Interaction:
    return wire.Interaction(status="completed", object="interaction", id=id)


async def deliver(deliveries: Deliveries) -> None:
    await deliveries.settle()
    while await deliveries.take():
        await deliveries.settle()


def test_an_end_is_delivered_once_failures_again_and_a_rotated_secret_signs(use: Use):
    async def body(store: Store, clock: Clock) -> None:
        with receiving(lambda told, number: 503 if number == 1 else 200) as receiver:
            key = await store.secret()
            deliveries = Deliveries(store.ledger, key, Guard([receiver.allow]).resolve, clock=clock)
            deliveries.look = ended
            hook = await deliveries.webhooks.create("p", CreateWebhook(uri=receiver.url(), subscribed_events=EVENTS))
            secret = await deliveries.webhooks.rotate("p", hook.id, at_once=False)
            made = record(background=True)
            await deliveries.begins(made)
            await deliver(deliveries)
            assert receiver.told == []
            deliveries.ends(made, "completed", None)
            await deliver(deliveries)
            assert len(receiver.told) == 1
            clock.now += 7
            await deliver(deliveries)
            assert len(receiver.told) == 2 and len({told.id for told in receiver.told}) == 1
            assert await store.ledger.entries("delivery") == []
            for told in receiver.told:
                for one in (secret, hook.new_signing_secret):
                    stamp = int(told.headers["webhook-timestamp"])
                    assert any(
                        sign == Webhook(one).sign(told.id, _time(stamp), told.body.decode())
                        for sign in told.headers["webhook-signature"].split()
                    )

    use(body)


def _time(stamp: int) -> datetime:
    return datetime.fromtimestamp(stamp, UTC)


def test_two_servers_on_one_database_tell_each_end_once_and_share_what_they_sign_with(database: str):
    async def body() -> None:
        stores = [PostgresStore(database) for _ in range(2)]
        with receiving() as receiver:
            servers = [
                Deliveries(
                    store.ledger, await store.secret(), Guard([receiver.allow]).resolve, limits=Limits(poll=0.05)
                )
                for store in stores
            ]
            request = CreateWebhook(uri=receiver.url(), subscribed_events=EVENTS)
            await servers[0].webhooks.create("p", request)
            made = [record(background=True) for _ in range(60)]
            for number, one in enumerate(made):
                await servers[number % 2].begins(one)
            for server in servers:
                server.start(ended)
            for number, one in enumerate(made):
                servers[(number + 1) % 2].ends(one, "completed", None)
            told = [await asyncio.to_thread(receiver.next) for _ in made]
            for server in servers:
                await server.settle()
            assert await stores[0].ledger.entries("delivery") == []
            assert sorted(one.event["data"]["id"] for one in told) == sorted(one.id for one in made)
            await asyncio.gather(*(server.tokens.ready() for server in servers))
            assert await servers[0].tokens.jwks() == await servers[1].tokens.jwks()
            for server in servers:
                await server.aclose()
            assert len(receiver.told) == len(made)
        for store in stores:
            await store.aclose()

    asyncio.run(body())


@pytest.mark.parametrize("kind", ["webhook", "webhook_key"])
def test_what_is_kept_is_of_the_project_alone(use: Use, kind: str):
    async def body(store: Store, clock: Clock) -> None:
        deliveries = Deliveries(store.ledger, await store.secret(), Guard().resolve, clock=clock)
        request = CreateWebhook(uri="https://192.0.32.7/", subscribed_events=EVENTS)
        await deliveries.webhooks.create("p", request)
        await deliveries.tokens.ready()
        assert (await deliveries.webhooks.page("q", "", 10)).webhooks is None
        assert len(await store.ledger.entries(kind)) == 1
        assert await store.ledger.entries(kind, "q") == []

    use(body)
