"""Webhooks where several servers share one PostgreSQL and one NATS."""

from __future__ import annotations

import json

from jwcrypto import jwk, jwt
from standardwebhooks.webhooks import Webhook

from jetstream import Nats
from receiver import receiving
from serving import Server, ServerFactory

RUNS = 12


def test_an_end_is_told_once_whoever_was_asked_and_whoever_ran_it(server: ServerFactory, database: str, nats: Nats):
    with receiving() as receiver:
        shared = ("--database", database, "--nats", nats.url, "--reachable", receiver.allow)
        asked, other, worker = (server("", *shared, "--role", role) for role in ("api", "api", "worker"))
        body = {"uri": receiver.url(), "subscribed_events": ["interaction.completed"]}
        secret = asked.request("POST", "/v1/webhooks", body).json()["new_signing_secret"]
        ids = [(asked, other)[number % 2].create(f"Hi {number}", background=True)["id"] for number in range(RUNS)]
        told = [receiver.next() for _ in ids]
        assert sorted(one.event["data"]["id"] for one in told) == sorted(ids)
        for one in told:
            Webhook(secret).verify(one.body, one.headers)

        config = {"uris": [receiver.url("/mine")]}
        run = other.create("Hi", background=True, webhook_config=config)
        one = receiver.next()
        claims = [claims_of(server, one.headers["webhook-signature"]) for server in (asked, other)]
        assert claims[0] == claims[1] and claims[0]["data"] == {"id": run["id"]}
        for each in (asked, other, worker):
            each.stop()
        assert len(receiver.told) == RUNS + 1


def claims_of(server: Server, token: str) -> dict:
    keys = jwk.JWKSet.from_json(server.request("GET", "/.well-known/jwks.json").body)
    return json.loads(jwt.JWT(jwt=token, key=keys, algs=["RS256"]).claims)
