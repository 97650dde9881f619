"""What is measured of a server: creates, streams, many subscribers of one run, resuming a long log.

Each function is given a port and answers with what was seen; none starts a server, prints or judges.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field

from bench.load import LoadError, Streamed, Unary, fetch, hammer, open_stream, quantile, read_stream, request_bytes
from bench.servers import Server

MODEL = "gemini-3-flash-preview"
INTERACTIONS = "/v1beta/interactions"
TEXT = "Say hello."

# Configured model name -> how the mock behaves behind it (see mock_openai.py).
PACED, FAN, BURST, LONG, ENDED = "paced", "fan", "burst", "long", "ended"
LOG_LENGTH, BURST_LENGTH, FAN_LENGTH = 10_000, 500, 60
SUBSCRIBING_TIME = 6.0
UPSTREAMS = {
    "": "mock",
    PACED: "mock-200tps-100",
    FAN: f"mock-10tps-{FAN_LENGTH}-wait{SUBSCRIBING_TIME:.0f}",
    BURST: f"mock-{BURST_LENGTH}-wait{SUBSCRIBING_TIME:.0f}",
    LONG: f"mock-{LOG_LENGTH}-hold120",
    ENDED: f"mock-{LOG_LENGTH}",
}

CREATE = request_bytes("POST", INTERACTIONS, {"model": MODEL, "input": TEXT})
CREATE_STREAM = request_bytes("POST", INTERACTIONS, {"model": PACED, "input": TEXT, "stream": True})
_CHAT: dict[str, object] = {"messages": [{"role": "user", "content": TEXT}]}
CHAT = request_bytes("POST", "/v1/chat/completions", {"model": "mock", **_CHAT})


def chat_stream(model: str, key: str = "x") -> bytes:
    return request_bytes("POST", "/v1/chat/completions", {"model": model, "stream": True, **_CHAT}, key=key)


@dataclass
class Side:
    """One way to the mock: directly, through Antiphon, through a door of LiteLLM's."""

    name: str
    at: dict[int, Unary] = field(default_factory=dict)
    streams: dict[int, list[Streamed]] = field(default_factory=dict)
    cpu: float = 0.0
    start: float = 0.0
    idle: float = 0.0
    loaded: float = 0.0

    @property
    def cpu_ms(self) -> float:
        """Processor time of the server for one create."""
        answered = sum(seen.answered for seen in self.at.values())
        return self.cpu / answered * 1e3 if answered else float("nan")

    def first_token_ms(self, clients: int, share: float) -> float:
        return quantile([stream.first_token for stream in self.streams[clients]], share) * 1e3

    def token_age_ms(self, clients: int, share: float) -> float:
        return quantile([age for stream in self.streams[clients] for age in stream.ages], share) * 1e3

    def whole_ms(self, clients: int, share: float) -> float:
        return quantile([stream.ended for stream in self.streams[clients]], share) * 1e3


async def creates(
    side: Side, port: int, request: bytes, *, clients: int, seconds: float, server: Server | None
) -> None:
    """Add one round of creates to what a side has."""
    before = server.cpu() if server else 0.0
    seen = await hammer(port, request, clients=clients, seconds=seconds)
    side.cpu += server.cpu() - before if server else 0.0
    side.at.setdefault(clients, Unary()).add(seen)


async def streams(side: Side, port: int, request: bytes, *, clients: int, rounds: int) -> None:
    """`clients` at a time, each opening one stream after the other, not all in the same instant."""
    seen = side.streams.setdefault(clients, [])

    async def client(number: int) -> None:
        await asyncio.sleep(number / clients * 0.1)
        for _ in range(rounds):
            stream = await read_stream(port, request)
            if stream.status != 200 or not stream.done or not stream.tokens:
                raise LoadError(f"{side.name}: a stream ended with {stream}")
            seen.append(stream)

    await asyncio.gather(*(client(number) for number in range(clients)))


async def start_run(port: int, model: str) -> str:
    body: dict[str, object] = {"model": model, "input": TEXT, "background": True}
    status, created = await fetch(port, request_bytes("POST", INTERACTIONS, body))
    if status != 200:
        raise LoadError(f"a background run of {model!r} was refused: {status} {created}")
    return str(created["id"])


def follow(run: str, after: str = "") -> bytes:
    query = f"?stream=true&last_event_id={after}" if after else "?stream=true"
    return request_bytes("GET", f"{INTERACTIONS}/{run}{query}")


async def end_run(port: int, run: str) -> None:
    await fetch(port, request_bytes("POST", f"{INTERACTIONS}/{run}/cancel", {}))


@dataclass(frozen=True)
class Fan:
    """One background run seen by many subscribers."""

    subscribers: int
    subscribing: float
    streams: list[Streamed]
    expected: int
    seconds: float

    @property
    def complete(self) -> int:
        """Subscribers that had every token and the end, in exactly the bytes the first one had."""
        same = self.streams[0].checksum
        return sum(s.done and s.tokens == self.expected and s.checksum == same for s in self.streams)

    @property
    def deliveries(self) -> int:
        return sum(stream.events for stream in self.streams)

    def age_ms(self, share: float) -> float:
        return quantile([age for stream in self.streams for age in stream.ages], share) * 1e3


async def fan_out(port: int, model: str, expected: int, subscribers: int) -> Fan:
    """All subscribe while the mock still waits, so that every token is live for everyone."""
    run = await start_run(port, model)
    began = time.monotonic()
    waiting: list[asyncio.Future[Streamed]] = []
    for _ in range(0, subscribers, 50):
        waiting += await asyncio.gather(*(open_stream(port, follow(run)) for _ in range(min(50, subscribers))))
    subscribing = time.monotonic() - began
    seen = await asyncio.gather(*waiting)
    # From the first token anyone saw to the last end; `asked` and the others share one clock.
    seconds = max(s.asked + s.ended for s in seen) - min(s.asked + s.first_token for s in seen)
    return Fan(len(seen), subscribing, list(seen), expected, seconds)


@dataclass(frozen=True)
class Resumed:
    """A long log read again: from the middle while the run goes on, from the start when it is over."""

    middle: list[Streamed]
    ended: list[Streamed]
    live_events: int

    @staticmethod
    def median(values: list[float]) -> float:
        return quantile(values, 0.5)


async def resume(port: int, times: int) -> Resumed:
    run = await start_run(port, LONG)
    # The mock has sent all and holds the line: the step is unfinished, so no one may have compacted the log.
    whole = await read_stream(port, follow(run), lambda seen: seen.tokens >= LOG_LENGTH)
    half = await read_stream(port, follow(run), lambda seen: seen.tokens >= LOG_LENGTH // 2)
    rest = whole.tokens - half.tokens
    middle = [
        await read_stream(port, follow(run, half.last_event_id), lambda seen: seen.tokens >= rest) for _ in range(times)
    ]
    await end_run(port, run)
    over = await start_run(port, ENDED)
    await read_stream(port, follow(over))
    ended = [await read_stream(port, follow(over)) for _ in range(times)]
    return Resumed(middle, ended, whole.events)
