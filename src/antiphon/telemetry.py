"""What can be seen of a server from outside: Prometheus metrics and OpenTelemetry traces. All their names stand here.

Both are extras, imported when they are made. Content (what was asked and answered) is in neither, unless it is asked for.
The attributes are those of the OpenTelemetry conventions for generative AI, which are still being changed: when they do,
this file does.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import wraps
from typing import Any, Literal, NamedTuple, Protocol, cast

import msgspec
from starlette.types import Scope

from antiphon import __version__, wire
from antiphon.ports import Fenced, Record, Segment, Store

# ---------------------------------------------------------------------------------------------------- names

_QUICK = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_LONG = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)

_LEAVE_SECONDS = 2.0  # for the last spans, at a stop


class Metric(NamedTuple):
    """What one metric is: its kind, its labels, what it says, and for a histogram where its buckets end."""

    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str
    buckets: tuple[float, ...] = ()


METRICS: dict[str, Metric] = {
    "antiphon_info": Metric("gauge", ("version",), "Always 1; says which version this is."),
    "antiphon_part_up": Metric("gauge", ("part",), "1 where a part (store, bus, models) can be used, else 0."),
    "antiphon_draining": Metric("gauge", (), "1 while the server takes no new work because it is about to stop."),
    "antiphon_interactions_in_progress": Metric("gauge", (), "Interactions that this server runs now."),
    "antiphon_interactions_started_total": Metric("counter", ("model",), "Interactions that were asked for here."),
    "antiphon_interactions_total": Metric("counter", ("model", "status"), "Interactions that ended here."),
    "antiphon_interaction_seconds": Metric("histogram", ("model",), "From the request to the end.", _LONG),
    "antiphon_tokens_total": Metric("counter", ("model", "kind"), "Tokens: input, cached, output, thought, tool_use."),
    "antiphon_model_calls_total": Metric("counter", ("model", "outcome"), "Calls of models: ok, or an error's code."),
    "antiphon_model_call_seconds": Metric("histogram", ("model",), "How long a model's answer took.", _LONG),
    "antiphon_model_first_chunk_seconds": Metric("histogram", ("model",), "Until a model began to speak.", _LONG),
    "antiphon_tool_calls_total": Metric("counter", ("tool", "outcome"), "Calls of tools: ok, or an error's code."),
    "antiphon_tool_call_seconds": Metric("histogram", ("tool",), "How long a tool took.", _LONG),
    "antiphon_http_requests_total": Metric("counter", ("method", "route", "status"), "Requests that were answered."),
    "antiphon_http_request_seconds": Metric("histogram", ("method", "route"), "Answering, streams aside.", _QUICK),
    "antiphon_open_streams": Metric("gauge", (), "Streams that clients read now."),
    "antiphon_stream_first_event_seconds": Metric("histogram", ("route",), "Until a stream's first event.", _QUICK),
    "antiphon_stored_events_total": Metric("counter", (), "Events that were written to the store."),
    "antiphon_store_seconds": Metric("histogram", ("call",), "How long the store took.", _QUICK),
    "antiphon_store_errors_total": Metric("counter", ("call",), "Calls that the store could not carry out."),
    "antiphon_queue_depth": Metric("gauge", (), "Interactions that wait for a worker, where there is a queue."),
}
OK = "ok"
OTHER = "other"  # the label of a route, a method or an error that is none of ours
_METHODS = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"})
_KINDS = ("input", "cached", "output", "thought", "tool_use")  # of tokens, as in the names of `wire.Usage`

SERVICE = "antiphon"
OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
CONVERSATION = "gen_ai.conversation.id"
AGENT_NAME = "gen_ai.agent.name"
RESPONSE_ID = "gen_ai.response.id"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHED_TOKENS = "gen_ai.usage.cache_read.input_tokens"
THOUGHT_TOKENS = "gen_ai.usage.reasoning.output_tokens"
TOOL_NAME = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
INPUT_MESSAGES = "gen_ai.input.messages"  # content: only where it is asked for
ERROR_TYPE = "error.type"
HTTP_METHOD = "http.request.method"
HTTP_ROUTE = "http.route"
HTTP_STATUS = "http.response.status_code"
URL_PATH = "url.path"
PROJECT = "antiphon.project"
STATUS = "antiphon.status"
ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
_PARENTS = frozenset({b"traceparent", b"tracestate"})
_MOST_SPANS = 10_000  # interactions of which a span is open: the oldest is closed beyond
_LONGEST = 200  # characters of a name that a caller may have made up


# ---------------------------------------------------------------------------------------------------- metrics


def method_of(scope: Scope) -> str:
    """A request's method, where it is one that there is."""
    return scope["method"] if scope["method"] in _METHODS else OTHER


def route_of(scope: Scope) -> str:
    """The template that the router found; before it, or where it found none, there is nothing to be named by."""
    return getattr(scope.get("route"), "path", OTHER)


class Metrics:
    """The metrics of one server, in a registry of its own. Needs `prometheus_client`; raises ImportError without."""

    def __init__(self) -> None:
        import prometheus_client

        prometheus: Any = prometheus_client  # half of it has no type information

        kinds: dict[str, Any] = {
            "counter": prometheus.Counter,
            "gauge": prometheus.Gauge,
            "histogram": prometheus.Histogram,
        }
        self.registry = prometheus.CollectorRegistry()
        self._text = prometheus.generate_latest
        prometheus.ProcessCollector(registry=self.registry)
        prometheus.GCCollector(registry=self.registry)
        prometheus.disable_created_metrics()  # when a series began is no figure of its own
        self._metrics = {}
        for name, metric in METRICS.items():
            buckets = {"buckets": metric.buckets} if metric.buckets else {}
            self._metrics[name] = kinds[metric.kind](
                name, metric.help, metric.labels, registry=self.registry, **buckets
            )
        self._children: dict[tuple[str, ...], Any] = {}
        self.of("antiphon_info", __version__).set(1)

    def of(self, name: str, *labels: str) -> Any:
        """One metric with these labels; found again without building its key anew, which is most of what it costs."""
        child = self._children.get((name, *labels))
        if child is None:
            metric = self._metrics[name]
            child = self._children[(name, *labels)] = metric.labels(*labels) if labels else metric
        return child

    def text(self) -> bytes:
        """All of them, as Prometheus reads them."""
        return bytes(self._text(self.registry))


class Healthy(Protocol):
    """Knows what can be used, and whether the server is about to stop."""

    draining: bool

    async def look(self) -> Mapping[str, bool]:
        """Which parts can be used, by their names."""
        ...


class Figures:
    """What is asked for when somebody reads the metrics, and at no other time."""

    def __init__(
        self,
        metrics: Metrics,
        *,
        running: Callable[[], int],
        health: Healthy,
        queue: Callable[[], Awaitable[int]] | None = None,
    ) -> None:
        self._metrics = metrics
        self._running = running
        self._health = health
        self._queue = queue

    async def __call__(self) -> bytes:
        """The page of metrics, as it stands now."""
        of = self._metrics.of
        of("antiphon_interactions_in_progress").set(self._running())
        for part, up in (await self._health.look()).items():
            of("antiphon_part_up", part).set(int(up))
        of("antiphon_draining").set(int(self._health.draining))
        if self._queue is not None:
            depth = float("nan")
            with suppress(TimeoutError, wire.Unavailable):
                async with asyncio.timeout(1):
                    depth = await self._queue()
            of("antiphon_queue_depth").set(depth)
        return self._metrics.text()


def counted(store: Store, metrics: Metrics) -> Store:
    """The same store, whose calls are timed and whose events are counted."""
    return cast(Store, _Counted(store, metrics))


class _Counted:
    def __init__(self, store: Store, metrics: Metrics) -> None:
        self._store = store
        self._metrics = metrics

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._store, name)
        if inspect.iscoroutinefunction(value):
            value = self._timed(name, value)
            setattr(self, name, value)  # found at once from now on
        return value

    def _timed(self, name: str, call: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        took = self._metrics.of("antiphon_store_seconds", name)
        errors = self._metrics.of("antiphon_store_errors_total", name)
        events = self._metrics.of("antiphon_stored_events_total")
        writes = name in ("create", "append")

        @wraps(call)
        async def timed(*arguments: Any, **named: Any) -> Any:
            began = time.perf_counter()
            try:
                result = await call(*arguments, **named)
            except Fenced:
                raise  # the store has done its work
            except wire.ApiError as error:
                if isinstance(error, wire.Unavailable):
                    errors.inc()
                raise
            took.observe(time.perf_counter() - began)
            if writes:
                for value in (*arguments, *named.values()):
                    if isinstance(value, Segment):
                        events.inc(value.last - value.first + 1)
            return result

        return timed


# ---------------------------------------------------------------------------------------------------- traces


class Traces:
    """Spans of requests, interactions, and calls of models and tools. Needs `opentelemetry`; raises ImportError without.

    `provider` is an SDK's tracer provider. With `content` the questions are in the spans.
    """

    def __init__(self, provider: Any, *, content: bool = False) -> None:
        from opentelemetry import context, trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer(SERVICE, __version__)
        self._trace, self._context = trace, context
        self._propagator = TraceContextTextMapPropagator()
        self._content = content
        self._open: dict[str, Any] = {}  # the span of each interaction under way, by id

    @classmethod
    def exported(cls, *, content: bool = False) -> Traces | None:
        """Traces that go where the OTEL_… variables say; None, and nothing is loaded, where they say nothing."""
        if not any(os.environ.get(name) for name in ENDPOINTS):
            return None
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        name = os.environ.get("OTEL_SERVICE_NAME") or SERVICE
        provider = TracerProvider(resource=Resource.create({"service.name": name, "service.version": __version__}))
        provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        return cls(provider, content=content)

    @contextmanager
    def request(self, scope: Scope) -> Iterator[Any]:
        """The span of one HTTP request, below the caller's where `traceparent` names one; made current."""
        found = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"] if name in _PARENTS
        }
        attributes = {HTTP_METHOD: method_of(scope), URL_PATH: scope["path"]}
        parent, kind = self._propagator.extract(found), self._trace.SpanKind.SERVER
        with self._tracer.start_as_current_span(method_of(scope), parent, kind, attributes) as span:
            yield span

    def answered(self, span: Any, method: str, route: str, status: int) -> None:
        """What a request's span is told at its end."""
        span.update_name(f"{method} {route}")
        span.set_attribute(HTTP_ROUTE, route)
        span.set_attribute(HTTP_STATUS, status)
        if status >= 500:
            self._fail(span, str(status))

    def origin(self) -> str:
        """The current span as a `traceparent`, for those who go on elsewhere; '' where there is none."""
        carrier: dict[str, str] = {}
        self._propagator.inject(carrier)
        return carrier.get("traceparent", "")

    def begin_call(self, record: Record, kind: str, name: str) -> tuple[Any, Any]:
        """The span of one call of a model or a tool, below its interaction's, made current; and what makes it not so."""
        parent = self._trace.set_span_in_context(self._interaction(record))
        attributes: dict[str, Any] = {OPERATION: kind, PROVIDER: SERVICE, CONVERSATION: record.conversation}
        if kind == "chat":
            attributes |= {REQUEST_MODEL: name, REQUEST_STREAM: True}
        else:
            attributes |= {TOOL_NAME: name, TOOL_TYPE: "extension"}  # run on the server's side
        spans = self._trace.SpanKind
        side = spans.CLIENT if kind == "chat" else spans.INTERNAL
        span = self._tracer.start_span(f"{kind} {name}", parent, side, attributes)
        return span, self._context.attach(self._trace.set_span_in_context(span))

    def end_call(self, begun: tuple[Any, Any], heard: Mapping[str, Any], outcome: str) -> None:
        """End the span of a call, with what the engine came to know."""
        span, token = begun
        self._context.detach(token)
        span.set_attributes(_heard(heard))
        if outcome != OK:
            self._fail(span, outcome)
        span.end()

    def end(self, record: Record, status: str, usage: wire.Usage | None) -> None:
        """End an interaction's span. One that ended before it called anything has a span all the same."""
        span = self._interaction(record)
        self._open.pop(record.id, None)
        span.set_attribute(STATUS, status)
        span.set_attributes(_used(usage))
        if status == "failed":
            self._fail(span, status)
        span.end()

    def aclose(self) -> None:
        """End what is open (its interactions go on elsewhere), and send what was not sent yet."""
        for span in self._open.values():
            span.set_attribute(STATUS, "handed_over")
            span.end()
        self._open.clear()
        # It goes on trying for half a minute where the collector is away: a server that is to stop has not that long.
        leaving = threading.Thread(target=self._provider.shutdown, daemon=True)
        leaving.start()
        leaving.join(_LEAVE_SECONDS)

    def _interaction(self, record: Record) -> Any:
        span = self._open.get(record.id)
        if span is not None:
            return span
        parent = None  # the request that this runs in, whose context its task has
        if not self._trace.get_current_span().get_span_context().is_valid:
            parent = self._propagator.extract({"traceparent": getattr(record, "trace", "")})
        agent = record.request.agent
        attributes = {
            OPERATION: "invoke_agent",
            PROVIDER: SERVICE,
            REQUEST_MODEL: (record.request.model or record.model)[:_LONGEST],
            RESPONSE_MODEL: record.target,
            RESPONSE_ID: record.id,
            CONVERSATION: record.conversation,
            PROJECT: record.project,
        }
        if agent:
            attributes[AGENT_NAME] = agent
        if self._content:
            attributes[INPUT_MESSAGES] = msgspec.json.encode(record.input).decode()
        name = f"invoke_agent {agent}" if agent else "invoke_agent"
        span = self._tracer.start_span(name, parent, self._trace.SpanKind.INTERNAL, attributes)
        if len(self._open) >= _MOST_SPANS:  # of runs that another server took away, since those end there
            self._open.pop(next(iter(self._open))).end()
        self._open[record.id] = span
        return span

    def _fail(self, span: Any, why: str) -> None:
        span.set_attribute(ERROR_TYPE, why)
        span.set_status(self._trace.StatusCode.ERROR)


def _heard(heard: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        INPUT_TOKENS: heard.get("input_tokens"),
        OUTPUT_TOKENS: heard.get("output_tokens"),
        FIRST_CHUNK: heard.get("first_chunk"),
        FINISH_REASONS: [heard["finish_reason"]] if heard.get("finish_reason") else None,
    }
    return {name: value for name, value in found.items() if value is not None}


def _used(usage: wire.Usage | None) -> dict[str, int]:
    if usage is None:
        return {}
    names = zip(_KINDS, (INPUT_TOKENS, CACHED_TOKENS, OUTPUT_TOKENS, THOUGHT_TOKENS), strict=False)
    found = {name: getattr(usage, f"total_{kind}_tokens") for kind, name in names}
    return {name: value for name, value in found.items() if value is not None}


def outcome_of(error: object) -> str:
    """One of a few words for what went wrong; never its message, which may have content in it."""
    if isinstance(error, wire.ApiError):
        return error.code
    if isinstance(error, TimeoutError):
        return wire.DeadlineExceeded.code
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return "cancelled"
    return wire.Internal.code if isinstance(error, BaseException) else "error"


# ---------------------------------------------------------------------------------------------------- the watcher


class Telemetry:
    """Counts and traces what interactions do (`ports.Watcher`), with metrics, traces or both."""

    def __init__(
        self, metrics: Metrics | None, traces: Traces | None = None, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._metrics = metrics
        self._traces = traces
        self._clock = clock

    async def begins(self, record: Record) -> None:
        """Count it; and keep with it, where it may go on elsewhere, which trace it belongs to."""
        if self._metrics is not None:
            self._metrics.of("antiphon_interactions_started_total", record.target).inc()
        if self._traces is not None and hasattr(record, "trace"):
            record.trace = self._traces.origin()

    def refused(self, record: Record) -> None:
        """Nothing was made of it here."""

    def ends(self, record: Record, status: wire.InteractionStatus, usage: wire.Usage | None) -> None:
        """Count how it ended, how long it took, and its tokens."""
        if self._metrics is not None:
            of = self._metrics.of
            of("antiphon_interactions_total", record.target, status).inc()
            of("antiphon_interaction_seconds", record.target).observe(max(0.0, self._clock() - record.created))
            for kind in _KINDS if usage is not None else ():
                if count := getattr(usage, f"total_{kind}_tokens"):
                    of("antiphon_tokens_total", record.target, kind).inc(count)
        if self._traces is not None:
            self._traces.end(record, status, usage)

    def around(self, record: Record, kind: Literal["chat", "execute_tool"], name: str) -> AbstractContextManager[Any]:
        """Time one call. Beside the keys that `ports.Watcher` names, `first_chunk` is the seconds to a model's first."""
        return _Call(self._metrics, self._traces, record, kind, name)


class _Call:
    """Around one call."""

    __slots__ = ("_began", "_heard", "_kind", "_metrics", "_name", "_record", "_span", "_traces")

    def __init__(self, metrics: Metrics | None, traces: Traces | None, record: Record, kind: str, name: str) -> None:
        self._metrics, self._traces = metrics, traces
        self._record, self._kind, self._name = record, kind, name
        self._heard: dict[str, Any] = {}
        self._span: tuple[Any, Any] | None = None

    def __enter__(self) -> dict[str, Any]:
        self._began = time.perf_counter()
        if self._traces is not None:
            self._span = self._traces.begin_call(self._record, self._kind, self._name)
        return self._heard

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, *rest: Any) -> None:
        wrong = error or self._heard.get("error")
        outcome = outcome_of(wrong) if wrong else OK
        if self._traces is not None and self._span is not None:
            self._traces.end_call(self._span, self._heard, outcome)
        if self._metrics is not None:
            what = "model" if self._kind == "chat" else "tool"
            self._metrics.of(f"antiphon_{what}_calls_total", self._name, outcome).inc()
            took = time.perf_counter() - self._began
            self._metrics.of(f"antiphon_{what}_call_seconds", self._name).observe(took)
            if (first := self._heard.get("first_chunk")) is not None:
                self._metrics.of("antiphon_model_first_chunk_seconds", self._name).observe(first)
