"""A server as its operator sees it: ready or not, its metrics, its traces, its log, and how it stops."""

from __future__ import annotations

import json
import signal
import socket
import time
from contextlib import closing
from itertools import islice
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from antiphon import log, wire
from jetstream import Nats
from otlp import attributes, collector
from postgres import Postgres
from serving import PATIENCE, Server, ServerFactory

SCRIPT = """
tokens_per_second = 20
[[turns]]
when = "slow"
text = "one two three four five six seven eight nine ten"
[[turns]]
when = "long"
text = "{long}"
[[turns]]
when = "stall"
text = "a b"
fault = { kind = "stall", after = 1 }
[[turns]]
after = "google_search"
text = "Here it is."
[[turns]]
when = "look"
calls = [{ name = "google_search", arguments = { queries = ["swordfish"] } }]
[[turns]]
text = "ok"
[tools.google_search]
result = []
""".replace("{long}", "word " * 60)
SLOW = {"model": "scripted", "input": "slow", "stream": True}
SEARCH = {"tools": [{"type": "google_search"}]}
ADMIN = "an-admin-key-of-some-length"
KEY = "kitchen:a-long-secret-1"
ENDED = -signal.SIGTERM  # having done all there was to do, it ends as it was told to


def figures(server: Server, headers: dict[str, str] | None = None) -> dict[tuple[str, ...], float]:
    """The metrics: name and labels' values, in the order of the labels' names, to value."""
    answer = server.request("GET", "/metrics", headers=headers)
    assert answer.status == 200, answer.body
    families = text_string_to_metric_families(answer.body.decode())
    return {(one.name, *one.labels.values()): one.value for family in families for one in family.samples}


def settled(server: Server, name: tuple[str, ...], value: float) -> dict[tuple[str, ...], float]:
    """The metrics, once one of them is this: a request is counted when its end has been sent, and so may have been read."""
    until = time.monotonic() + PATIENCE
    while (now := figures(server)).get(name) != value:
        assert time.monotonic() < until, (name, now.get(name))
    return now


# ---------------------------------------------------------------------------------------------------- ready


def test_a_server_is_ready_when_it_says_that_it_listens(server: ServerFactory) -> None:
    one = server()
    answer = one.request("GET", "/readyz")
    assert answer.status == 200
    assert answer.json() == {"status": "ready", "parts": {"store": "ok", "models": "ok"}}


def test_a_server_whose_database_is_away_is_not_ready_until_it_is_back(
    server: ServerFactory, postgres: Postgres
) -> None:
    one = server(ANTIPHON_DATABASE=postgres.database())
    postgres.stop("immediate")
    try:
        answer = one.request("GET", "/readyz")
        while answer.status == 200:  # what it found a moment ago still counts
            answer = one.request("GET", "/readyz")
        assert answer.status == 503
        assert answer.json() == {"status": "not_ready", "parts": {"store": "away", "models": "ok"}}
        assert one.request("GET", "/healthz").status == 200, "the process answers: restarting it would not help"
    finally:
        postgres.start()
    while one.request("GET", "/readyz").status != 200:
        pass


def test_without_nats_a_worker_is_not_ready_and_those_who_can_go_on_are(
    server: ServerFactory, postgres: Postgres, nats: Nats
) -> None:
    shared = {"ANTIPHON_DATABASE": postgres.database(), "ANTIPHON_NATS": nats.url}
    api, worker = (server(SCRIPT, "--role", role, **shared) for role in ("api", "worker"))
    whole = {"store": "ok", "models": "ok", "bus": "ok"}
    for one in (api, worker):
        assert one.request("GET", "/readyz").json() == {"status": "ready", "parts": whole}
    nats.stop()
    try:
        while (answer := worker.request("GET", "/readyz")).status == 200:
            pass
        assert answer.json() == {"status": "not_ready", "parts": whole | {"bus": "away"}}
        while (answer := api.request("GET", "/readyz")).json()["parts"]["bus"] == "ok":
            pass
        assert answer.status == 200 and answer.json()["status"] == "ready"
        assert figures(api)["antiphon_part_up", "bus"] == 0
    finally:
        nats.start()
    while worker.request("GET", "/readyz").status != 200:
        pass


# ---------------------------------------------------------------------------------------------------- metrics


def test_metrics_tell_what_was_done_and_name_no_interaction(server: ServerFactory) -> None:
    one = server(SCRIPT)
    before = figures(one)
    id = one.create("look for the swordfish", **SEARCH)["id"]
    list(one.follow("hello"))
    assert one.get(id)["status"] == "completed"
    now = settled(one, ("antiphon_http_requests_total", "POST", "/interactions", "200"), 2)
    done = {name: value - before.get(name, 0) for name, value in now.items()}
    assert done["antiphon_interactions_total", "scripted", "completed"] == 2
    assert done["antiphon_model_calls_total", "scripted", "ok"] == 3
    [tool] = [name for name in done if name[0] == "antiphon_tool_calls_total"]
    assert tool[1:] == ("ok", "google_search") and done[tool] == 1
    assert done["antiphon_http_requests_total", "GET", "/interactions/{id}", "200"] == 1
    assert done["antiphon_stream_first_event_seconds_count", "/interactions"] == 1
    assert done["antiphon_model_first_chunk_seconds_count", "scripted"] >= 1
    assert done["antiphon_stored_events_total",] >= 10
    assert now["antiphon_part_up", "store"] == 1 and now["antiphon_open_streams",] == 0
    assert now["antiphon_interactions_in_progress",] == 0
    page = one.request("GET", "/metrics").body.decode()
    assert id not in page and "swordfish" not in page


def test_a_run_and_its_stream_are_counted_while_they_last(server: ServerFactory) -> None:
    one = server(SCRIPT)
    with closing(one.follow("stall")) as events:
        list(islice(events, 4))
        now = figures(one)
        assert now["antiphon_interactions_in_progress",] == 1 and now["antiphon_open_streams",] == 1


def test_with_keys_the_metrics_are_the_administrators(server: ServerFactory) -> None:
    one = server(SCRIPT, ANTIPHON_API_KEYS=KEY, ANTIPHON_ADMIN_KEY=ADMIN)
    assert one.request("GET", "/metrics").status == 401
    theirs = {"authorization": f"Bearer {KEY.partition(':')[2]}"}
    assert one.request("GET", "/metrics", headers=theirs).status == 403
    assert ("antiphon_draining",) in figures(one, {"authorization": f"Bearer {ADMIN}"})
    assert one.request("GET", "/readyz").status == 200, "who balances load has no key"


# ---------------------------------------------------------------------------------------------------- traces, logs


def test_an_interactions_trace_is_its_callers_and_has_no_word_of_it(server: ServerFactory) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    with collector() as traces:
        one = server(SCRIPT, OTEL_EXPORTER_OTLP_ENDPOINT=traces.url, OTEL_BSP_SCHEDULE_DELAY="50")
        body = {"model": "scripted", "input": "look for the swordfish", **SEARCH}
        made = one.request("POST", "/v1beta/interactions", body, {"traceparent": parent}).json()
        [whole], chats = traces.spans("invoke_agent"), traces.spans("chat scripted", 2)
        [tool], [request] = traces.spans("execute_tool google_search"), traces.spans("POST /interactions")
        assert {span.trace_id.hex() for span in (whole, tool, request, *chats)} == {parent.split("-")[1]}
        assert request.parent_span_id.hex() == parent.split("-")[2]
        assert whole.parent_span_id == request.span_id
        assert {span.parent_span_id for span in (tool, *chats)} == {whole.span_id}
        assert attributes(whole)["gen_ai.response.id"] == made["id"]
        assert attributes(request)["http.response.status_code"] == 200
        one.stop()
        assert b"swordfish" not in traces.raw
        assert traces.resources[0]["service.name"] == "antiphon"


def test_a_collector_that_is_away_keeps_nobody_waiting(server: ServerFactory) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        nobody = f"http://127.0.0.1:{taken.getsockname()[1]}"
    one = server(SCRIPT, OTEL_EXPORTER_OTLP_ENDPOINT=nobody, OTEL_BSP_SCHEDULE_DELAY="50")
    assert one.create("hello")["status"] == "completed"
    one.told("retrying in")
    began = time.monotonic()
    one.stop()
    assert time.monotonic() - began < 5


def test_what_a_worker_runs_is_in_the_trace_of_whoever_asked(
    server: ServerFactory, postgres: Postgres, nats: Nats
) -> None:
    with collector() as traces:
        given = {"OTEL_EXPORTER_OTLP_ENDPOINT": traces.url, "OTEL_BSP_SCHEDULE_DELAY": "50"}
        given |= {"ANTIPHON_DATABASE": postgres.database(), "ANTIPHON_NATS": nats.url}
        api = server(SCRIPT, "--role", "api", OTEL_SERVICE_NAME="answers", **given)
        worker = server(SCRIPT, "--role", "worker", "--log-format", "json", OTEL_SERVICE_NAME="works", **given)
        made = api.create("look for the swordfish", background=True, **SEARCH)
        [whole], [request] = traces.spans("invoke_agent"), traces.spans("POST /interactions")
        assert whole.trace_id == request.trace_id and whole.parent_span_id == request.span_id
        assert attributes(whole)["gen_ai.response.id"] == made["id"]
        assert {one["service.name"] for one in traces.resources} == {"answers", "works"}
        lines = map(json.loads, worker.told("interaction ended").splitlines())
        [ended] = [line for line in lines if line["message"] == "interaction ended"]
        assert ended["interaction"] == made["id"] and ended["attempt"] >= 1


def test_a_log_of_json_names_the_interaction_and_its_project_and_not_what_it_said(server: ServerFactory) -> None:
    one = server(SCRIPT, "--log-format", "json", ANTIPHON_API_KEYS=KEY)
    theirs = {"x-goog-api-key": KEY.partition(":")[2]}
    body = {"model": "scripted", "input": "swordfish"}
    made = one.request("POST", "/v1beta/interactions", body, theirs).json()
    lines = [json.loads(line) for line in one.told("interaction ended").splitlines()]
    [ended] = [line for line in lines if line["message"] == "interaction ended"]
    assert (ended["interaction"], ended["project"], ended["status"]) == (made["id"], "kitchen", "completed")
    assert ended["key"] and ended["level"] == "info"
    assert "swordfish" not in one.log


def test_questions_are_in_the_log_where_the_operator_wants_them(server: ServerFactory) -> None:
    one = server(SCRIPT, "--log-format", "json", "--log-content")
    one.create("swordfish")
    assert "swordfish" in one.told("interaction ended")


# ---------------------------------------------------------------------------------------------------- drain


def stopping(one: Server) -> None:
    """Tell it to stop, and wait until it says so."""
    one.send(signal.SIGTERM)
    while (answer := one.request("GET", "/readyz")).status == 200:
        pass
    assert answer.status == 503 and answer.json()["status"] == "draining"


def test_a_server_that_is_told_to_stop_says_so_while_it_still_answers(server: ServerFactory) -> None:
    one = server(SCRIPT, "--drain", "2")
    made = one.create("hello")
    stopping(one)
    assert one.get(made["id"])["status"] == "completed", "it answers until those who send work have noticed"
    assert one.create("hello")["status"] == "completed"
    assert one.wait() == ENDED


def test_told_twice_it_stops_at_once(server: ServerFactory) -> None:
    one = server(SCRIPT, "--drain", "3600")
    stopping(one)
    one.send(signal.SIGTERM)
    assert one.wait() == ENDED


@pytest.mark.parametrize("fields", [{"background": True}, {}], ids=["background", "foreground"])
def test_a_stream_that_a_stop_cuts_off_is_resumed_after_the_next_start(
    server: ServerFactory, fields: dict[str, Any]
) -> None:
    one = server(SCRIPT)
    with closing(one.frames("POST", "/v1beta/interactions", SLOW | fields)) as stream:
        seen = list(islice(stream, 4))
        one.send(signal.SIGTERM)
        seen += list(stream)
    assert one.wait() == ENDED
    if not fields:  # it had the time to end
        assert seen[-1] == log.DONE
        return
    assert log.DONE not in seen, "it has not ended, so it can be resumed"
    one.restart()
    last = log.number(seen[-1])
    (_, created), *_ = log.decode(seen[0])
    assert isinstance(created, wire.InteractionCreated)
    path = f"/v1beta/interactions/{created.interaction.id}?stream=true&last_event_id=evt_{last}"
    *rest, done = one.frames("GET", path)
    assert done == log.DONE
    state = log.fold(log.decode(b"".join([*seen, *rest])))
    assert state.status == "completed"
    assert one.get(created.interaction.id)["steps"][-1]["content"][0]["text"].endswith("nine ten")


def test_what_a_server_ran_when_it_was_told_to_stop_another_goes_on_with(
    server: ServerFactory, postgres: Postgres, nats: Nats
) -> None:
    shared = {"ANTIPHON_DATABASE": postgres.database(), "ANTIPHON_NATS": nats.url}
    api, *workers = (server(SCRIPT, "--role", role, **shared) for role in ("api", "worker", "worker"))
    with closing(api.frames("POST", "/v1beta/interactions", SLOW | {"input": "long", "background": True})) as stream:
        seen = list(islice(stream, 4))
        one, two = sorted(workers, key=lambda worker: -figures(worker)[("antiphon_interactions_in_progress",)])
        one.send(signal.SIGTERM)
        assert one.wait() == ENDED
        *rest, done = stream  # of the one connection: who reads it notices nothing
    assert done == log.DONE
    frames = [*seen, *rest]
    assert [log.number(frame) for frame in frames] == list(range(1, len(frames) + 1))
    assert log.fold(log.decode(b"".join(frames))).status == "completed"
    assert figures(two)["antiphon_interactions_total", "scripted", "completed"] == 1
