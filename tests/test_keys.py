"""Keys as operators and their users have them: the command, the admin routes, limits, and the audit log."""

import json
import os
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from serving import PATIENCE, Answer, Server, ServerFactory

SCRIPT = """
[[turns]]
when = "for ever"
text = "Well, "
fault = { kind = "stall", after = 1 }
"""
ADMIN_KEY = "the-key-of-the-operator"
OLD, OTHER = "an-old-key-of-alpha", "an-old-key-of-beta"
INTERACTIONS = "/v1beta/interactions"


def keys(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "antiphon", "keys", *arguments]
    done = {**os.environ, **environment}
    return subprocess.run(command, env=done, capture_output=True, text=True, timeout=PATIENCE, check=False)


def made(*arguments: str, **environment: str) -> str:
    """The new key."""
    done = keys("create", *arguments, **environment)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def ask(server: Server, key: str, text: str = "Hello", **fields: Any) -> Answer:
    body = {"model": "scripted", "input": text} | fields
    return server.request("POST", INTERACTIONS, body, {"x-goog-api-key": key})


def page(server: Server, key: str) -> Answer:
    return server.request("GET", INTERACTIONS, headers={"x-goog-api-key": key})


def seconds_until(condition: Callable[[], bool]) -> float:
    """How long it takes to become true."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() < began + PATIENCE
    return time.monotonic() - began


# ---------------------------------------------------------------------------------------------------- the command


def test_a_key_is_shown_once_and_kept_nowhere(tmp_path: Path) -> None:
    data = tmp_path / "data"
    done = keys("create", "kitchen", "--name", "the oven", "--tokens-per-day", "9000", "--data", str(data))
    text, (id, *_) = done.stdout.strip(), done.stderr.split()
    assert done.returncode == 0 and text.startswith(f"{id}_")
    listed = keys("list", "--data", str(data))
    assert "kitchen" in listed.stdout and "the oven" in listed.stdout and "9000 tokens per day" in listed.stdout
    secret = text.removeprefix(f"{id}_")
    assert secret not in listed.stdout + listed.stderr + done.stderr
    files = [path for path in data.iterdir() if path.is_file()]
    assert files and not any(secret.encode() in path.read_bytes() for path in files)
    assert stat.S_IMODE(data.stat().st_mode) == 0o700


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["create"], "antiphon keys create PROJECT"),
        (["create", "a b"], "'project'"),
        (["create", "p", "--concurrent-runs", "0"], "'concurrent_runs'"),
        (["revoke"], "antiphon keys revoke ID"),
        (["revoke", "ak_0000000000000000"], "There is no key 'ak_0000000000000000'."),
    ],
)
def test_what_cannot_be_done_is_said(tmp_path: Path, arguments: list[str], words: str) -> None:
    done = keys(*arguments, "--data", str(tmp_path))
    assert done.returncode == 1 and words in done.stderr and done.stdout == ""


def test_keys_are_made_and_revoked_while_the_server_runs(server: ServerFactory) -> None:
    one = server("")
    data = ("--data", str(one.data))
    assert page(one, "none").status == 200  # no keys yet, on loopback
    kitchen, garden = made("kitchen", *data), made("garden", *data)
    assert seconds_until(lambda: page(one, "none").status == 401) < 2.5
    ours = ask(one, kitchen).json()["id"]
    path = f"{INTERACTIONS}/{ours}"
    assert one.request("GET", path, headers={"x-goog-api-key": kitchen}).status == 200
    assert one.request("GET", path, headers={"x-goog-api-key": garden}).status == 404
    id = kitchen[:19]
    assert keys("revoke", id, *data).returncode == 0
    assert seconds_until(lambda: page(one, kitchen).status == 401) < 2.5
    assert page(one, garden).status == 200
    listed = keys("list", "kitchen", *data).stdout
    assert listed.count("\n") == 1 and id in listed and "revoked" in listed
    one.restart()
    assert page(one, kitchen).status == 401 and page(one, garden).status == 200


def test_keys_of_the_settings_stay(server: ServerFactory) -> None:
    one = server("", "--api-key", f"alpha:{OLD}", "--api-key", f"beta:{OTHER}")
    new = made("alpha", "--data", str(one.data))
    ours = ask(one, OLD).json()["id"]
    for key, status in ((new, 200), (OTHER, 404)):
        assert one.request("GET", f"{INTERACTIONS}/{ours}", headers={"x-goog-api-key": key}).status == status


def test_beyond_this_machine_a_key_in_the_store_is_enough(server: ServerFactory, tmp_path: Path) -> None:
    data = tmp_path / "guarded"
    command = [sys.executable, "-m", "antiphon", "serve", "--host", "0.0.0.0", "--port", "0", "--model", "scripted"]
    refused = subprocess.run([*command, "--data", str(data)], capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 1 and "no API keys" in refused.stderr
    key = made("kitchen", "--data", str(data))
    one = server("", "--host", "0.0.0.0", data=data)
    assert page(one, "none").status == 401 and page(one, key).status == 200
    keys("revoke", key[:19], "--data", str(data))
    one.restart()
    assert page(one, "none").status == 401  # no key that still opens anything, and still nobody comes in


def test_on_postgresql_keys_are_made_before_any_server_and_hold_on_all(server: ServerFactory, database: str) -> None:
    key = made("kitchen", "--requests-per-minute", "3", ANTIPHON_DATABASE=database)
    one = server("", ANTIPHON_DATABASE=database)
    assert [ask(one, key).status for _ in range(5)] == [200, 200, 200, 429, 429]
    assert keys("revoke", key[:19], "--database", database).returncode == 0
    assert seconds_until(lambda: page(one, key).status == 401) < 2.5


# ---------------------------------------------------------------------------------------------------- limits


def test_over_a_limit_the_answer_is_429_and_says_when_to_come_back(server: ServerFactory) -> None:
    one = server("")
    key = made("kitchen", "--requests-per-minute", "2", "--data", str(one.data))
    answers = [ask(one, key) for _ in range(5)]  # over the turn of a minute four get in
    refused = answers[-1]
    assert refused.status == 429 and refused.error["code"] == "rate_limit_exceeded"
    assert refused.error["message"] == "This API key may use 2 requests a minute."
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert page(one, key).status == 200  # what begins no interaction is not counted


def test_tokens_are_limited_in_streams_too(server: ServerFactory) -> None:
    one = server("")
    key = made("kitchen", "--tokens-per-day", "1", "--data", str(one.data))
    assert ask(one, key, stream=True).status == 200
    seconds_until(lambda: ask(one, key).status == 429)  # counted a moment after the end
    refused = ask(one, key, stream=True)
    assert (
        refused.status == 429
        and refused.error["message"] == "This API key may use 1 tokens a day. The day ends at midnight UTC."
    )
    assert "retry-after" not in refused.headers


@pytest.mark.parametrize("store", [True, False])
def test_who_leaves_before_the_end_has_used_tokens_too(server: ServerFactory, store: bool) -> None:
    one = server(SCRIPT)
    key = made("kitchen", "--tokens-per-day", "5000", "--data", str(one.data))
    long = {"model": "scripted", "input": "for ever " * 10_000, "stream": True, "store": store, "background": store}
    events = one.events("POST", f"{INTERACTIONS}?key={key}", long)
    id = next(event for event in events if event["event_type"] == "interaction.created")["interaction"].get("id")
    next(event for event in events if event["event_type"] == "step.delta")
    events.close()  # what was to be read has been read
    if store:
        cancelled = one.request("POST", f"{INTERACTIONS}/{id}/cancel", {}, {"x-goog-api-key": key})
        assert cancelled.json()["status"] == "cancelled"
    statuses: list[int] = []

    def refused() -> bool:
        statuses.append(ask(one, key).status)
        return statuses[-1] == 429

    seconds_until(refused)  # counted a moment after the end
    assert len(statuses) < 50  # which use some ten tokens each


def test_runs_at_once_are_limited_and_a_killed_server_leaves_none_behind(server: ServerFactory) -> None:
    one = server(SCRIPT)
    key = made("kitchen", "--concurrent-runs", "2", "--data", str(one.data))
    running = [ask(one, key, "for ever", background=True).json()["id"] for _ in range(2)]
    refused = ask(one, key)
    assert refused.status == 429 and refused.headers["retry-after"] == "2"
    assert refused.error["message"] == "This API key may run 2 interactions at once."
    one.kill()
    one.restart()
    assert ask(one, key).status == 429  # both go on
    for id in running:
        path = f"{INTERACTIONS}/{id}/cancel"
        assert one.request("POST", path, {}, {"x-goog-api-key": key}).json()["status"] == "cancelled"
    seconds_until(lambda: ask(one, key).status == 200)
    assert [ask(one, key).status for _ in range(5)] == [200] * 5


# ---------------------------------------------------------------------------------------------------- admin routes


@pytest.fixture(scope="module")
def guarded(session_server: ServerFactory) -> Server:
    return session_server("", "--api-key", f"alpha:{OLD}", ANTIPHON_ADMIN_KEY=ADMIN_KEY)


def admin(server: Server, method: str, path: str, body: Any = None, key: str = ADMIN_KEY) -> Answer:
    return server.request(method, f"/admin{path}", body, {"authorization": f"Bearer {key}"})


def test_an_operator_makes_lists_and_revokes_keys_from_afar(guarded: Server) -> None:
    limits = {"requests_per_minute": 60, "concurrent_runs": 4}
    made = admin(guarded, "POST", "/keys", {"project": "kitchen", "name": "the oven", "limits": limits})
    assert made.status == 200 and made.headers["cache-control"] == "no-store"
    key = made.json().pop("key")
    shown = {name: value for name, value in made.json().items() if name != "key"}
    assert shown.keys() == {"id", "project", "name", "create_time", "limits"} and shown["limits"] == limits
    assert ask(guarded, key).status == 200
    assert admin(guarded, "GET", f"/keys/{shown['id']}").json() == shown
    assert shown in admin(guarded, "GET", "/keys").json()["keys"]
    gone = admin(guarded, "DELETE", f"/keys/{shown['id']}").json()
    assert gone["revoke_time"] and page(guarded, key).status == 401  # at once, where it was revoked
    assert admin(guarded, "DELETE", f"/keys/{shown['id']}").json() == gone
    assert key not in admin(guarded, "GET", "/keys").body.decode()


def test_keys_are_listed_in_pages(guarded: Server) -> None:
    for _ in range(3):
        admin(guarded, "POST", "/keys", {"project": "pages"})
    everything = admin(guarded, "GET", "/keys?page_size=1000").json()["keys"]
    found: list[Any] = []
    token = ""
    while True:
        one = admin(guarded, "GET", f"/keys?page_size=2&page_token={token}").json()
        assert len(one["keys"]) <= 2
        found += one["keys"]
        if "next_page_token" not in one:
            break
        token = one["next_page_token"]
    assert found == everything


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "Missing required parameter 'project'."),
        ({"project": "a b"}, "'project'"),
        ({"project": "p", "limits": {"requests": 1}}, "Unknown parameter 'requests' at 'limits'."),
        ({"project": "p", "limits": {"tokens_per_day": 0}}, "at 'limits.tokens_per_day'"),
        ({"project": "p", "limits": {"concurrent_runs": 1001}}, "at 'limits.concurrent_runs'"),
        ({"project": "p", "name": "x" * 201}, "'name'"),
        (b"{", "Invalid JSON"),
        (b'{"project": "' + b"x" * 2**16 + b'"}', "larger"),
    ],
)
def test_what_makes_no_key_is_said(guarded: Server, body: Any, words: str) -> None:
    answer = admin(guarded, "POST", "/keys", body)
    assert answer.status == 400 and words in answer.error["message"]


ADMIN_ROUTES = [
    ("POST", "/keys"),
    ("GET", "/keys"),
    ("GET", "/keys/x"),
    ("DELETE", "/keys/x"),
    ("GET", ""),
    ("GET", "/x"),
]


@pytest.mark.parametrize(("method", "path"), ADMIN_ROUTES)
def test_no_key_of_the_api_opens_the_admin_routes(guarded: Server, method: str, path: str) -> None:
    key = admin(guarded, "POST", "/keys", {"project": "alpha"}).json()["key"]
    for each in (OLD, key, f"{ADMIN_KEY}x", ""):
        assert admin(guarded, method, path, {"project": "p"}, each).status == 403
    assert guarded.request(method, f"/v1beta/admin{path}").status == 401
    assert page(guarded, ADMIN_KEY).status == 401  # nor does the admin key open the API


@pytest.mark.parametrize(("method", "path"), ADMIN_ROUTES)
def test_without_an_admin_key_there_are_no_admin_routes(session_server: ServerFactory, method: str, path: str) -> None:
    for closed in (_closed(session_server), _open(session_server)):
        assert admin(closed, method, path, {"project": "p"}, OLD).status == 404


_made: dict[str, Server] = {}


def _closed(session_server: ServerFactory) -> Server:
    return _made.setdefault("closed", _made.get("closed") or session_server("", "--api-key", OLD))


def _open(session_server: ServerFactory) -> Server:
    return _made.setdefault("open", _made.get("open") or session_server(""))


def test_what_is_unknown_is_404(guarded: Server) -> None:
    assert admin(guarded, "GET", "/keys/ak_0000000000000000").status == 404
    assert admin(guarded, "DELETE", "/keys/nobody").status == 404
    assert admin(guarded, "GET", "/nothing").status == 404
    assert admin(guarded, "PUT", "/keys").status == 405
    assert admin(guarded, "GET", "/keys?page_size=0").status == 400


def test_an_admin_key_is_not_short(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "antiphon", "serve", "--port", "0", "--model", "scripted", "--data", str(tmp_path)]
    environment = {**os.environ, "ANTIPHON_ADMIN_KEY": "short"}
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 1 and "at least 16 characters" in refused.stderr


# ---------------------------------------------------------------------------------------------------- the audit log


def noted(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_the_audit_log_says_who_did_what_and_nothing_that_was_said(server: ServerFactory, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    one = server("", "--audit", str(path), ANTIPHON_ADMIN_KEY=ADMIN_KEY)
    new = admin(one, "POST", "/keys", {"project": "kitchen", "name": "an oven of brass"}).json()
    id = ask(one, new["key"], "a word about swordfish").json()["id"]
    streamed = ask(one, new["key"], "another swordfish", stream=True)
    one.request("GET", f"{INTERACTIONS}/{id}?key={new['key']}", headers={"x-forwarded-for": "192.0.2.7"})
    assert page(one, "nobody's").status == 401
    one.request("GET", "/healthz")
    assert keys("revoke", new["id"], "--data", str(one.data), "--audit", str(path)).returncode == 0
    one.stop()
    lines = {(line["action"], line.get("resource", "")): line for line in noted(path)}
    stream_id = json.loads(streamed.body.split(b"data: ")[1].splitlines()[0])["interaction"]["id"]
    assert {(line.get("key", ""), line.get("project", "")) for line in lines.values()} == {
        ("admin", ""),
        (new["id"], "kitchen"),
        ("", ""),
        (f"uid:{os.getuid()}", "kitchen"),
    }
    assert lines["POST /admin/keys", new["id"]]["outcome"] == 200
    for each in (id, stream_id):
        assert lines["POST /interactions", each]["outcome"] == 200
    got = lines["GET /interactions/{id}", id]
    assert got["address"] == "127.0.0.1" and got["forwarded"] == "192.0.2.7" and got["time"].endswith("Z")
    assert lines["GET /interactions", ""]["outcome"] == 401
    assert lines["keys revoke", new["id"]]["outcome"] == 200
    everything = path.read_text(encoding="utf-8")
    assert len(noted(path)) == 6 and stat.S_IMODE(path.stat().st_mode) == 0o600
    for secret in ("swordfish", "brass", new["key"], "nobody's", ADMIN_KEY):
        assert secret not in everything


def test_the_audit_log_is_written_within_a_moment_and_survives_a_kill(server: ServerFactory, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    one = server("", "--audit", str(path))
    one.create("Hello")
    assert seconds_until(lambda: bool(path.read_bytes())) < 2.5
    one.kill()
    assert [line["action"] for line in noted(path)] == ["POST /interactions"]


def test_what_the_command_could_not_do_is_noted_as_such(tmp_path: Path) -> None:
    audit = tmp_path / "audit.jsonl"
    where = ("--data", str(tmp_path / "data"), "--audit", str(audit))
    for arguments in (["create"], ["create", "a b"], ["create", "p", "--concurrent-runs", "0"], ["revoke", "ak_0"]):
        assert keys(*arguments, *where).returncode == 1
    assert [line["outcome"] for line in noted(audit)] == [400, 400, 400, 404]


def test_a_new_key_never_stands_beside_a_line_of_the_audit_log(tmp_path: Path) -> None:
    done = keys("create", "kitchen", "--data", str(tmp_path), ANTIPHON_AUDIT="-")
    assert done.stdout.count("\n") == 1 and '"action":"keys create"' in done.stderr


def test_what_is_made_is_noted_with_its_id(server: ServerFactory, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    one = server("", "--audit", str(path), "--reachable", "127.0.0.1")
    hook = {"uri": "http://127.0.0.1:8080/", "subscribed_events": ["interaction.completed"]}
    trigger = {"schedule": "0 0 1 1 *", "time_zone": "UTC", "interaction": {"model": "scripted", "input": "Hello"}}
    made = [one.request("POST", f"/v1beta/{name}", body).json()["id"] for name, body in
            (("webhooks", hook), ("triggers", trigger))]  # fmt: skip
    one.stop()
    assert [line["resource"] for line in noted(path)] == made


def test_the_key_of_the_operator_is_none_of_the_api(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "antiphon", "serve", "--port", "0", "--model", "scripted", "--data", str(tmp_path)]
    environment = {**os.environ, "ANTIPHON_ADMIN_KEY": ADMIN_KEY, "ANTIPHON_API_KEYS": f"alpha:{ADMIN_KEY}"}
    refused = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 1 and "The admin key is also an API key" in refused.stderr


def test_triggers_of_a_key_that_was_taken_out_of_the_settings_run_no_more(server: ServerFactory) -> None:
    """They would run without limits, for somebody who has no key."""
    servers = [server("", ANTIPHON_API_KEYS=f"alpha:{OLD},alpha:{OTHER}")]
    trigger = {"schedule": "0 0 1 1 *", "time_zone": "UTC", "interaction": {"model": "scripted", "input": "Hello"}}

    def call(method: str, path: str, key: str, body: Any = None) -> Any:
        return servers[-1].request(method, f"/v1beta/triggers{path}", body, {"x-goog-api-key": key}).json()

    ids = {key: call("POST", "", key, trigger)["id"] for key in (OLD, OTHER)}
    servers[0].stop()
    servers.append(server("", data=servers[0].data, ANTIPHON_API_KEYS=f"alpha:{OTHER}"))
    for key, status in ((OLD, "failed"), (OTHER, "completed")):
        call("POST", f"/{ids[key]}/executions", OTHER, {})
        path = f"/{ids[key]}/executions"
        seconds_until(lambda path=path: call("GET", path, OTHER)["trigger_executions"][0]["status"] != "in_progress")
        (execution,) = call("GET", path, OTHER)["trigger_executions"]
        assert execution["status"] == status
        assert ("revoked" in execution.get("error", "")) == (status == "failed")
