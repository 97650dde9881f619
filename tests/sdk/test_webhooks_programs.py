"""Every method of the official clients' webhooks against a real server, and what receivers then get, verified by others."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sdk_versions
from jwcrypto import jwk, jwt
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from receiver import Receiver, Told, receiving
from serving import PATIENCE, Server

pytestmark = pytest.mark.sdk
ROOT = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "programs"
CLIENTS = ["python 2.34.0", "python 3.4.0", *(f"javascript {version}" for version in sdk_versions.JAVASCRIPT)]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


@pytest.fixture
def reaching(server: Callable[..., Server], receiver: Receiver) -> Server:
    """A server that may reach the receiver."""
    return server("", "--reachable", receiver.allow)


def said(server: Server, client: str, *arguments: str) -> list[str]:
    """What a step of the program prints, line by line. Fails where it fails."""
    language, version = client.split()
    if language == "python":
        command = [str(sdk_versions.python(version)), str(PROGRAMS / "webhooks.py")]
    else:
        node, folder = sdk_versions.node(version)
        command = [str(node), shutil.copy(PROGRAMS / "webhooks.mjs", folder)]
    environment = {"GOOGLE_GEMINI_BASE_URL": server.url, "GEMINI_API_KEY": "a-key-of-no-account"}
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr + server.log
    return done.stdout.splitlines()


def verified(told: Told, secret: str) -> dict:
    return Webhook(secret).verify(told.body, told.headers)


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_makes_tries_rotates_changes_and_removes_a_webhook(reaching, receiver, client):
    [made, shown, got, pinged] = said(reaching, client, "begin", receiver.url())
    id, secret = made.split()
    assert re.fullmatch("[0-9a-z]{36}", id) and re.fullmatch(r"whsec_[A-Za-z0-9+/]{43}=", secret)
    assert shown.lower().startswith("enabled mine true") and shown.lower().endswith("true")
    nothing = "None" if client.startswith("python") else "undefined"
    assert got == f"{nothing} whsec_...{secret.rstrip('=')[-4:]} {nothing}" and pinged.lower() == "true"
    assert verified(receiver.next(), secret) | {"timestamp": ""} == {
        "type": "ping", "version": "v1", "timestamp": "", "data": {"id": id},
    }  # fmt: skip

    [newer, run] = said(reaching, client, "rotate", id)
    told = receiver.next()
    for one in (secret, newer):
        event = verified(told, one)
        assert (event["type"], event["data"]) == ("interaction.completed", {"id": run})

    [newest] = said(reaching, client, "revoke", id)
    told = receiver.next()
    assert verified(told, newest)["type"] == "ping"
    for one in (secret, newer):
        with pytest.raises(WebhookVerificationError):
            verified(told, one)

    [run] = said(reaching, client, "config", receiver.url("/dynamic"))
    assert run.split()[1].lower() == "true"
    told = receiver.next()
    keys = jwk.JWKSet.from_json(reaching.request("GET", "/.well-known/jwks.json").body)
    claims = json.loads(jwt.JWT(jwt=told.headers["webhook-signature"], key=keys, algs=["RS256"]).claims)
    assert claims["aud"] == receiver.url("/dynamic") and claims["data"] == {"id": run.split()[0]}
    assert told.event["user_metadata"] == {"job_group": "nightly-eval", "priority": "high"}

    events = (
        "['batch.succeeded', 'batch.cancelled']" if client.startswith("python") else "batch.succeeded batch.cancelled"
    )
    assert [line.lower() for line in said(reaching, client, "end", id)] == [
        f"other {events} enabled",
        "other disabled",
        *({"None": ["[true] none"], "undefined": ["[ true ] undefined"]}[nothing]),
        "400 true",
        "404",
        nothing.lower(),
    ]


def test_what_curl_sends_is_taken_as_the_documents_have_it(reaching, receiver):
    body = {"name": "MyWebhook", "uri": receiver.url(), "subscribed_events": ["interaction.completed", "batch.failed"]}
    made = reaching.request("POST", "/v1/webhooks", body).json()
    path = f"/v1/webhooks/{made['id']}"
    rotated = reaching.request(
        "POST", f"{path}/rotate_secret", {"revocation_behavior": "REVOKE_PREVIOUS_SECRETS_AFTER_H24"}
    ).json()
    assert list(rotated) == ["secret"]
    shown = reaching.request("GET", path).json()
    assert len(shown["signing_secrets"]) == 2 and "expire_time" in shown["signing_secrets"][1]
    changed = reaching.request("PATCH", f"{path}?updateMask=subscribedEvents", {"subscribed_events": ["batch.expired"]})
    assert changed.json()["subscribed_events"] == ["batch.expired"]
    assert reaching.request("POST", f"{path}:ping").json() == {}
    assert reaching.request("POST", f"{path}:ping", {}).json() == {}
    assert reaching.request("DELETE", path).json() == {}
    assert reaching.request("GET", "/v1beta/webhooks").json() == {}


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("POST", "", {"uri": "https://192.0.32.7/"}, 400, "'subscribed_events'"),
        ("POST", "", {"uri": "https://192.0.32.7/", "subscribed_events": []}, 400, "'subscribed_events'"),
        ("POST", "", {"uri": "https://192.0.32.7/", "subscribed_events": ["x"]}, 400, "'subscribed_events[0]'"),
        ("POST", "", {"uri": "https://192.0.32.7/", "subscribedEvents": ["batch.failed"]}, 400, "'subscribed_events'?"),
        ("POST", "", {"uri": 7, "subscribed_events": ["batch.failed"]}, 400, "'uri'"),
        ("POST", "", {"uri": "nowhere", "subscribed_events": ["batch.failed"]}, 400, "'uri'"),
        ("POST", "", b"{", 400, "Invalid JSON"),
        ("POST", "", b"x" * 70_000, 400, "larger"),
        ("POST", "?nonsense=1", {}, 400, "'nonsense'"),
        ("GET", "?page_size=0", None, 400, "'page_size'"),
        ("GET", "?page_token=%C3%BC", None, 400, "'page_token'"),
        ("GET", "?page_token=MD!Ex", None, 400, "'page_token'"),
        ("GET", "/nobody", None, 404, "'nobody'"),
        ("PATCH", "/nobody", {"name": "x"}, 404, "'nobody'"),
        ("PATCH", "/nobody", {"state": "paused"}, 400, "'state'"),
        ("PATCH", "/nobody", {"id": "other"}, 400, "'id'"),
        ("DELETE", "/nobody", None, 404, "'nobody'"),
        ("POST", "/nobody:ping", None, 404, "'nobody'"),
        ("POST", "/nobody:ping", {"x": 1}, 400, "'x'"),
        ("POST", "/nobody:rotateSigningSecret", {}, 404, "'nobody'"),
        ("POST", "/nobody:rotateSigningSecret", {"revocation_behavior": "later"}, 400, "'revocation_behavior'"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(sdk_server, method, path, body, status, words):
    answer = sdk_server.request(method, f"/v1beta/webhooks{path}", body)
    assert answer.status == status and words in answer.error["message"]


def test_a_config_needs_a_background_run_and_an_address_that_may_be_reached(sdk_server):
    config = {"uris": ["http://127.0.0.1:8080/"]}
    fields = {"model": "gemini-3-flash-preview", "input": "Hi", "webhook_config": config}
    for body, words in ((fields, "background=true is required"), (fields | {"background": True}, "uris[0]")):
        answer = sdk_server.request("POST", "/v1beta/interactions", body)
        assert answer.status == 400 and words in answer.error["message"]


def test_projects_do_not_see_each_others_webhooks(server, receiver):
    keys = ("--api-key", "one:a-long-secret-of-one", "--api-key", "two:a-long-secret-of-two")
    locked = server("", "--reachable", receiver.allow, *keys)
    one, two = ({"x-goog-api-key": f"a-long-secret-of-{name}"} for name in ("one", "two"))
    body = {"uri": receiver.url(), "subscribed_events": ["interaction.completed"]}
    id = locked.request("POST", "/v1/webhooks", body, one).json()["id"]
    for method, path, given in (
        ("GET", f"/v1/webhooks/{id}", None),
        ("PATCH", f"/v1/webhooks/{id}", {"name": "x"}),
        ("DELETE", f"/v1/webhooks/{id}", None),
        ("POST", f"/v1/webhooks/{id}:ping", None),
        ("POST", f"/v1/webhooks/{id}:rotateSigningSecret", {}),
        ("POST", f"/v1/webhooks/{id}/rotate_secret", {}),
    ):
        assert locked.request(method, path, given, two).status == 404
        assert locked.request(method, path, given).status == 401
    assert locked.request("GET", "/v1/webhooks", None, two).json() == {}
    assert locked.request("GET", "/.well-known/jwks.json").json() == {"keys": []}
    run = {"model": "scripted", "input": "Hi", "background": True}
    locked.request("POST", "/v1/interactions", run, two)
    mine = locked.request("POST", "/v1/interactions", run, one).json()
    assert receiver.next().event["data"]["id"] == mine["id"]
    assert len(receiver.told) == 1


def test_what_a_killed_server_had_not_delivered_is_delivered_by_the_next(server, receiver, tmp_path):
    """The receiver's first answer never comes: the server is killed while it waits for it."""
    receiver.answer = lambda told, number: None if number == 1 else 200
    worker = [sys.executable, str(Path(__file__).parent / "webhook_worker.py"), str(tmp_path / "a.db"), receiver.allow]
    with subprocess.Popen([*worker, receiver.url()], stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        id, secret = first.stdout.readline().split()
        told = receiver.next()
        first.kill()
    with subprocess.Popen(worker) as second:
        again = receiver.next()
        second.kill()
    assert told.id == again.id and told.body == again.body
    assert verified(again, secret)["data"] == {"id": id}


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl, which makes the certificate, is not installed")
@pytest.mark.parametrize("trusted", [True, False])
def test_a_receiver_must_prove_who_it_is(server, tmp_path, trusted):
    files = ("-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem"))
    subject = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2")
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, *subject]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    with receiving(tls=context) as receiver:
        trust = {"SSL_CERT_FILE": str(tmp_path / "certificate.pem")} if trusted else {}
        started = server("", "--reachable", f"localhost:{receiver.port}", **trust)
        uri = receiver.url(host="localhost").replace("http:", "https:")
        body = {"uri": uri, "subscribed_events": ["interaction.completed"]}
        made = started.request("POST", "/v1/webhooks", body).json()
        run = started.create("Hi", background=True)
        if trusted:
            assert verified(receiver.next(), made["new_signing_secret"])["data"] == {"id": run["id"]}
        else:
            started.told("the host's certificate is not valid, attempt 1, to be tried again")
            assert receiver.told == []


@pytest.mark.parametrize(
    ("example", "prints"),
    [
        ("webhook_receiver.py", "interaction.completed completed The report: all is well."),
        ("webhook_config.py", "interaction.completed True {'job_group': 'nightly'}"),
    ],
)
def test_an_example_is_told(server, example, prints):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = (ROOT / "examples" / "scripted.toml").read_text(encoding="utf-8")
    started = server(script, "--reachable", f"127.0.0.1:{port}")
    environment = {"GOOGLE_GEMINI_BASE_URL": started.url, "GEMINI_API_KEY": "any", "PORT": str(port)}
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / example)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout.strip() == prints, done.stderr + started.log
