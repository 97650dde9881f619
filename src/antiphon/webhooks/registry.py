"""A project's webhooks: made, shown, changed and removed, in the store's ledger."""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Sequence

import msgspec

from antiphon import wire
from antiphon.ports import Entry, Ledger
from antiphon.resource import timestamp
from antiphon.webhooks import signing
from antiphon.webhooks.sender import Sender
from antiphon.wire import webhooks as types

KIND = "webhook"
MOST = 100  # webhooks of a project
GRACE = 24 * 3600.0  # seconds for which secrets go on being used after a rotation that does not revoke them at once
_SECRETS = 5  # that are used at one time: each is a signature more in a header
_FRESH = 2.0  # seconds for which a project's webhooks are known without a look
_PROJECTS = 10_000  # whose webhooks are known
_TRIES = 16


class Secret(msgspec.Struct, frozen=True):
    """What a secret is derived from; `expires` is set once there is a newer one."""

    seed: str
    expires: float | None = None


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """A webhook as it is kept; its secrets newest first. `failing` is since when no delivery has got through."""

    uri: str
    events: list[types.WebhookEvent]
    name: str | None
    state: types.WebhookState
    created: float
    updated: float
    secrets: list[Secret]
    failing: float | None = None


_decode = msgspec.json.Decoder(Kept).decode


class Webhooks:
    """`key` is the store's; `sender` judges addresses."""

    def __init__(self, ledger: Ledger, key: bytes, sender: Sender, clock: Callable[[], float] = time.time) -> None:
        self._ledger = ledger
        self._key = key
        self._sender = sender
        self._clock = clock
        self._known: dict[str, tuple[float, dict[str, Kept]]] = {}  # until when, and what

    # ------------------------------------------------------------------ the API

    async def create(self, project: str, request: types.CreateWebhook) -> types.Webhook:
        """A new one, with its secret. Raises InvalidRequest, FailedPrecondition."""
        await self._sender.check(request.uri, "uri")
        if len(await self._ledger.entries(KIND, project, size=MOST)) >= MOST:
            raise wire.FailedPrecondition(f"A project may have {MOST} webhooks.")
        now = self._clock()
        # 36 lower-case letters and digits, as the service's are; the time comes first, and so do the oldest.
        id = f"{int(now * 1000):012x}{secrets.token_hex(12)}"
        kept = Kept(
            uri=request.uri,
            events=list(dict.fromkeys(request.subscribed_events)),
            name=request.name,
            state="enabled",
            created=now,
            updated=now,
            secrets=[Secret(secrets.token_hex(16))],
        )
        await self._ledger.put(Entry(kind=KIND, project=project, id=id, body=msgspec.json.encode(kept)))
        if len(await self._ledger.entries(KIND, project, size=MOST + 1)) > MOST:  # others came at the same moment
            await self._ledger.remove(KIND, project, id)
            raise wire.FailedPrecondition(f"A project may have {MOST} webhooks.")
        self._known.pop(project, None)
        shown = self._shown(id, kept)
        return msgspec.structs.replace(shown, new_signing_secret=self._secrets(kept)[0])

    async def get(self, project: str, id: str) -> types.Webhook:
        """One. Raises NotFound."""
        return self._shown(id, (await self._entry(project, id))[1])

    async def page(self, project: str, after: str, size: int) -> types.WebhookList:
        """Up to `size` that come after the id `after`, the oldest first."""
        found = await self._ledger.entries(KIND, project, after=after, size=size + 1)
        shown = [self._shown(entry.id, _decode(entry.body)) for entry in found[:size]]
        more = shown[-1].id if len(found) > size else None
        return types.WebhookList(webhooks=shown or None, next_page_token=more)

    async def update(
        self, project: str, id: str, request: types.UpdateWebhook, mask: Sequence[str] | None = None
    ) -> types.Webhook:
        """Change what `mask` names, or all that the request has. Raises NotFound, InvalidRequest."""
        changes = _changes(request, mask)
        if isinstance(uri := changes.get("uri"), str):
            await self._sender.check(uri, "uri")

        def edit(kept: Kept) -> Kept:
            state = changes.get("state", kept.state)
            if state == "disabled_due_to_failed_deliveries" != kept.state:
                raise wire.InvalidRequest(f"The value {state!r} is set by the server only, at 'state'.")
            failing = kept.failing if state == kept.state else None
            return msgspec.structs.replace(kept, **changes, failing=failing, updated=self._clock())

        return self._shown(id, await self._change(project, id, edit))

    async def delete(self, project: str, id: str) -> None:
        """Remove one: nothing more is delivered to it. Raises NotFound."""
        self._known.pop(project, None)
        if not await self._ledger.remove(KIND, project, id):
            raise _unknown(id)

    async def rotate(self, project: str, id: str, *, at_once: bool) -> str:
        """A new secret; those before it hold for a day more, or no longer. Raises NotFound."""
        seed = secrets.token_hex(16)

        def edit(kept: Kept) -> Kept:
            now = self._clock()
            older = [] if at_once else [Secret(one.seed, one.expires or now + GRACE) for one in _valid(kept, now)]
            return msgspec.structs.replace(kept, secrets=[Secret(seed), *older][:_SECRETS], updated=now)

        await self._change(project, id, edit)
        return signing.secret(self._key, seed)

    # ------------------------------------------------------------------ for deliveries

    async def told(self, project: str) -> dict[str, Kept]:
        """The project's enabled webhooks by id that ends of interactions are for, as they were two seconds ago at most."""
        known = self._known.get(project)
        now = self._clock()
        if known is None or known[0] <= now:
            if len(self._known) >= _PROJECTS:
                self._known.clear()
            entries = await self._ledger.entries(KIND, project, size=MOST)
            every = {entry.id: _decode(entry.body) for entry in entries}
            told = {id: kept for id, kept in every.items() if kept.state == "enabled" and _is_of_interactions(kept)}
            known = self._known[project] = (now + _FRESH, told)
        return known[1]

    async def find(self, project: str, id: str) -> Kept | None:
        """One as it is now; None where it is gone."""
        entry = await self._ledger.read(KIND, project, id)
        return _decode(entry.body) if entry is not None else None

    def sign(self, kept: Kept, message: str, timestamp: int, body: bytes) -> str:
        """The header `webhook-signature`, by each of its secrets that holds."""
        return signing.sign(self._secrets(kept), message, timestamp, body)

    async def worked(self, project: str, id: str) -> None:
        """A delivery has got through after others did not."""
        await self._note(project, id, lambda kept: msgspec.structs.replace(kept, failing=None))

    async def failed(self, project: str, id: str, patience: float, *, gone: bool = False) -> None:
        """A delivery has failed: the webhook is disabled where it is `gone`, or none got through for `patience` s."""
        now = self._clock()

        def edit(kept: Kept) -> Kept:
            since = kept.failing if kept.failing is not None else now
            if not gone and now - since < patience:
                return msgspec.structs.replace(kept, failing=since)
            state: types.WebhookState = "disabled_due_to_failed_deliveries"
            return msgspec.structs.replace(kept, failing=None, state=state, updated=now)

        await self._note(project, id, edit)

    async def _note(self, project: str, id: str, edit: Callable[[Kept], Kept]) -> None:
        with contextlib.suppress(wire.NotFound):  # deleted meanwhile
            await self._change(project, id, lambda kept: edit(kept) if kept.state == "enabled" else kept)

    # ------------------------------------------------------------------ entries

    async def _entry(self, project: str, id: str) -> tuple[Entry, Kept]:
        entry = await self._ledger.read(KIND, project, id)
        if entry is None:
            raise _unknown(id)
        return entry, _decode(entry.body)

    async def _change(self, project: str, id: str, edit: Callable[[Kept], Kept]) -> Kept:
        for _ in range(_TRIES):
            entry, kept = await self._entry(project, id)
            changed = edit(kept)
            if changed == kept:
                return kept
            if await self._ledger.change(msgspec.structs.replace(entry, body=msgspec.json.encode(changed))):
                self._known.pop(project, None)
                return changed
        raise wire.Unavailable(f"The webhook '{id}' is being changed by too many at once.")

    def _secrets(self, kept: Kept) -> list[str]:
        return [signing.secret(self._key, one.seed) for one in _valid(kept, self._clock())]

    def _shown(self, id: str, kept: Kept) -> types.Webhook:
        valid = _valid(kept, self._clock())
        return types.Webhook(
            id=id,
            uri=kept.uri,
            subscribed_events=kept.events,
            name=kept.name,
            state=kept.state,
            create_time=timestamp(kept.created),
            update_time=timestamp(kept.updated),
            signing_secrets=[
                types.SigningSecret(
                    truncated_secret=signing.truncated(signing.secret(self._key, one.seed)),
                    expire_time=timestamp(one.expires) if one.expires is not None else None,
                )
                for one in valid
            ],
        )


def _valid(kept: Kept, now: float) -> list[Secret]:
    return [one for one in kept.secrets if one.expires is None or one.expires > now]


def _is_of_interactions(kept: Kept) -> bool:
    return any(event.startswith("interaction.") for event in kept.events)


def _unknown(id: str) -> wire.NotFound:
    return wire.NotFound(f"Webhook '{id[:100]}' was not found.")


_FIELDS = {"uri": "uri", "subscribed_events": "events", "name": "name", "state": "state"}


def _changes(request: types.UpdateWebhook, mask: Sequence[str] | None) -> dict[str, object]:
    """What changes, under the names that it is kept under. What a mask names and the request has not is cleared."""
    given = {name: value for name in _FIELDS if (value := getattr(request, name)) is not None}
    if mask is not None and list(mask) != ["*"]:
        for name in mask:
            if name not in _FIELDS:
                raise wire.InvalidRequest(f"Unknown field {name[:100]!r} at 'update_mask'.")
            if name not in given and name != "name":
                raise wire.InvalidRequest(f"Missing required parameter '{name}', which 'update_mask' names.")
        given = {name: given.get(name) for name in mask}
    return {_FIELDS[name]: value for name, value in given.items()}
