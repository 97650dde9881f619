"""The types of the Webhooks API, as the SDKs and the documents have them; and the events that are posted."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from .base import JsonObject, Timestamp, Wire

# The two `cancelled` ones are in the documents and in the SDKs' first types, not in their latest.
WebhookEvent = Literal[
    "batch.succeeded", "batch.cancelled", "batch.expired", "batch.failed",
    "interaction.requires_action", "interaction.completed", "interaction.failed", "interaction.cancelled",
    "video.generated",
]  # fmt: skip
WebhookState = Literal["enabled", "disabled", "disabled_due_to_failed_deliveries"]
# The documents write them in capitals, the service and its SDKs do not.
RevocationBehavior = Literal[
    "revoke_previous_secrets_after_h24", "revoke_previous_secrets_immediately",
    "REVOKE_PREVIOUS_SECRETS_AFTER_H24", "REVOKE_PREVIOUS_SECRETS_IMMEDIATELY",
]  # fmt: skip
Name = Annotated[str, Meta(max_length=512)]
SubscribedEvents = Annotated[list[WebhookEvent], Meta(min_length=1)]


class CreateWebhook(Wire, kw_only=True):
    """The body of POST /webhooks."""

    uri: str
    subscribed_events: SubscribedEvents
    name: Name | None = None


class UpdateWebhook(Wire, kw_only=True):
    """The body of PATCH /webhooks/{id}: what is to change."""

    uri: str | None = None
    subscribed_events: SubscribedEvents | None = None
    name: Name | None = None
    state: WebhookState | None = None


class SigningSecret(Wire, kw_only=True):
    """A secret that deliveries are signed with, as far as it is shown again."""

    truncated_secret: str | None = None
    expire_time: Timestamp | None = None


class Webhook(Wire, kw_only=True):
    """The resource. `new_signing_secret` is there in the answer to its creation only."""

    id: str
    uri: str
    subscribed_events: list[WebhookEvent]
    name: str | None = None
    state: WebhookState | None = None
    create_time: Timestamp | None = None
    update_time: Timestamp | None = None
    signing_secrets: list[SigningSecret] | None = None
    new_signing_secret: str | None = None


class WebhookList(Wire, kw_only=True):
    """A page of webhooks, the oldest first."""

    webhooks: list[Webhook] | None = None
    next_page_token: str | None = None


class PingWebhook(Wire):
    """The body of POST /webhooks/{id}:ping: nothing."""


class PingedWebhook(Wire):
    """Its answer: nothing, whatever becomes of the ping."""


class RotateSigningSecret(Wire, kw_only=True):
    """The body of POST /webhooks/{id}:rotateSigningSecret."""

    revocation_behavior: RevocationBehavior | None = None


class RotatedSigningSecret(Wire, kw_only=True):
    """The new secret, shown this once."""

    secret: str


class WebhookData(Wire, kw_only=True):
    """What an event is about: not the result, only where it is, and for a failure why."""

    id: str
    error_code: str | None = None
    error_message: str | None = None


class WebhookPayload(Wire, kw_only=True):
    """What is posted. `type` is one of the events, or 'ping'."""

    type: str
    version: Literal["v1"]
    timestamp: Timestamp
    data: WebhookData
    user_metadata: JsonObject | None = None
