"""Webhooks: who is told, how it is signed, and what holds when receivers and servers fail."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import itertools
import json
from functools import wraps
from typing import Any

import pytest
from hook_world import ALL, KEY, World, going
from hypothesis import given
from hypothesis import strategies as st
from jwcrypto import jwk, jwt
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from antiphon import wire
from antiphon.ports import Entry
from antiphon.stores.memory_ledger import MemoryLedger
from antiphon.webhooks.deliveries import Delivery, Retries, _encode
from antiphon.wire.webhooks import CreateWebhook, UpdateWebhook
from receiver import Receiver, Told, receiving
from records import Clock
from triggering import Jumbled

DAY = 24 * 3600.0


def run_async(test: Any) -> Any:
    @wraps(test)
    def run(*arguments: Any, **named: Any) -> None:
        going(test(*arguments, **named))

    return run


def verified(told: Told, secret: str) -> Any:
    """The event, if an independent library accepts it."""
    return Webhook(secret).verify(told.body, told.headers)


# ---------------------------------------------------------------------------------------------------- who is told


@run_async
async def test_the_end_of_a_background_interaction_is_told_and_signed():
    with receiving() as receiver:
        world = World(receiver)
        hook = await world.hook(receiver.url())
        id = await world.run()
        await world.deliver()
        [told] = receiver.told
        event = verified(told, hook.new_signing_secret)
        assert event == {
            "type": "interaction.completed",
            "version": "v1",
            "timestamp": event["timestamp"],
            "data": {"id": id},
        }
        assert told.headers["content-type"] == "application/json"
        assert told.headers["webhook-timestamp"] == str(int(world.clock.now))
        await world.wait(DAY)
        assert len(receiver.told) == 1


@pytest.mark.parametrize(
    ("status", "event"),
    [
        ("completed", "interaction.completed"),
        ("incomplete", "interaction.completed"),
        ("requires_action", "interaction.requires_action"),
        ("cancelled", "interaction.cancelled"),
        ("failed", "interaction.failed"),
    ],
)
@run_async
async def test_each_end_has_its_event(status, event):
    with receiving() as receiver:
        world = World(receiver)
        await world.hook(receiver.url())
        await world.run(status=status)
        await world.deliver()
        assert [told.event["type"] for told in receiver.told] == [event]


@run_async
async def test_a_failure_says_why():
    with receiving() as receiver:
        world = World(receiver)
        await world.hook(receiver.url())
        error = wire.Error(code="service_unavailable", message="The model has left." + "!" * 2000)
        id = world.end(await world.begin(), "failed", error)
        await world.deliver()
        data = receiver.told[0].event["data"]
        assert data["id"] == id and data["error_code"] == "service_unavailable"
        assert data["error_message"].startswith("The model has left.") and len(data["error_message"]) == 1000


@run_async
async def test_only_those_who_asked_for_an_event_are_told_of_it():
    with receiving() as receiver:
        world = World(receiver)
        await world.hook(receiver.url("/completed"), "interaction.completed")
        await world.hook(receiver.url("/failed"), "interaction.failed", "batch.failed")
        await world.hook(receiver.url("/batches"), "batch.succeeded")
        await world.run()
        await world.deliver()
        assert [told.path for told in receiver.told] == ["/completed"]


@run_async
async def test_an_answer_that_somebody_waited_for_is_not_told():
    with receiving() as receiver:
        world = World(receiver)
        await world.hook(receiver.url())
        made = await world.begin(background=False)
        world.end(made)
        await world.deliver()
        assert receiver.told == [] and await world.ledger.entries("delivery") == []


@run_async
async def test_a_project_hears_of_its_own_interactions_only():
    with receiving() as receiver:
        world = World(receiver)
        await world.hook(receiver.url("/one"), project="one")
        other = await world.hook(receiver.url("/two"), project="two")
        await world.run(project="one")
        await world.deliver()
        assert [told.path for told in receiver.told] == ["/one"]
        webhooks = world.deliveries.webhooks
        for call in (
            webhooks.get("one", other.id),
            webhooks.update("one", other.id, UpdateWebhook(state="disabled")),
            webhooks.delete("one", other.id),
            webhooks.rotate("one", other.id, at_once=True),
            world.deliveries.ping("one", other.id),
        ):
            with pytest.raises(wire.NotFound):
                await call
        assert [hook.id for hook in (await webhooks.page("two", "", 10)).webhooks or ()] == [other.id]


@run_async
async def test_a_webhook_that_is_younger_than_the_run_is_told_too():
    with receiving() as receiver:
        world = World(receiver)
        made = await world.begin()
        await world.hook(receiver.url())
        world.end(made)
        await world.deliver()
        assert len(receiver.told) == 1


@run_async
async def test_disabled_and_deleted_webhooks_hear_nothing_more():
    with receiving(500) as receiver:
        world = World(receiver)
        disabled = await world.hook(receiver.url("/disabled"))
        deleted = await world.hook(receiver.url("/deleted"))
        await world.run()
        await world.deliver()
        assert len(receiver.told) == 2
        webhooks = world.deliveries.webhooks
        await webhooks.update("p", disabled.id, UpdateWebhook(state="disabled"))
        await webhooks.delete("p", deleted.id)
        await world.run()
        await world.wait(DAY)
        assert len(receiver.told) == 2
        assert await world.ledger.entries("delivery") == []


@run_async
async def test_what_was_deleted_is_told_to_nobody():
    with receiving() as receiver:
        world = World(receiver)
        await world.hook(receiver.url())
        made = await world.begin()
        del world.store[made.id]
        world.deliveries.ends(made, "cancelled", None)
        await world.deliver()
        assert receiver.told == [] and await world.ledger.entries("delivery") == []


class Counting(MemoryLedger):
    """Counts what it is asked."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock)
        self.reads = self.writes = 0

    async def put(self, entry):
        self.writes += 1
        return await super().put(entry)

    async def change(self, entry):
        self.writes += 1
        return await super().change(entry)

    async def read(self, *name):
        self.reads += 1
        return await super().read(*name)

    async def entries(self, *arguments, **named):
        self.reads += 1
        return await super().entries(*arguments, **named)


@run_async
async def test_where_nobody_is_to_be_told_interactions_cost_a_look_every_two_seconds():
    clock = Clock()
    ledger = Counting(clock)
    world = World(ledger=ledger, clock=clock)
    for _ in range(100):
        await world.run()
        await world.deliveries.settle()
    assert (ledger.reads, ledger.writes) == (1, 0)
    clock.now += 2
    await world.run()
    await world.deliveries.settle()
    assert (ledger.reads, ledger.writes) == (2, 0)


# ---------------------------------------------------------------------------------------------------- secrets


@run_async
async def test_after_a_rotation_both_secrets_sign_for_a_day():
    with receiving() as receiver:
        world = World(receiver)
        hook = await world.hook(receiver.url())
        webhooks = world.deliveries.webhooks
        new = await webhooks.rotate("p", hook.id, at_once=False)
        await world.run()
        await world.deliver()
        [told] = receiver.told
        assert len(told.headers["webhook-signature"].split(" ")) == 2
        assert verified(told, hook.new_signing_secret) == verified(told, new)
        shown = (await webhooks.get("p", hook.id)).signing_secrets
        assert [one.expire_time is None for one in shown] == [True, False]
        assert [one.truncated_secret[-4:] for one in shown] == [
            secret.rstrip("=")[-4:] for secret in (new, hook.new_signing_secret)
        ]

        world.clock.now += DAY
        assert len((await webhooks.get("p", hook.id)).signing_secrets) == 1
        await world.run()
        await world.deliver()
        assert len(receiver.told[-1].headers["webhook-signature"].split(" ")) == 1


@run_async
async def test_a_rotation_may_revoke_at_once():
    with receiving() as receiver:
        world = World(receiver)
        hook = await world.hook(receiver.url())
        await world.deliveries.webhooks.rotate("p", hook.id, at_once=False)
        newest = await world.deliveries.webhooks.rotate("p", hook.id, at_once=True)
        await world.run()
        await world.deliver()
        verified(receiver.told[0], newest)
        with pytest.raises(WebhookVerificationError):
            verified(receiver.told[0], hook.new_signing_secret)
        assert len((await world.deliveries.webhooks.get("p", hook.id)).signing_secrets) == 1


@run_async
async def test_however_often_it_is_rotated_five_secrets_sign_at_most():
    world = World()
    hook = await world.hook("https://192.0.32.7/hook")
    for _ in range(9):
        await world.deliveries.webhooks.rotate("p", hook.id, at_once=False)
    assert len((await world.deliveries.webhooks.get("p", hook.id)).signing_secrets) == 5


@run_async
async def test_the_ledger_holds_no_secret():
    world = World()
    hook = await world.hook("https://192.0.32.7/hook")
    await world.begin(uris=["https://192.0.32.7/hook"])
    kinds = ("webhook", "webhook_key", "delivery")
    bodies = b"".join([entry.body for kind in kinds for entry in await world.ledger.entries(kind)])
    secret = hook.new_signing_secret.removeprefix("whsec_")
    assert len(base64.b64decode(secret)) == 32
    assert secret.encode() not in bodies and base64.b64decode(secret).hex().encode() not in bodies
    assert b"ENCRYPTED PRIVATE KEY" in bodies and b"BEGIN PRIVATE KEY" not in bodies


# ---------------------------------------------------------------------------------------------------- webhook_config


@run_async
async def test_a_request_names_its_own_receivers_and_they_verify_a_token():
    with receiving() as receiver:
        world = World(receiver)
        await world.hook(receiver.url("/registered"))
        metadata = {"job": "nightly", "long": "x" * 10_000, "nested": {"ü": [1, None]}}
        uris = [receiver.url("/one"), receiver.url("/two"), receiver.url("/one")]
        id = await world.run(uris=uris, user_metadata=metadata)
        await world.deliver()
        assert sorted(told.path for told in receiver.told) == ["/one", "/two"]
        keys = jwk.JWKSet.from_json(json.dumps(await world.deliveries.tokens.jwks()))
        for told in receiver.told:
            token = jwt.JWT(jwt=told.headers["webhook-signature"], key=keys, algs=["RS256"], expected_type="JWS")
            claims = json.loads(token.claims)
            assert claims["aud"] == receiver.url(told.path) and claims["jti"] == told.id
            assert claims["exp"] - claims["iat"] == 300 and claims["iss"] == "antiphon"
            assert claims["payload_sha256"] == hashlib.sha256(told.body).hexdigest()
            assert claims["type"] == told.event["type"] == "interaction.completed"
            assert claims["data"] == told.event["data"] == {"id": id}
            assert told.event["user_metadata"] == metadata and "user_metadata" not in claims


@run_async
async def test_metadata_alone_goes_to_the_registered_webhooks():
    with receiving() as receiver:
        world = World(receiver)
        hook = await world.hook(receiver.url())
        await world.run(user_metadata={"job": 1})
        await world.deliver()
        assert verified(receiver.told[0], hook.new_signing_secret)["user_metadata"] == {"job": 1}


@run_async
async def test_all_servers_of_a_store_sign_with_one_key():
    clock = Clock()
    ledger = MemoryLedger(clock)
    worlds = [World(ledger=ledger, clock=clock) for _ in range(3)]
    assert await worlds[0].deliveries.tokens.jwks() == {"keys": []}
    for world in worlds:
        await world.deliveries.tokens.ready()
    sets = [await world.deliveries.tokens.jwks() for world in worlds]
    assert sets[0] == sets[1] == sets[2]
    [key] = sets[0]["keys"]
    assert {"kty": "RSA", "alg": "RS256", "use": "sig"}.items() <= key.items()
    assert key["kid"] == jwk.JWK(**key).thumbprint()
    assert not {"d", "p", "q"} & set(key)


@pytest.mark.parametrize(
    ("config", "path"),
    [
        ({"uris": ["nonsense"]}, "webhook_config.uris[0]"),
        ({"uris": ["https://192.0.32.7/", "http://127.0.0.1/"]}, "webhook_config.uris[1]"),
        ({"uris": ["https://192.0.32.7/"] * 6}, "webhook_config.uris"),
        ({"user_metadata": {"x": "y" * 20_000}}, "webhook_config.user_metadata"),
    ],
)
@run_async
async def test_a_config_that_cannot_be_served_is_refused_before_the_run(config, path):
    world = World()
    with pytest.raises(wire.InvalidRequest) as refused:
        await world.begin(**config)
    assert f"'{path}'" in str(refused.value)
    assert await world.ledger.entries("delivery") == []


# ---------------------------------------------------------------------------------------------------- failures


@run_async
async def test_what_fails_is_tried_again_for_a_day_and_then_disabled():
    with receiving(500) as receiver:
        world = World(receiver)
        hook = await world.hook(receiver.url())
        begun = world.clock.now
        id = await world.run()
        await world.deliver()
        await world.wait(DAY - 15)
        assert (await world.deliveries.webhooks.get("p", hook.id)).state == "enabled"
        await world.wait(60)
        stamps = [int(told.headers["webhook-timestamp"]) - begun for told in receiver.told]
        assert stamps[0] == 0 and abs(stamps[-1] - DAY) <= 15
        assert 12 <= len(stamps) <= 20
        gaps = [later - earlier for earlier, later in itertools.pairwise(stamps)]
        assert max(gaps) <= 4 * 3600 * 1.2 + 15
        assert len({(told.id, told.body) for told in receiver.told}) == 1
        assert receiver.told[0].event["data"]["id"] == id
        verified(receiver.told[0], hook.new_signing_secret)
        assert (await world.deliveries.webhooks.get("p", hook.id)).state == "disabled_due_to_failed_deliveries"
        assert await world.ledger.entries("delivery") == []

        await world.run()
        await world.wait(DAY)
        assert len(receiver.told) == len(stamps)
        receiver.answer = 204
        await world.deliveries.webhooks.update("p", hook.id, UpdateWebhook(state="enabled"))
        await world.run()
        await world.deliver()
        assert len(receiver.told) == len(stamps) + 1


@run_async
async def test_one_that_gets_through_within_the_day_keeps_a_webhook_enabled():
    with receiving(lambda told, number: 500 if number < 6 else 200) as receiver:
        world = World(receiver)
        hook = await world.hook(receiver.url())
        await world.run()
        await world.wait(DAY)
        assert len(receiver.told) == 6
        receiver.answer = 503
        await world.run()
        await world.wait(DAY / 2)
        assert (await world.deliveries.webhooks.get("p", hook.id)).state == "enabled"


@given(
    attempts=st.integers(1, 2000),
    elapsed=st.floats(0, 2 * DAY),
    since=st.floats(0, 4e9, allow_nan=False),
)
def test_a_next_attempt_is_never_too_early_too_late_or_after_the_day(attempts, elapsed, since):
    retries = Retries()
    now = since + elapsed
    again = retries.after(attempts, since, now)
    if now >= since + DAY:
        assert again is None
    else:
        pause = min(4 * 3600.0, 5.0 * 3.0 ** min(attempts - 1, 30))
        assert again == since + DAY or now + 0.79 * pause <= again <= now + 1.21 * pause
        assert again <= since + DAY


@run_async
async def test_gone_disables_at_once():
    with receiving(410) as receiver:
        world = World(receiver)
        hook = await world.hook(receiver.url())
        await world.run()
        await world.deliver()
        await world.wait(DAY)
        assert len(receiver.told) == 1
        assert (await world.deliveries.webhooks.get("p", hook.id)).state == "disabled_due_to_failed_deliveries"


@run_async
async def test_gone_ends_a_delivery_to_a_requests_own_receiver():
    with receiving(410) as receiver:
        world = World(receiver)
        await world.run(uris=[receiver.url()])
        await world.wait(3600)
        assert len(receiver.told) == 1 and await world.ledger.entries("delivery") == []


LIES = {
    "no HTTP at all": b"\x16\x03\x01\x00\xff nonsense\r\n\r\n",
    "nothing": b"",
    "an endless header": b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000,
    "two hundred kilobytes of headers": b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 40_000,
    "a status of its own": b"HTTP/1.1 999 Yes\r\n\r\n",
    "an informational end": b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
}


@pytest.mark.parametrize("lie", LIES)
@run_async
async def test_an_answer_that_is_none_is_a_failure(lie):
    with receiving(LIES[lie]) as receiver:
        world = World(receiver, seconds=5.0)
        await world.hook(receiver.url())
        await world.run()
        await world.deliver()
        [entry] = await world.ledger.entries("delivery")
        assert entry.due is not None and entry.due > world.clock.now
        receiver.answer = 200
        await world.wait(30)
        assert len(receiver.told) == 2 and await world.ledger.entries("delivery") == []


@run_async
async def test_a_receiver_that_hangs_is_left_and_tried_again():
    with receiving(None) as receiver:
        world = World(receiver, seconds=0.2)
        await world.hook(receiver.url())
        await world.run()
        await world.deliver()
        receiver.answer = 200
        await world.wait(30)
        assert len(receiver.told) == 2


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 9000000000\r\n\r\nno more",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffff\r\nmore",
        b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 3\r\n\r\nxxx",
    ],
)
@run_async
async def test_two_hundred_is_an_answer_whatever_follows_it(head):
    with receiving(head) as receiver:
        world = World(receiver, seconds=5.0)
        await world.hook(receiver.url())
        await world.run()
        await world.deliver()
        assert len(receiver.told) == 1 and await world.ledger.entries("delivery") == []


@run_async
async def test_redirects_are_not_followed():
    with receiving() as elsewhere, receiving() as receiver:
        receiver.answer = (
            b"HTTP/1.1 307 Temporary Redirect\r\ncontent-length: 0\r\nlocation: "
            + elsewhere.url().encode()
            + b"\r\n\r\n"
        )
        world = World(receiver, elsewhere)
        await world.hook(receiver.url())
        await world.run()
        await world.wait(30)
        assert elsewhere.told == [] and len(receiver.told) >= 2


# ---------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("uri", "words"),
    [
        ("http://127.0.0.1/hook", "not public"),
        ("http://169.254.169.254/latest", "not public"),
        ("http://[::1]/hook", "not public"),
        ("http://localhost/hook", "not public"),
        ("http://0x7f.1/hook", "plain form"),
        ("https://192.0.32.7:22/hook", "Port 22"),
        ("ftp://192.0.32.7/hook", "https://"),
        ("https://", "https://"),
        ("/hook", "https://"),
        ("https://me:secret@192.0.32.7/hook", "password"),
        ("https://192.0.32.7/hook#part", "fragment"),
        ("https://192.0.32.7/" + "x" * 2048, "2048"),
        ("https://192.0.32.7:port/", "not a URI"),
    ],
)
@run_async
async def test_an_address_that_will_not_do_is_refused_with_its_place(uri, words):
    world = World()
    with pytest.raises(wire.InvalidRequest) as refused:
        await world.hook(uri)
    assert words in str(refused.value) and "'uri'" in str(refused.value)
    hook = await world.hook("https://192.0.32.7/hook")
    with pytest.raises(wire.InvalidRequest):
        await world.deliveries.webhooks.update("p", hook.id, UpdateWebhook(uri=uri))
    assert (await world.deliveries.webhooks.get("p", hook.id)).uri == "https://192.0.32.7/hook"


@run_async
async def test_the_names_of_one_request_are_looked_up_together():
    """Each may take two seconds, and somebody waits for the answer."""
    asked, every = [], asyncio.Event()

    async def look_up(host, port):
        asked.append(host)
        if len(asked) == 5:
            every.set()
        await every.wait()
        return ["10.0.0.1" if host == "c.example" else "192.0.32.7"]

    world = World(look_up=look_up)
    with pytest.raises(wire.InvalidRequest, match=r"webhook_config\.uris\[2\]"):
        await world.begin(uris=[f"https://{name}.example/" for name in "abcde"])
    assert len(asked) == 5


@run_async
async def test_a_name_that_comes_to_mean_a_private_address_is_not_delivered_to():
    found = ["192.0.32.7"]

    async def look_up(host: str, port: int) -> list[str]:
        return found

    with receiving() as receiver:
        world = World(look_up=look_up)
        hook = await world.hook("http://receiver.example.org:8080/hook")
        found[:] = ["127.0.0.1"]
        await world.run()
        await world.deliver()
        [entry] = await world.ledger.entries("delivery")
        assert json.loads(entry.body)["attempts"] == 1
        assert receiver.told == []
        assert (await world.deliveries.webhooks.find("p", hook.id)).failing == world.clock.now


# ---------------------------------------------------------------------------------------------------- crashes


def other(world: World, *receivers: Receiver, **more: Any) -> World:
    """Another server of the same store."""
    made = World(*receivers, ledger=world.ledger, clock=world.clock, **more)
    made.store = world.store
    return made


@run_async
async def test_an_end_that_nobody_was_told_of_is_found_by_another_server():
    with receiving() as receiver:
        world = World(receiver)
        await world.hook(receiver.url())
        id = world.end(await world.begin(), told=False)
        second = other(world, receiver)
        await second.deliver()
        assert receiver.told == []
        await second.wait(60)
        assert [told.event["data"]["id"] for told in receiver.told] == [id]


@run_async
async def test_what_a_dead_server_had_in_hand_is_sent_by_another_with_the_same_id():
    with receiving(None) as receiver:
        world = World(receiver, seconds=1.0)
        await world.hook(receiver.url())
        id = await world.run()
        await world.deliveries.settle()
        assert await world.deliveries.take() == 1
        await world.deliveries.settle()
        assert await world.deliveries.take() == 1  # and is never heard of again
        first = await asyncio.to_thread(receiver.next)
        receiver.answer = 200
        second = other(world, receiver)
        await second.deliver()
        assert len(receiver.told) == 1
        await second.wait(61)
        assert [told.id for told in receiver.told] == [first.id] * 2
        assert {told.event["data"]["id"] for told in receiver.told} == {id}
        await world.deliveries.aclose()


@run_async
async def test_several_servers_tell_once():
    with receiving() as receiver:
        world = World(receiver)
        worlds = [world, *(other(world, receiver) for _ in range(3))]
        await world.hook(receiver.url())
        ids = [await world.run() for _ in range(50)]
        for _ in range(60):
            for one in worlds:
                await one.deliver()
        assert sorted(told.event["data"]["id"] for told in receiver.told) == sorted(ids)


@run_async
async def test_a_long_run_is_looked_at_from_time_to_time_and_told_of_once():
    with receiving() as receiver:
        world = World(receiver)
        await world.hook(receiver.url())
        made = await world.begin()
        await world.wait(6 * 3600)
        assert receiver.told == [] and len(await world.ledger.entries("delivery")) == 1
        world.end(made)
        await world.deliver()
        assert len(receiver.told) == 1


@run_async
async def test_one_projects_slow_receivers_do_not_keep_another_waiting():
    with receiving(None) as slow, receiving() as quick:
        world = World(slow, quick, at_once=40, batch=4, slow_at_once=2, seconds=30.0)
        await world.hook(slow.url(), project="slow")
        await world.hook(quick.url(), project="quick")
        for _ in range(5):
            await world.run(project="slow")
        while len(slow.told) < 5:
            await world.deliveries.take()
            await asyncio.sleep(0)
        world.clock.now += 3
        for _ in range(100):
            await world.run(project="slow")
        id = await world.run(project="quick")
        world.deliveries.start(world.look)
        assert (await asyncio.to_thread(quick.next)).event["data"]["id"] == id
        assert len(slow.told) == 5
        slow.closing.set()
        await world.deliveries.aclose()


class Counted(MemoryLedger):
    """Counts what is written."""

    changes = 0

    async def change(self, entry):
        self.changes += 1
        return await super().change(entry)


@run_async
async def test_a_long_line_of_one_project_does_not_keep_the_disk_busy():
    with receiving(None) as slow:
        clock = Clock()
        ledger = Counted(clock)
        world = World(slow, ledger=ledger, clock=clock, batch=1000, at_once=1000, slow_at_once=2, seconds=30.0)
        hook = await world.hook(slow.url())
        for number in range(3000):
            body = Delivery(message=f"msg_{number}", payload="{}", since=clock.now, webhook=hook.id)
            entry = Entry(kind="delivery", project="p", id=f"{number}", body=_encode(body), due=clock.now)
            await ledger.put(entry)
        world.deliveries._slow["p"] = clock.now + 1e9
        for _ in range(30):  # ten minutes, each entry put off once or twice, not once in 17 seconds
            while await world.deliveries.take():
                pass
            clock.now += 20
        assert 3000 <= ledger.changes < 3 * 3000
        slow.closing.set()
        await world.deliveries.aclose()


@run_async
async def test_what_cannot_be_signed_is_given_up_in_time():
    """The store's key is another than that which the key pair was sealed with."""
    with receiving() as receiver:
        world = World(receiver)
        await world.run(uris=[receiver.url()])
        await world.deliver()
        assert len(receiver.told) == 1
        restored = World(receiver, ledger=world.ledger, clock=world.clock, key=b"x" * 32)
        await restored.ledger.put(
            Entry(
                kind="delivery",
                project="p",
                id="x",
                body=_encode(Delivery(message="msg_x", payload="{}", since=world.clock.now, uri=receiver.url())),
                due=world.clock.now,
            )
        )
        await restored.wait(2 * DAY)
        assert await restored.ledger.entries("delivery") == [] and len(receiver.told) == 1


@run_async
async def test_what_cannot_be_read_is_looked_at_again_now_and_then():
    world = World()
    await world.ledger.put(Entry(kind="delivery", project="p", id="x", body=b"{}", due=0.0))
    await world.deliver()
    [entry] = await world.ledger.entries("delivery")
    assert entry.due == world.clock.now + 900


class Away(MemoryLedger):
    """Is away the first two times that it is asked what is due."""

    asked = 0

    async def due(self, kind, now, lease, size=100):
        self.asked += 1
        if self.asked <= 2:
            raise wire.Unavailable("The database is away.")
        return await super().due(kind, now, lease, size)


@run_async
async def test_a_database_that_was_away_and_an_entry_that_cannot_be_read_keep_nothing_back():
    with receiving() as receiver:
        clock = Clock()
        world = World(receiver, ledger=Away(clock), clock=clock, poll=0.01)
        await world.hook(receiver.url())
        await world.ledger.put(Entry(kind="delivery", project="p", id="x", body=b"{}", due=0.0))
        id = await world.run()
        world.deliveries.start(world.look)
        assert (await asyncio.to_thread(receiver.next)).event["data"]["id"] == id
        await world.deliveries.aclose()


# ---------------------------------------------------------------------------------------------------- ping


@run_async
async def test_a_ping_is_sent_once_whatever_the_state_and_the_answer():
    with receiving(500) as receiver:
        world = World(receiver)
        hook = await world.hook(receiver.url())
        await world.deliveries.webhooks.update("p", hook.id, UpdateWebhook(state="disabled"))
        for _ in range(2):
            await world.deliveries.ping("p", hook.id)
            await world.wait(DAY)
        assert [told.event["type"] for told in receiver.told] == ["ping"] * 2
        assert verified(receiver.told[0], hook.new_signing_secret)["data"] == {"id": hook.id}
        assert len({told.id for told in receiver.told}) == 2
        assert (await world.deliveries.webhooks.find("p", hook.id)).failing is None


@run_async
async def test_pings_without_end_are_one_at_a_time():
    with receiving() as receiver:
        world = World(receiver)
        hook, other = [await world.hook(receiver.url()) for _ in range(2)]
        for _ in range(50):
            await world.deliveries.ping("p", hook.id)
        await world.deliveries.ping("p", other.id)
        assert len(await world.ledger.entries("delivery")) == 2
        await world.deliver()
        assert sorted(told.event["data"]["id"] for told in receiver.told) == sorted([hook.id, other.id])


@run_async
async def test_a_ping_that_nobody_waits_for_any_more_is_not_sent():
    with receiving() as receiver:
        world = World(receiver)
        hook = await world.hook(receiver.url())
        await world.deliveries.ping("p", hook.id)
        world.clock.now += 301
        await world.deliver()
        assert receiver.told == [] and await world.ledger.entries("delivery") == []


# ---------------------------------------------------------------------------------------------------- the registry


@run_async
async def test_pages_are_in_the_order_of_time():
    world = World()
    made = []
    for number in range(7):
        made.append((await world.hook(f"https://192.0.32.7/{number}")).id)
        world.clock.now += 1
    webhooks = world.deliveries.webhooks
    seen, after = [], ""
    while True:
        page = await webhooks.page("p", after, 3)
        seen += [hook.id for hook in page.webhooks or ()]
        if page.next_page_token is None:
            break
        after = page.next_page_token
    assert seen == made and all(len(id) == 36 and id.isalnum() for id in seen)
    assert (await webhooks.page("q", "", 3)).webhooks is None


@run_async
async def test_a_project_has_a_hundred_webhooks_at_most():
    world = World()
    for _ in range(100):
        await world.hook("https://192.0.32.7/")
    with pytest.raises(wire.FailedPrecondition):
        await world.hook("https://192.0.32.7/")
    await world.hook("https://192.0.32.7/", project="q")


@run_async
async def test_nor_has_it_more_where_many_are_made_at_the_same_moment():
    clock = Clock()
    ledger = Jumbled(MemoryLedger(clock), seed=1)
    worlds = [World(ledger=ledger, clock=clock, key=KEY) for _ in range(2)]
    for _ in range(95):
        await worlds[0].hook("https://192.0.32.7/")
    made = await asyncio.gather(*(worlds[n % 2].hook("https://192.0.32.7/") for n in range(20)), return_exceptions=True)
    refused = [one for one in made if isinstance(one, wire.FailedPrecondition)]
    kept = await ledger.entries("webhook", "p", size=200)
    assert len(kept) == 95 + 20 - len(refused) <= 100


@run_async
async def test_a_mask_says_what_changes():
    world = World()
    hook = await world.hook("https://192.0.32.7/")
    update = world.deliveries.webhooks.update
    changed = await update("p", hook.id, UpdateWebhook(name="new", uri="https://192.0.32.7/new"), ["name"])
    assert (changed.name, changed.uri) == ("new", "https://192.0.32.7/")
    changed = await update("p", hook.id, UpdateWebhook(uri="https://192.0.32.7/new"), ["*"])
    assert (changed.name, changed.uri) == ("new", "https://192.0.32.7/new")
    changed = await update("p", hook.id, UpdateWebhook(), ["name"])
    assert changed.name is None and changed.new_signing_secret is None
    for mask in (["nonsense"], ["uri"], ["state"]):
        with pytest.raises(wire.InvalidRequest, match="update_mask"):
            await update("p", hook.id, UpdateWebhook(), mask)
    with pytest.raises(wire.InvalidRequest, match="'state'"):
        await update("p", hook.id, UpdateWebhook(state="disabled_due_to_failed_deliveries"))
    assert changed.subscribed_events == ALL


@run_async
async def test_changes_at_the_same_time_are_all_made():
    clock = Clock()
    ledger = MemoryLedger(clock)
    one, two = (World(ledger=ledger, clock=clock, key=KEY) for _ in range(2))
    hook = await one.deliveries.webhooks.create(
        "p", CreateWebhook(uri="https://192.0.32.7/", subscribed_events=["batch.failed"])
    )
    await asyncio.gather(
        one.deliveries.webhooks.update("p", hook.id, UpdateWebhook(name="named")),
        two.deliveries.webhooks.update("p", hook.id, UpdateWebhook(state="disabled")),
        two.deliveries.webhooks.rotate("p", hook.id, at_once=True),
    )
    now = await one.deliveries.webhooks.get("p", hook.id)
    assert (now.name, now.state, len(now.signing_secrets)) == ("named", "disabled", 1)
