"""Tells receivers that an interaction ended: at least once each, after a crash too.

Before a background interaction begins, an announcement is put into the ledger where somebody is to be told of it; its
end makes that due. Whichever server takes it reads how the interaction ended, and puts a delivery in its place for each
receiver. A delivery is tried until it gets through, or for a day. What a server has taken comes up again if it dies; a
look at every announcement from time to time finds the ends that nobody made due.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager
from typing import Any, Literal

import msgspec

from antiphon import wire
from antiphon.ports import Entry, Ledger, Record
from antiphon.resource import timestamp
from antiphon.webhooks.registry import Kept, Webhooks
from antiphon.webhooks.sender import Outcome, Resolve, Sender
from antiphon.webhooks.tokens import Tokens
from antiphon.wire import webhooks as types

logger = logging.getLogger("antiphon.webhooks")

KIND = "delivery"
# What the end of an interaction is called. One that was cut short at its token limit has ended as one that was not.
EVENTS: dict[wire.InteractionStatus, types.WebhookEvent] = {
    "completed": "interaction.completed",
    "incomplete": "interaction.completed",
    "requires_action": "interaction.requires_action",
    "failed": "interaction.failed",
    "cancelled": "interaction.cancelled",
}
_URIS = 5  # addresses of one request
_METADATA = 1 << 14  # bytes of its metadata
_MESSAGE = 1000  # characters of an error's message
_SLOW_SECONDS = 60.0
_LONG = 900.0  # seconds between two looks at an announcement, at most
_PING_SECONDS = 300.0  # after which nobody waits for a ping any more
_LINE_SECONDS = 600.0  # that one who waits for his project's turn is put off for, at most

Look = Callable[[str, str], Awaitable[wire.Interaction]]


class Announcement(msgspec.Struct, frozen=True, tag="announcement"):
    """An interaction whose end somebody is to be told: the project's webhooks, or `uris` in their place."""

    began: float
    uris: tuple[str, ...] = ()
    metadata: dict[str, Any] | None = None


class Delivery(msgspec.Struct, frozen=True, tag="delivery", kw_only=True):
    """One event on its way to one receiver: a webhook of the project, or the address `uri`."""

    message: str  # its `webhook-id`, the same each time it is tried
    payload: str
    since: float
    webhook: str = ""
    uri: str = ""
    attempts: int = 0
    once: bool = False  # a ping: it is not tried again, and says nothing of its webhook


class Retries(msgspec.Struct, frozen=True):
    """When a delivery that failed is tried again: after 5 s, then each time after three times as long, at most 4 hours.

    Each pause is up to a fifth shorter or longer, so that receivers that were away are not met by all at once. The last
    attempt is a day after the first.
    """

    first: float = 5.0
    factor: float = 3.0
    most: float = 4 * 3600.0
    until: float = 24 * 3600.0
    jitter: float = 0.2

    def after(self, attempts: int, since: float, now: float) -> float | None:
        """The time of the next attempt; None where there is none."""
        if now >= since + self.until:
            return None
        pause = min(self.most, self.first * self.factor ** min(attempts - 1, 32))
        pause *= random.uniform(1 - self.jitter, 1 + self.jitter)  # noqa: S311 - spreads load, guards nothing
        return min(now + pause, since + self.until)


class Limits(msgspec.Struct, frozen=True):
    """What deliveries may take. A server that dies with one in hand keeps it from the others for `lease` seconds."""

    at_once: int = 256
    batch: int = 64  # taken up together
    slow: float = 2.0  # a receiver that takes longer leaves its project `slow_at_once` for a minute
    slow_at_once: int = 8
    seconds: float = 15.0  # for one attempt
    lease: float = 60.0
    poll: float = 2.0  # seconds until what is due, and was made so elsewhere, is seen
    look: float = 60.0  # until an announcement is looked at without its end having made it due
    closing: float = 3.0  # for what is on its way when the server stops
    retries: Retries = Retries()


_body = msgspec.json.Decoder(Announcement | Delivery).decode
_encode = msgspec.json.Encoder().encode


class Deliveries:
    """A watcher of the engine, and the worker behind it. `key` is the store's, `resolve` that of a Guard."""

    def __init__(
        self,
        ledger: Ledger,
        key: bytes,
        resolve: Resolve,
        *,
        limits: Limits | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._ledger = ledger
        self._limits = limits or Limits()
        self._clock = clock
        self._sender = Sender(resolve, seconds=self._limits.seconds)
        self.tokens = Tokens(ledger, key)
        self.webhooks = Webhooks(ledger, key, self._sender, clock)
        self.look: Look | None = None  # how an interaction is read; raises NotFound
        self._wake = asyncio.Event()
        self._worker: asyncio.Task[None] | None = None
        self._underway: dict[asyncio.Task[None], tuple[str, float]] = {}  # of which project, and since when
        self._slow: dict[str, float] = {}  # projects whose receivers take their time, and until when that counts
        self._lines: dict[str, float] = {}  # of those: when the last who waits has his turn
        self._more = False  # whether there was more to take up than was taken
        self._notes: set[asyncio.Task[None]] = set()

    # ------------------------------------------------------------------ the watcher

    async def begins(self, record: Record) -> None:
        """Keep that somebody is to be told. Raises InvalidRequest, FailedPrecondition for who cannot be."""
        if not record.background:
            return
        config = record.request.webhook_config
        uris = tuple(config.uris or ()) if config is not None else ()
        if config is not None:
            await self._check(config)
        if uris or await self.webhooks.told(record.project):
            await self._ledger.put(self._announcement(record, self._limits.look))

    def refused(self, record: Record) -> None:
        """Nothing was made of it here."""

    def ends(self, record: Record, status: wire.InteractionStatus, usage: wire.Usage | None) -> None:
        """See to it that they are told now."""
        if record.background:
            task = asyncio.create_task(self._ended(record))
            self._notes.add(task)
            task.add_done_callback(self._notes.discard)
            task.add_done_callback(_tell)

    def around(self, record: Record, kind: Literal["chat", "execute_tool"], name: str) -> AbstractContextManager[Any]:
        """Nothing."""
        return contextlib.nullcontext({})

    async def _check(self, config: wire.WebhookConfig) -> None:
        uris = config.uris or ()
        if len(uris) > _URIS:
            raise wire.InvalidRequest(f"More than {_URIS} URIs are not supported at 'webhook_config.uris'.")
        if len(_encode(config.user_metadata)) > _METADATA:
            raise wire.InvalidRequest(
                f"More than {_METADATA} bytes are not supported at 'webhook_config.user_metadata'."
            )
        checks = (self._sender.check(uri, f"webhook_config.uris[{place}]") for place, uri in enumerate(uris))
        for fault in await asyncio.gather(*checks, return_exceptions=True):  # names may take a while, each
            if fault is not None:
                raise fault
        if uris:
            await self.tokens.ready()

    def _announcement(self, record: Record, wait: float) -> Entry:
        config = record.request.webhook_config
        body = Announcement(
            record.created,
            tuple(config.uris or ()) if config is not None else (),
            config.user_metadata if config is not None else None,
        )
        now = self._clock()
        return Entry(kind=KIND, project=record.project, id=record.id, body=_encode(body), due=now + wait)

    async def _ended(self, record: Record) -> None:
        config = record.request.webhook_config
        if not (config is not None and config.uris) and not await self.webhooks.told(record.project):
            return
        # Where there is none, the webhook is younger than the interaction; where it changed, somebody looked at it.
        while not await self._ledger.put(made := self._announcement(record, 0.0)):
            entry = await self._ledger.read(KIND, record.project, record.id)
            if entry is not None and await self._ledger.change(msgspec.structs.replace(entry, due=made.due)):
                break
        self._wake.set()

    async def ping(self, project: str, id: str) -> None:
        """Send a webhook an event of the type 'ping', once; nobody is told how it went. Raises NotFound.

        One that is still on its way is enough.
        """
        await self.webhooks.get(project, id)
        now = self._clock()
        message = _message(project, id, str(time.time_ns()))
        payload = types.WebhookPayload(
            type="ping", version="v1", timestamp=timestamp(now), data=types.WebhookData(id=id)
        )
        body = Delivery(message=message, payload=_encode(payload).decode(), since=now, webhook=id, once=True)
        await self._ledger.put(Entry(kind=KIND, project=project, id=f"ping.{id}", body=_encode(body), due=now))
        self._wake.set()

    # ------------------------------------------------------------------ the worker

    def start(self, look: Look) -> None:
        """Begin to deliver. `look` reads an interaction, and raises NotFound."""
        self.look = look
        self._worker = asyncio.create_task(self._work())

    async def aclose(self) -> None:
        """Stop. What is under way may end, for a moment; what does not comes up again elsewhere, or at the next start."""
        if self._worker is not None:
            self._worker.cancel()
            await asyncio.wait([self._worker])
        if rest := {*self._notes, *self._underway}:
            await asyncio.wait(rest, timeout=self._limits.closing)
        for task in (rest := {*self._notes, *self._underway}):
            task.cancel()
        if rest:
            await asyncio.wait(rest)

    async def _work(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self.take()
            except wire.ApiError as error:
                logger.warning("deliveries cannot be taken up: %s", error)
            except Exception:  # the worker goes on: the next round may have more luck
                logger.exception("deliveries cannot be taken up")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._limits.poll):
                    await self._wake.wait()

    async def take(self) -> int:
        """Begin with what is due, as far as there is room. How many they are."""
        limits = self._limits
        size = min(limits.batch, limits.at_once - len(self._underway))
        if size <= 0:
            return 0
        now = self._clock()
        entries = await self._ledger.due(KIND, now, limits.lease, size)
        self._more = len(entries) == size
        busy = self._busy(now)
        late: list[Entry] = []
        for entry in entries:
            try:
                body = _body(entry.body)
            except msgspec.MsgspecError:
                # A newer server may have written it. It must keep neither the others back nor the disk busy.
                logger.error("the delivery %s of project %s cannot be read", entry.id, entry.project)
                await self._ledger.change(msgspec.structs.replace(entry, due=now + _LONG))
                continue
            if isinstance(body, Announcement):
                self._begin(self._announce(entry, body), entry.project, now)
            elif entry.project in self._slow and busy[entry.project] >= limits.slow_at_once:
                late.append(entry)
            else:
                busy[entry.project] += 1
                self._begin(self._deliver(entry, body), entry.project, now)
        await self._put_off(late, now)
        return len(entries)

    def _begin(self, work: Coroutine[Any, Any, None], project: str, now: float) -> None:
        task = asyncio.create_task(work)
        self._underway[task] = (project, now)
        task.add_done_callback(self._left)

    def _left(self, task: asyncio.Task[None]) -> None:
        self._underway.pop(task, None)
        _tell(task)
        if self._more and len(self._underway) + self._limits.batch <= self._limits.at_once:
            self._wake.set()

    def _busy(self, now: float) -> Counter[str]:
        """How many of each project are under way; and which of them are slow is known from then on."""
        self._slow = {project: until for project, until in self._slow.items() if until > now}
        self._lines = {project: until for project, until in self._lines.items() if project in self._slow}
        for project, since in self._underway.values():
            self._note(project, since, now)
        return Counter(project for project, _ in self._underway.values())

    def _note(self, project: str, since: float, now: float) -> None:
        if now - since > self._limits.slow:
            self._slow[project] = now + _SLOW_SECONDS

    async def _put_off(self, late: list[Entry], now: float) -> None:
        """One project's slow receivers must not keep the others' waiting: not by a long line of it, either."""
        pairs = [(entry, self._turn(entry.project, now)) for entry in late]
        await asyncio.gather(*(self._ledger.change(msgspec.structs.replace(entry, due=due)) for entry, due in pairs))
        if late and self._more:
            self._wake.set()  # behind them there may be somebody else's

    def _turn(self, project: str, now: float) -> float:
        """When one more of a slow project is looked at again: the later, the longer its line."""
        each = self._limits.seconds / self._limits.slow_at_once
        turn = self._lines[project] = min(max(self._lines.get(project, now), now) + each, now + _LINE_SECONDS)
        return now + random.uniform(5, 30) + (turn - now) * random.uniform(0.5, 1)  # noqa: S311 - spreads load

    async def settle(self) -> None:
        """Wait for what is under way."""
        while rest := {*self._notes, *self._underway}:
            await asyncio.wait(rest)

    async def _done(self, entry: Entry) -> None:
        await self._ledger.remove(KIND, entry.project, entry.id, entry.version)

    # ------------------------------------------------------------------ one announcement

    async def _announce(self, entry: Entry, body: Announcement) -> None:
        """Put a delivery for each receiver in the place of an announcement, if its interaction has ended."""
        assert self.look is not None
        try:
            seen = await self.look(entry.project, entry.id)
        except wire.NotFound:
            return await self._done(entry)  # deleted, or never kept
        now = self._clock()
        if seen.status == "in_progress":
            wait = max(self._limits.look, min(_LONG, (now - body.began) / 4))
            await self._ledger.change(msgspec.structs.replace(entry, due=now + wait))
            return None
        event = EVENTS.get(seen.status)
        if event is not None:
            payload = _encode(_payload(entry.id, event, seen, body.metadata, now)).decode()
            for delivery in await self._receivers(entry, body, event, payload):
                made = Entry(
                    kind=KIND,
                    project=entry.project,
                    id=f"{entry.id}.{delivery.message}",
                    body=_encode(delivery),
                    due=now,
                )
                await self._ledger.put(made)
        await self._done(entry)
        self._wake.set()
        return None

    async def _receivers(
        self, entry: Entry, body: Announcement, event: types.WebhookEvent, payload: str
    ) -> list[Delivery]:
        now = self._clock()
        if body.uris:
            return [
                Delivery(message=_message(entry.project, entry.id, uri), payload=payload, since=now, uri=uri)
                for uri in dict.fromkeys(body.uris)
            ]
        return [
            Delivery(message=_message(entry.project, entry.id, id), payload=payload, since=now, webhook=id)
            for id, kept in (await self.webhooks.told(entry.project)).items()
            if event in kept.events
        ]

    # ------------------------------------------------------------------ one delivery

    async def _deliver(self, entry: Entry, body: Delivery) -> None:
        kept = await self.webhooks.find(entry.project, body.webhook) if body.webhook else None
        began = self._clock()
        if _is_idle(body, kept, began):
            return await self._done(entry)
        try:
            outcome = await self._post(kept, body)
        except (wire.FailedPrecondition, msgspec.MsgspecError, ValueError, TypeError) as error:
            # It cannot be signed here (packages are missing, the store's key is another): not for ever, either.
            outcome = Outcome(None, error.message if isinstance(error, wire.ApiError) else type(error).__name__)
        self._note(entry.project, began, self._clock())
        if not outcome.ok:
            return await self._failed(entry, body, outcome)
        await self._done(entry)
        if kept is not None and kept.failing is not None and not body.once:
            await self.webhooks.worked(entry.project, body.webhook)
        return None

    async def _failed(self, entry: Entry, body: Delivery, outcome: Outcome) -> None:
        """Try it again later, or give it up; a webhook that fails for long is disabled."""
        attempts, gone = body.attempts + 1, outcome.status == 410
        again = None
        if not gone and not body.once:
            again = self._limits.retries.after(attempts, body.since, self._clock())
        logger.info(
            "delivery %s of project %s failed: %s, attempt %d, %s",
            body.message, entry.project, outcome, attempts, "given up" if again is None else "to be tried again",
        )  # fmt: skip
        if again is None:
            await self._done(entry)
        else:
            later = _encode(msgspec.structs.replace(body, attempts=attempts))
            await self._ledger.change(msgspec.structs.replace(entry, body=later, due=again))
        if body.webhook and not body.once:
            await self.webhooks.failed(entry.project, body.webhook, self._limits.retries.until, gone=gone)

    async def _post(self, kept: Kept | None, body: Delivery) -> Outcome:
        payload, now = body.payload.encode(), int(self._clock())
        if kept is not None:
            uri, signature = kept.uri, self.webhooks.sign(kept, body.message, now, payload)
        else:
            uri, signature = body.uri, await self.tokens.sign(body.uri, body.message, now, payload)
        headers = {"webhook-id": body.message, "webhook-timestamp": str(now), "webhook-signature": signature}
        return await self._sender.post(uri, headers, payload)


def _is_idle(body: Delivery, kept: Kept | None, now: float) -> bool:
    """Whether nobody is to have it any more: its webhook is gone or disabled; for a ping it is too late."""
    if body.once and now > body.since + _PING_SECONDS:
        return True
    return body.webhook != "" and (kept is None or (kept.state != "enabled" and not body.once))


def _tell(task: asyncio.Task[None]) -> None:
    """What went wrong with a task is logged; what it was about comes up again when its lease is over."""
    if not task.cancelled() and (error := task.exception()) is not None:
        logger.error("a delivery could not be gone on with", exc_info=error)


def _message(project: str, id: str, receiver: str) -> str:
    """The same for the same event and receiver, however often they are come to anew."""
    return "msg_" + hashlib.sha256("\0".join((project, id, receiver)).encode()).hexdigest()[:32]


def _payload(
    id: str, event: types.WebhookEvent, seen: wire.Interaction, metadata: dict[str, Any] | None, now: float
) -> types.WebhookPayload:
    error = seen.error if event == "interaction.failed" else None
    return types.WebhookPayload(
        type=event,
        version="v1",
        timestamp=seen.updated or timestamp(now),
        data=types.WebhookData(
            id=id,
            error_code=error.code if error is not None else None,
            error_message=(error.message or "")[:_MESSAGE] if error is not None else None,
        ),
        user_metadata=metadata,
    )
