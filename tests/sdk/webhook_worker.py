"""A server without its HTTP: `webhook_worker.py DATABASE REACHABLE [RECEIVER]`.

With a receiver it makes a webhook and a background interaction, and prints the interaction's id and the secret. What a
server that was killed had in hand is left alone for half a second.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from antiphon import wire
from antiphon.addresses import Guard
from antiphon.bus.local import LocalBus
from antiphon.catalog import Catalog, Served
from antiphon.engine import Engine
from antiphon.models.scripted import Script, Scripted
from antiphon.stores.sqlite import SqliteStore
from antiphon.webhooks.deliveries import Deliveries, Limits
from antiphon.wire.webhooks import CreateWebhook


async def main(database: str, reachable: str, receiver: str | None = None) -> None:
    store = SqliteStore(Path(database))
    key = await store.secret()
    limits = Limits(seconds=60.0, lease=0.5, poll=0.05)
    deliveries = Deliveries(store.ledger, key, Guard([reachable]).resolve, limits=limits)
    engine = Engine(
        store=store,
        bus=LocalBus(),
        models={"scripted": Scripted(Script())},
        resolve=Catalog({"scripted": Served()}, "scripted", {}).resolve,
        key=key,
        watchers=(deliveries,),
    )
    deliveries.start(engine.archive.get)
    if receiver is not None:
        request = CreateWebhook(uri=receiver, subscribed_events=["interaction.completed"])
        hook = await deliveries.webhooks.create("p", request)
        run = await engine.create("p", wire.CreateInteraction(model="scripted", input="Hi", background=True))
        print(run.record.id, hook.new_signing_secret, flush=True)
    await asyncio.Event().wait()


asyncio.run(main(*sys.argv[1:]))
