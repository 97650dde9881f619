"""Metrics and traces of what the engine really does: the numbers, the names, and no word of what was said."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client.parser import text_string_to_metric_families
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import Message, Scope

from antiphon import telemetry, wire
from antiphon.bus.local import LocalBus
from antiphon.catalog import Catalog, Served
from antiphon.engine import Engine
from antiphon.models.scripted import Script, Scripted
from antiphon.ports import Store
from antiphon.server.operations import Health, Part, Watched
from antiphon.server.sse import EventStream
from antiphon.stores.memory import MemoryStore
from antiphon.telemetry import METRICS, Figures, Metrics, Telemetry, Traces, counted
from antiphon.tools.scripted import ScriptedTool, ToolScript
from records import record, segment, words

SECRET = "swordfish"  # stands for content: it may be in no metric, and in no span unless asked for
TURNS = [
    {"after": "google_search", "text": f"The {SECRET} is here."},
    {"when": "look", "calls": [{"name": "google_search", "arguments": {"queries": [SECRET]}}]},
    {"when": "fail", "fault": {"kind": "error", "code": "service_unavailable"}},
    {"text": f"Yes, {SECRET}."},
]


class Seen:
    """Metrics and spans of one test."""

    def __init__(self, *, content: bool = False) -> None:
        self.metrics = Metrics()
        self._spans = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._spans))
        self.traces = Traces(provider, content=content)
        self.watcher = Telemetry(self.metrics, self.traces)

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._spans.get_finished_spans())

    def span(self, name: str) -> ReadableSpan:
        [found] = [span for span in self.spans if span.name == name]
        return found

    def value(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(name, labels)


@asynccontextmanager
async def engine(seen: Seen, store: Store | None = None) -> AsyncIterator[Engine]:
    made = Engine(
        store=counted(store or MemoryStore(), seen.metrics),
        bus=LocalBus(),
        models={"m": Scripted(msgspec.convert({"turns": TURNS}, Script))},
        resolve=Catalog({"m": Served()}, "m").resolve,
        key=b"k" * 32,
        tools={"google_search": ScriptedTool("google_search", ToolScript(result=[]))},
        watchers=[seen.watcher],
    )
    try:
        yield made
    finally:
        await made.aclose()


async def ask(on: Engine, text: str, **fields: Any) -> None:
    body = {"model": "m", "input": text, "tools": [{"type": "google_search"}]} | fields
    run = await on.create("p", msgspec.convert(body, wire.CreateInteraction))
    assert run.task is not None
    async with asyncio.timeout(5):
        await asyncio.wait([run.task])


def asked(*texts: str, content: bool = False) -> Seen:
    """What is seen of an engine that was asked these."""
    seen = Seen(content=content)

    async def body() -> None:
        async with engine(seen) as on:
            for text in texts:
                await ask(on, text)

    asyncio.run(body())
    return seen


# ---------------------------------------------------------------------------------------------------- metrics


def test_what_an_interaction_does_is_counted():
    seen = asked("look", "hello", "fail")
    name = next(labels["model"] for _, labels, _ in samples(seen) if "model" in labels)
    assert seen.value("antiphon_interactions_started_total", model=name) == 3
    assert seen.value("antiphon_interactions_total", model=name, status="completed") == 2
    assert seen.value("antiphon_interactions_total", model=name, status="failed") == 1
    assert seen.value("antiphon_interaction_seconds_count", model=name) == 3
    assert seen.value("antiphon_tokens_total", model=name, kind="output")
    assert seen.value("antiphon_model_calls_total", model="m", outcome="ok") == 3
    assert seen.value("antiphon_model_calls_total", model="m", outcome="service_unavailable") == 1
    assert seen.value("antiphon_model_call_seconds_count", model="m") == 4
    assert seen.value("antiphon_tool_calls_total", tool="google_search", outcome="ok") == 1
    assert seen.value("antiphon_tool_call_seconds_count", tool="google_search") == 1


def samples(seen: Seen) -> list[tuple[str, dict[str, str], float]]:
    families = text_string_to_metric_families(seen.metrics.text().decode())
    return [(sample.name, sample.labels, sample.value) for family in families for sample in family.samples]


def test_the_events_that_are_stored_are_counted_and_a_stores_failures_too():
    class Away(MemoryStore):
        async def exists(self, id: str) -> bool:
            raise wire.Unavailable("away")

    async def body() -> None:
        seen = Seen()
        store = counted(Away(), seen.metrics)
        one = record()
        await store.create(one, "in_progress")
        await store.append(one.id, 1, "in_progress", segment(1, *words("a", "b", "c")))
        assert seen.value("antiphon_stored_events_total") == 3
        assert seen.value("antiphon_store_seconds_count", call="append") == 1
        with pytest.raises(wire.Unavailable):
            await store.exists("x")
        assert seen.value("antiphon_store_errors_total", call="exists") == 1
        assert seen.value("antiphon_store_seconds_count", call="exists") == 0
        await store.aclose()

    asyncio.run(body())


def test_every_metric_is_there_once_it_is_used_and_its_page_can_be_parsed():
    async def body() -> None:
        seen = Seen()

        async def here() -> None:
            pass

        async def away() -> None:
            raise wire.Unavailable("away")

        health = Health([Part("store", here), Part("bus", away)])
        health.drain()

        async def queue() -> int:
            return 7

        figures = Figures(seen.metrics, running=lambda: 3, health=health, queue=queue)
        for name, metric in METRICS.items():
            seen.metrics.of(name, *("x" for _ in metric.labels))
        families = list(text_string_to_metric_families((await figures()).decode()))
        assert {f"{family.name}_total" if family.type == "counter" else family.name for family in families} >= {
            *METRICS
        }
        assert seen.value("antiphon_interactions_in_progress") == 3
        assert seen.value("antiphon_part_up", part="store") == 1 and seen.value("antiphon_part_up", part="bus") == 0
        assert seen.value("antiphon_draining") == 1
        assert seen.value("antiphon_queue_depth") == 7

    asyncio.run(body())


def test_a_queue_that_does_not_answer_keeps_nobody_from_the_metrics():
    async def body() -> None:
        seen = Seen()

        async def queue() -> int:
            raise wire.Unavailable("away")

        figures = Figures(seen.metrics, running=lambda: 0, health=Health(), queue=queue)
        assert b"antiphon_queue_depth NaN" in await figures()

    asyncio.run(body())


# ---------------------------------------------------------------------------------------------------- traces


def test_an_interaction_and_its_calls_are_one_trace_with_the_names_of_the_conventions():
    seen = asked("look")
    whole, tool = seen.span("invoke_agent"), seen.span("execute_tool google_search")
    chats = [span for span in seen.spans if span.name == "chat m"]
    assert len(chats) == 2
    assert whole.parent is None and whole.context is not None
    for call in (*chats, tool):
        assert call.parent is not None and call.parent.span_id == whole.context.span_id
        assert call.attributes is not None and call.attributes[telemetry.PROVIDER] == "antiphon"
    assert whole.attributes is not None and tool.attributes is not None and chats[0].attributes is not None
    assert whole.attributes["gen_ai.operation.name"] == "invoke_agent"
    assert str(whole.attributes["gen_ai.response.id"]).startswith("v1_")
    assert whole.attributes["antiphon.status"] == "completed"
    assert whole.attributes["gen_ai.usage.output_tokens"]
    assert chats[0].attributes["gen_ai.operation.name"] == "chat"
    assert chats[0].attributes["gen_ai.request.model"] == "m"
    assert "gen_ai.usage.input_tokens" in chats[0].attributes
    assert chats[0].attributes["gen_ai.response.finish_reasons"]
    assert tool.attributes["gen_ai.tool.name"] == "google_search"


def test_a_failure_is_told_by_its_code():
    seen = asked("fail")
    for name in ("chat m", "invoke_agent"):
        span = seen.span(name)
        assert not span.status.is_ok and span.status.description is None
    attributes = seen.span("chat m").attributes
    assert attributes is not None and attributes["error.type"] == "service_unavailable"


def test_what_was_said_is_in_no_metric_and_no_span():
    seen = asked(f"look for the {SECRET}", SECRET, "fail")
    assert SECRET not in seen.metrics.text().decode()
    assert [span.name for span in seen.spans if SECRET in span.to_json()] == []


def test_questions_are_in_the_spans_where_they_are_asked_for():
    seen = asked(f"Is it {SECRET}?", content=True)
    attributes = seen.span("invoke_agent").attributes
    assert attributes is not None and SECRET in str(attributes["gen_ai.input.messages"])


def test_traces_are_off_and_load_nothing_where_no_address_is_set(monkeypatch: pytest.MonkeyPatch):
    for name in telemetry.ENDPOINTS:
        monkeypatch.delenv(name, raising=False)
    assert Traces.exported() is None


def test_the_spans_of_runs_that_went_elsewhere_end_when_the_server_does():
    seen = Seen()
    one = record()
    with seen.watcher.around(one, "chat", "m"):
        pass
    assert [span.name for span in seen.spans] == ["chat m"]
    seen.traces.aclose()
    attributes = seen.span("invoke_agent").attributes
    assert attributes is not None and attributes["antiphon.status"] == "handed_over"


# ---------------------------------------------------------------------------------------------------- HTTP

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def routed(seen: Seen, handler: Callable[[Any], Any]) -> Watched:
    return Watched(Router([Route("/interactions/{id}", handler)]), seen.metrics, seen.traces)


async def get(app: Watched, path: str, method: str = "GET", headers: dict[str, str] | None = None) -> list[Message]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        return await asyncio.get_running_loop().create_future()  # nobody leaves, and nothing more is said

    scope: Scope = {
        "type": "http", "method": method, "path": path, "query_string": b"", "root_path": "", "scheme": "http",
        "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
        "server": ("127.0.0.1", 80), "client": ("127.0.0.1", 1), "http_version": "1.1",
    }  # fmt: skip
    await app(scope, receive, send)
    return sent


def test_requests_are_counted_by_route_and_never_by_id():
    async def body() -> None:
        seen = Seen()

        async def found(request: Any) -> Response:
            return Response(b"{}")

        app = routed(seen, found)
        for id in ("v1_a", "v1_b"):
            await get(app, f"/interactions/{id}")
        await get(app, "/nowhere/at/all")
        await get(app, "/nowhere", method="BREW")
        assert seen.value(
            "antiphon_http_requests_total", method="GET", route="/interactions/{id}", status="200"
        ) == 2  # fmt: skip
        assert seen.value("antiphon_http_requests_total", method="GET", route="other", status="404") == 1
        assert seen.value("antiphon_http_requests_total", method="other", route="other", status="404") == 1
        assert seen.value("antiphon_http_request_seconds_count", method="GET", route="/interactions/{id}") == 2
        assert not re.search(r"v1_[ab]|nowhere|BREW", seen.metrics.text().decode())

    asyncio.run(body())


def test_a_streams_first_event_is_timed_and_it_is_open_until_its_end():
    async def body() -> None:
        seen = Seen()
        open_within: list[float | None] = []

        async def frames() -> AsyncIterator[bytes]:
            yield b"event: a\n\n"
            open_within.append(seen.value("antiphon_open_streams"))

        async def stream(request: Any) -> Response:
            return EventStream(frames())

        await get(routed(seen, stream), "/interactions/x")
        assert open_within == [1] and seen.value("antiphon_open_streams") == 0
        assert seen.value("antiphon_stream_first_event_seconds_count", route="/interactions/{id}") == 1
        assert seen.value("antiphon_http_request_seconds_count", method="GET", route="/interactions/{id}") is None

    asyncio.run(body())


def test_a_handler_that_breaks_is_counted_as_a_fault_of_ours():
    async def body() -> None:
        seen = Seen()

        async def broken(request: Any) -> Response:
            raise ValueError

        with pytest.raises(ValueError):
            await get(routed(seen, broken), "/interactions/x")
        assert seen.value(
            "antiphon_http_requests_total", method="GET", route="/interactions/{id}", status="500"
        ) == 1  # fmt: skip

    asyncio.run(body())


def test_a_request_goes_on_with_its_callers_trace_and_the_interaction_with_the_requests():
    async def body() -> None:
        seen = Seen()
        async with engine(seen) as on:

            async def create(request: Any) -> Response:
                await ask(on, "hello")
                return Response(b"{}")

            await get(routed(seen, create), "/interactions/x", headers={"traceparent": PARENT})
        request, whole = seen.span("GET /interactions/{id}"), seen.span("invoke_agent")
        assert request.parent is not None and f"{request.parent.trace_id:032x}" == PARENT.split("-")[1]
        assert request.context is not None and whole.parent is not None
        assert whole.parent.span_id == request.context.span_id
        assert request.attributes is not None and request.attributes["http.response.status_code"] == 200

    asyncio.run(body())


def test_the_three_routes_that_are_asked_all_the_time_are_not_traced():
    async def body() -> None:
        seen = Seen()
        await get(
            Watched(Router([Route("/readyz", lambda request: Response(b""))]), seen.metrics, seen.traces), "/readyz"
        )
        assert seen.spans == []

    asyncio.run(body())
