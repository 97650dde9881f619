"""Many machines' bus: NATS, through nats-py.

The store is the truth; NATS only says "look" (quickly) and "you run it" (to one of many). A message that is lost, doubled
or late costs time, never an event: everything that is published was on disk before.

- `work.ID`: a JetStream work queue. Who takes a message says every two seconds that it is alive; after six seconds of
  silence the message goes to another. The store decides who may write (`Store.claim`).
- `live.ID`: core NATS, kept by nobody. What is missed is read from the store.
- `ctl.ID`: answered by whoever runs the interaction, for as long as it does. There is no other list of who runs what.

Subjects begin with `antiphon.NAME`, `name` being made from the database's secret: deployments that share a NATS do not
hear each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any

from antiphon import wire
from antiphon.channel import LocalChannel, Tail
from antiphon.ports import Segment

try:
    import nats
    from nats.errors import Error as NatsError
    from nats.errors import NoRespondersError
    from nats.js.api import AckPolicy, ConsumerConfig, RetentionPolicy, StorageType, StreamConfig
    from nats.js.errors import APIError, NotFoundError
except ImportError as error:
    raise ImportError("NATS needs one more package: pip install 'antiphon[nats]'") from error

logger = logging.getLogger("antiphon.bus.nats")

BEAT_SECONDS = 2.0  # how often a worker says that it is alive
SILENCE_SECONDS = 6.0  # after how much silence its work goes to another
_ANSWER_SECONDS = 1.0  # how long whoever runs an interaction may take to say so
_LOOK_SECONDS = 1.0  # how often the store is asked whether followers missed something
_AWAY_SECONDS = 0.25  # the same while NATS is away: the store is then all there is
_CONNECT_SECONDS = 5.0  # how long a start waits for NATS
_FETCH_SECONDS = 2.0
_RETRY_SECONDS = 0.5
_LOST_SECONDS = 10.0  # after so long without, the client is taken to have given up
_LARGEST = 512 * 2**10  # bytes in a message; NATS takes 1 MiB. What is larger is read from the store
_OUTBOX = 4096
_CONSUMER = "workers"

# RuntimeError: uvloop's word for a connection that has gone, which the client does not know.
_FAULTS = (NatsError, APIError, OSError, asyncio.TimeoutError, RuntimeError)
Reached = Callable[[Sequence[str]], Awaitable[dict[str, tuple[int, bool]]]]


class NatsChannel(LocalChannel):
    """A run's channel: its followers here are told at once, those elsewhere through NATS."""

    def __init__(self, earlier: Segment | None, tell: Callable[[Segment], None]) -> None:
        super().__init__(earlier)
        self._tell = tell

    def publish(self, segment: Segment) -> None:
        """Tell the followers."""
        super().publish(segment)
        self._tell(segment)


class NatsBus:
    """Work and live events over the NATS at `url` (several with commas between); `reached` is the store's."""

    shared = True

    def __init__(self, url: str, *, name: str, reached: Reached) -> None:
        self._servers = [part.strip() for part in url.split(",")]
        if not all(part.startswith(("nats://", "tls://", "ws://", "wss://")) for part in self._servers):
            raise ValueError("The URL of NATS must look like nats://user:password@host:4222.")
        self._subject = f"antiphon.{name}"
        self._stream = f"antiphon-{name}"
        self._reached = reached
        self._connection: Any = None
        self._tails: dict[str, Tail] = {}
        self._answering: dict[str, tuple[int, Callable[[], object]]] = {}
        self._answers: dict[str, Any] = {}  # subscriptions, by id
        self._carried: dict[str, Any] = {}  # messages whose work is under way here
        self._outbox: deque[Callable[[], Awaitable[Any]]] = deque()
        self._posted = asyncio.Event()
        self._here = asyncio.Event()  # set once NATS has been reached
        self._seen = 0.0  # when it was last known to be connected
        self._tasks: list[asyncio.Task[None]] = []
        self._made = False  # whether the queue is known to be there
        self._closing = False

    # ------------------------------------------------------------------ connection

    async def start(self) -> None:
        """Connect. A NATS that is away is waited for a moment; then this goes on without, and comes back to it."""
        self._tasks = [
            asyncio.create_task(_for_ever(work)) for work in (self._keep, self._send, self._look, self._beat)
        ]
        try:
            async with asyncio.timeout(_CONNECT_SECONDS):
                await self._here.wait()
        except TimeoutError:
            logger.warning("NATS cannot be reached: going on without, until it can")

    async def _keep(self) -> None:
        """Be connected. The client comes back by itself; where it has given that up, there is a new one."""
        while True:
            try:
                if self._is_lost():
                    await self._connect()
            except _FAULTS as error:
                logger.debug("NATS: %s", error or type(error).__name__)
            await asyncio.sleep(_RETRY_SECONDS)

    def _is_lost(self) -> bool:
        now = asyncio.get_running_loop().time()
        if self._connection is None or self._connection.is_closed:
            return True
        if self.connected:
            self._seen = now
        return now - self._seen > _LOST_SECONDS

    async def _connect(self) -> None:
        old, self._connection = self._connection, None
        if old is not None:
            with contextlib.suppress(*_FAULTS):
                async with asyncio.timeout(2):
                    await old.close()
        for tail in self._tails.values():
            tail.subscription = None  # it was the old one's
        self._answers.clear()
        connection = await nats.connect(
            self._servers,
            name="antiphon",
            max_reconnect_attempts=-1,
            reconnect_time_wait=0.25,
            connect_timeout=2,
            ping_interval=2,
            max_outstanding_pings=2,
            error_cb=_ignore,
            disconnected_cb=self._disconnected,
            reconnected_cb=self._reconnected,
        )
        self._connection, self._seen = connection, asyncio.get_running_loop().time()
        self._here.set()
        for id in list(self._answering):
            await self._subscribe_answer(id)
        await self._reconnected()

    @property
    def connected(self) -> bool:
        """Whether NATS can be used now."""
        return self._connection is not None and self._connection.is_connected

    async def _disconnected(self) -> None:
        if not self._closing:
            logger.warning("NATS is away: streams are read from the store, and new work is done where it comes in")

    async def _reconnected(self) -> None:
        """What was said meanwhile was not heard."""
        logger.info("NATS is here")
        self._made = False  # it may have come back empty
        with contextlib.suppress(*_FAULTS):
            for id, tail in list(self._tails.items()):
                await self._listen(id, tail)
            await self._connection.flush(2)
        for tail in self._tails.values():
            tail.hear(None)

    async def aclose(self) -> None:
        """Leave. Streams from elsewhere end where they are, without their end."""
        self._closing = True
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for tail in self._tails.values():
            tail.hear(None)
        if self._connection is not None:
            with contextlib.suppress(*_FAULTS):
                async with asyncio.timeout(2):
                    await self._connection.close()

    # ------------------------------------------------------------------ live events

    def open(self, id: str, log: Segment | None = None) -> NatsChannel:
        """The channel of a run that begins here; `log` is what it already wrote before."""
        return NatsChannel(log, lambda segment: self._publish(id, segment))

    def _publish(self, id: str, segment: Segment) -> None:
        if not self.connected or len(self._outbox) >= _OUTBOX:
            return  # they read the store
        frames = segment.frames if len(segment.frames) <= _LARGEST else b""
        payload = b"%d %d\n%b" % (segment.first, segment.last, frames)
        self._post(lambda: self._connection.publish(f"{self._subject}.live.{id}", payload))

    def _post(self, send: Callable[[], Awaitable[Any]]) -> None:
        """Have something said, in order."""
        self._outbox.append(send)
        self._posted.set()

    async def _send(self) -> None:
        while True:
            while self._outbox:
                with contextlib.suppress(*_FAULTS):
                    await self._outbox.popleft()()
            self._posted.clear()
            await self._posted.wait()

    async def watch(self, id: str) -> AsyncGenerator[Segment | None, None]:
        """What a run elsewhere writes, as it comes; None, first of all, whenever the store is to be looked into."""
        tail = self._tails.setdefault(id, Tail())
        tail.followers += 1
        try:
            if self.connected:
                with contextlib.suppress(*_FAULTS):
                    await self._listen(id, tail)
            place = tail.next
            yield None
            while not self._closing:
                if place == tail.next:
                    await tail.more()
                    continue
                segment = tail.at(place)
                place = place + 1 if segment is not None else tail.next  # a look sees all that was heard before it
                yield segment
        finally:
            tail.followers -= 1
            if not tail.followers:
                self._tails.pop(id, None)
                if tail.subscription is not None:
                    self._post(tail.subscription.unsubscribe)

    async def _listen(self, id: str, tail: Tail) -> None:
        """Have NATS send what is said of a run; it does once this returns."""
        async with tail.subscribing:
            if tail.subscription is not None:
                return

            async def hear(message: Any) -> None:
                numbers, _, frames = message.data.partition(b"\n")
                first, last = map(int, numbers.split())
                tail.hear(Segment(first, last, frames) if frames else None)

            tail.subscription = await self._connection.subscribe(f"{self._subject}.live.{id}", cb=hear)
            await self._connection.flush(2)

    async def _look(self) -> None:
        """Ask the store, for all followers at once, whether something was missed: the last message of a run, say."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS if self.connected else _AWAY_SECONDS)
            watched = {id: tail for id, tail in self._tails.items() if not tail.ended}
            if not watched:
                continue
            try:
                reached = await self._reached(list(watched))
            except wire.ApiError:
                continue  # the next round may have more luck
            for id, tail in watched.items():
                last, ended = reached.get(id, (tail.heard + 1, False))  # gone: its followers find out
                if last > tail.heard or ended:
                    tail.heard, tail.ended = last, ended
                    tail.hear(None)

    # ------------------------------------------------------------------ who runs what

    def answer(self, id: str, attempt: int, stop: Callable[[], object]) -> Callable[[], None]:
        """Say from now on that this server runs it, until what comes back is called."""
        self._answering[id] = (attempt, stop)
        if self._connection is not None:
            self._post(lambda: self._subscribe_answer(id))

        def end() -> None:
            if self._answering.get(id) == (attempt, stop):
                del self._answering[id]
                self._post(lambda: self._unsubscribe_answer(id))

        return end

    async def _subscribe_answer(self, id: str) -> None:
        if id in self._answers or id not in self._answering:
            return

        async def say(message: Any) -> None:
            attempt, stop = self._answering.get(id, (0, None))
            if message.data != b"ping":
                if stop is not None and attempt < int(message.data):
                    stop()
            elif stop is not None and message.reply:
                await message.respond(b"%d" % attempt)

        self._answers[id] = await self._connection.subscribe(f"{self._subject}.ctl.{id}", cb=say)

    async def _unsubscribe_answer(self, id: str) -> None:
        if id not in self._answering and (subscription := self._answers.pop(id, None)) is not None:
            await subscription.unsubscribe()

    async def running(self, id: str) -> bool:
        """Whether a server says that it runs it; True where nobody can be asked."""
        if id in self._answering or not self.connected:
            return True
        try:
            await self._connection.request(f"{self._subject}.ctl.{id}", b"ping", timeout=_ANSWER_SECONDS)
        except (TimeoutError, NoRespondersError):
            return not self.connected
        except _FAULTS:
            return True
        return True

    async def stop(self, id: str, attempt: int) -> None:
        """Tell whoever runs it as an older attempt than this one to stop."""
        if self.connected:
            with contextlib.suppress(*_FAULTS):
                await self._connection.publish(f"{self._subject}.ctl.{id}", b"%d" % attempt)

    # ------------------------------------------------------------------ work

    async def _queue(self) -> Any:
        """JetStream, with the work queue in it."""
        context = self._connection.jetstream(timeout=2)
        if not self._made:
            stream = StreamConfig(
                name=self._stream,
                subjects=[f"{self._subject}.work.*"],
                retention=RetentionPolicy.WORK_QUEUE,
                storage=StorageType.FILE,
            )
            try:
                await context.stream_info(self._stream)
            except NotFoundError:
                await context.add_stream(stream)
            consumer = ConsumerConfig(
                durable_name=_CONSUMER, ack_policy=AckPolicy.EXPLICIT, ack_wait=SILENCE_SECONDS, max_ack_pending=100_000
            )
            await context.add_consumer(self._stream, consumer)
            self._made = True
        return context

    async def submit(self, id: str) -> bool:
        """Put it on the queue; True where that cannot be done, and the asker is to run it itself."""
        if not self.connected:
            return True
        try:
            queue = await self._queue()
            await queue.publish(f"{self._subject}.work.{id}", b"", timeout=2)
        except _FAULTS as error:
            self._made = False
            logger.warning("%s is not put on the queue: %s", id, error or type(error).__name__)
            return True
        return False

    async def queued(self, id: str) -> bool:
        """Whether its message is on the queue; True also where that cannot be known."""
        if not self.connected:
            return True
        try:
            queue = await self._queue()
            await queue.get_last_msg(self._stream, f"{self._subject}.work.{id}")
        except NotFoundError:
            return False
        except _FAULTS:
            return True
        return True

    async def look(self) -> None:
        """Raises Unavailable where NATS is away."""
        if not self.connected:
            raise wire.Unavailable("NATS is away.")

    async def depth(self) -> int:
        """How many interactions wait for somebody to run them. Raises Unavailable."""
        await self.look()
        try:
            return int((await (await self._queue()).consumer_info(self._stream, _CONSUMER)).num_pending)
        except _FAULTS as error:
            raise wire.Unavailable("The queue cannot be looked at.") from error

    async def work(self, take: Callable[[str], Awaitable[float | None]], slots: int) -> None:
        """Take up to `slots` messages at once, until cancelled; what is not done then goes to others at once."""
        free = asyncio.Semaphore(slots)
        tasks: set[asyncio.Task[None]] = set()
        try:
            async for message in self._messages(free):
                task = asyncio.create_task(self._carry(message, take))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                task.add_done_callback(lambda _: free.release())
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _messages(self, free: asyncio.Semaphore) -> AsyncGenerator[Any, None]:
        """One for each free slot, for ever."""
        source: Any = None
        try:
            while True:
                await free.acquire()
                message = None
                while message is None:
                    try:
                        if not self.connected:  # what is asked for now would be too old when it is heard
                            await asyncio.sleep(_RETRY_SECONDS)
                            continue
                        if source is None or not self._made:
                            source = await self._pull(source)
                        message = (await source.fetch(1, timeout=_FETCH_SECONDS))[0]
                    except TimeoutError:
                        continue
                    except _FAULTS:
                        self._made = False
                        await asyncio.sleep(_RETRY_SECONDS)
                yield message
        finally:
            # NATS is to forget what was asked for: else what is put back now would be given to this server again.
            if source is not None:
                with contextlib.suppress(*_FAULTS):
                    await source.unsubscribe()

    async def _pull(self, old: Any) -> Any:
        """Something to pull messages from, in the place of an old one, which NATS is to forget."""
        if old is not None:
            with contextlib.suppress(*_FAULTS):
                await old.unsubscribe()
        return await (await self._queue()).pull_subscribe_bind(_CONSUMER, self._stream)

    async def _carry(self, message: Any, take: Callable[[str], Awaitable[float | None]]) -> None:
        """Do one message's work, saying all the while that somebody does."""
        id = message.subject.rpartition(".")[2]
        self._carried[message.reply] = message
        again: float | None = 0.0  # at once, for another: this server stops
        try:
            again = await take(id)
        except Exception as error:  # noqa: BLE001 - one that cannot be run must not keep the others from it
            logger.warning("interaction %s is put back: %s", id, error or type(error).__name__)
            again = BEAT_SECONDS
        finally:
            del self._carried[message.reply]
            with contextlib.suppress(*_FAULTS):
                await (message.ack() if again is None else message.nak(again or None))

    async def _beat(self) -> None:
        """Say for all that is under way here that it is: a loop that stands still says nothing, and is taken for dead."""
        while True:
            await asyncio.sleep(BEAT_SECONDS)
            for message in list(self._carried.values()):
                if self.connected:
                    with contextlib.suppress(*_FAULTS):
                        await message.in_progress()


async def _for_ever(work: Callable[[], Awaitable[None]]) -> None:
    """Work that ends for no reason that is known here begins again: a server without it would be deaf, and say nothing."""
    while True:
        try:
            await work()
        except Exception:
            logger.exception("NATS: %s broke off, and begins again", work.__name__)
        await asyncio.sleep(_RETRY_SECONDS)


async def _ignore(error: Exception) -> None:
    """What goes wrong with the connection is told when it goes and comes; each try to come back need not be."""
