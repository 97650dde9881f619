"""The OpenAPI 3.1 document, made from the types: what it says and what is accepted cannot differ."""

from __future__ import annotations

from functools import cache
from typing import Any

import msgspec

from antiphon import __version__, wire
from antiphon.wire import decisions, triggers, voices, webhooks
from antiphon.wire.interaction import ResponseFormat

_REF = "#/components/schemas/{name}"


class ErrorBody(wire.Wire, kw_only=True):
    """Every error but that of a body which is no JSON."""

    error: wire.Error


class ModelResource(wire.Wire, kw_only=True):
    """A model, in the words of the API's older half."""

    name: str
    version: str | None = None
    displayName: str | None = None  # noqa: N815 - the API's own spelling
    description: str | None = None
    inputTokenLimit: int | None = None  # noqa: N815
    outputTokenLimit: int | None = None  # noqa: N815
    supportedGenerationMethods: list[str] | None = None  # noqa: N815
    temperature: float | None = None
    topP: float | None = None  # noqa: N815
    topK: int | None = None  # noqa: N815
    maxTemperature: float | None = None  # noqa: N815


class ModelList(wire.Wire, kw_only=True):
    models: list[ModelResource] | None = None
    nextPageToken: str | None = None  # noqa: N815


class Deleted(wire.Wire, kw_only=True):
    pass


class Imported(wire.Wire, kw_only=True):
    interaction_ids: list[str]


_EVENTS = wire.InteractionEvent.__args__
_ROOTS = (
    wire.CreateInteraction,
    wire.Interaction,
    wire.InteractionList,
    ErrorBody,
    ModelResource,
    ModelList,
    Deleted,
    Imported,
    webhooks.CreateWebhook,
    webhooks.UpdateWebhook,
    webhooks.Webhook,
    webhooks.WebhookList,
    webhooks.PingWebhook,
    webhooks.PingedWebhook,
    webhooks.RotateSigningSecret,
    webhooks.RotatedSigningSecret,
    webhooks.WebhookPayload,
    triggers.CreateTrigger,
    triggers.UpdateTrigger,
    triggers.Trigger,
    triggers.TriggerList,
    triggers.RunTrigger,
    triggers.TriggerExecution,
    triggers.TriggerExecutionList,
    decisions.CreateDecision,
    decisions.Decision,
    voices.CreateVoice,
    voices.VoiceList,
    voices.VoiceResource,
)


def _ref(name: str) -> dict[str, str]:
    return {"$ref": _REF.format(name=name)}


def _json(name: str, description: str) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ref(name)}}}


def _body(name: str, *, required: bool = True) -> dict[str, Any]:
    return {"required": required, "content": {"application/json": {"schema": _ref(name)}}}


def _stream(answer: dict[str, Any]) -> dict[str, Any]:
    """The same answer, or a stream of events where the request asks for one."""
    content = answer["content"] | {"text/event-stream": {"schema": _ref("InteractionEvent")}}
    return answer | {"content": content}


def _operation(
    id: str, summary: str, answer: dict[str, Any], *parameters: dict[str, Any], **more: Any
) -> dict[str, Any]:
    errors = _json("ErrorBody", "What went wrong, and where.")
    return {
        "operationId": id,
        "summary": summary,
        "parameters": list(parameters),
        "responses": {"200": answer, "default": errors},
        **more,
    }


def _in_path(name: str) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _in_query(name: str, kind: str, description: str) -> dict[str, Any]:
    return {"name": name, "in": "query", "schema": {"type": kind}, "description": description}


def _paths() -> dict[str, Any]:
    id, one = _in_path("id"), _json("Interaction", "The interaction.")
    paging = (
        _in_query("page_size", "integer", "1 to 1000."),
        _in_query("page_token", "string", "From the page before."),
    )
    lines = {"application/x-ndjson": {"schema": {"type": "string"}}}
    body = _body("CreateInteraction")
    return {
        "/interactions": {
            "post": _operation("createInteraction", "Begin an interaction", _stream(one), requestBody=body),
            "get": _operation("listInteractions", "List, newest first", _json("InteractionList", "A page."), *paging),
        },
        "/interactions/{id}": {
            "get": _operation(
                "getInteraction",
                "Read an interaction, or follow its stream",
                _stream(one),
                id,
                _in_query("stream", "boolean", "Answer with the events, from the start."),
                _in_query("last_event_id", "string", "Only the events after this one; with stream=true."),
                _in_query("include_input", "boolean", "Add the input as a field of its own."),
            ),
            "delete": _operation("deleteInteraction", "Stop and delete", _json("Deleted", "Nothing."), id),
        },
        "/interactions/{id}/cancel": {"post": _operation("cancelInteraction", "Stop a background run", one, id)},
        "/interactions/{id}/export": {
            "get": _operation(
                "exportInteraction", "The conversation as JSON lines", {"description": "Lines.", "content": lines}, id
            )
        },
        "/interactions:import": {
            "post": _operation(
                "importInteractions",
                "Bring exported lines in",
                _json("Imported", "Their ids."),
                requestBody={"required": True, "content": lines},
            )
        },
        "/models": {"get": _operation("listModels", "Names that are answered", _json("ModelList", "A page."))},
        "/models/{name}": {
            "get": _operation("getModel", "One of them", _json("ModelResource", "The model."), _in_path("name"))
        },
        **_webhook_paths(id, *paging),
        **_trigger_paths(id, *paging),
        **_voice_paths(id),
        "/decisions": {
            "post": _operation(
                "createDecision",
                "Answer closed questions with probabilities",
                _json("Decision", "The answers."),
                requestBody=_body("CreateDecision"),
            )
        },
    }


def _webhook_paths(id: dict[str, Any], *paging: dict[str, Any]) -> dict[str, Any]:
    one, nothing = _json("Webhook", "The webhook."), _json("Deleted", "Nothing.")
    mask = _in_query("update_mask", "string", "The fields to change, with commas between; else all that are given.")
    secret = _json("RotatedSigningSecret", "The new secret, shown this once.")
    ping, pinged = _body("PingWebhook", required=False), _json("PingedWebhook", "Nothing.")
    return {
        "/webhooks": {
            "post": _operation("createWebhook", "Be told of ends", one, requestBody=_body("CreateWebhook")),
            "get": _operation("listWebhooks", "List, oldest first", _json("WebhookList", "A page."), *paging),
        },
        "/webhooks/{id}": {
            "get": _operation("getWebhook", "Read a webhook", one, id),
            "patch": _operation("updateWebhook", "Change a webhook", one, id, mask, requestBody=_body("UpdateWebhook")),
            "delete": _operation("deleteWebhook", "Tell it no more", nothing, id),
        },
        "/webhooks/{id}:ping": {"post": _operation("pingWebhook", "Send it a ping", pinged, id, requestBody=ping)},
        "/webhooks/{id}:rotateSigningSecret": {
            "post": _operation(
                "rotateSigningSecret", "A new secret", secret, id,
                requestBody=_body("RotateSigningSecret", required=False),
            )
        },
    }  # fmt: skip


def _trigger_paths(id: dict[str, Any], *paging: dict[str, Any]) -> dict[str, Any]:
    one, run = _json("Trigger", "The trigger."), _json("TriggerExecution", "The run, or why there is none.")
    every, filter = _json("TriggerList", "A page."), _in_query("filter", "string", 'As `status="active"`, with AND.')
    runs = _json("TriggerExecutionList", "A page.")
    return {
        "/triggers": {
            "post": _operation("createTrigger", "Run on a schedule", one, requestBody=_body("CreateTrigger")),
            "get": _operation("listTriggers", "List, newest first", every, filter, *paging),
        },
        "/triggers/{id}": {
            "get": _operation("getTrigger", "Read a trigger", one, id),
            "patch": _operation("updateTrigger", "Name, pause, resume", one, id, requestBody=_body("UpdateTrigger")),
            "delete": _operation("deleteTrigger", "Run no more", _json("Deleted", "Nothing."), id),
        },
        "/triggers/{id}/executions": {
            "post": _operation("runTrigger", "Run now", run, id, requestBody=_body("RunTrigger", required=False)),
            "get": _operation("listTriggerExecutions", "Its runs, newest first", runs, id, *paging),
        },
    }


def _voice_paths(id: dict[str, Any]) -> dict[str, Any]:
    words = ("accent", "context", "gender", "language_code", "persona", "pitch", "region_code", "search", "type")
    filters = (_in_query(name, "string", "Only voices that have it.") for name in words)
    paging = (
        _in_query("page_size", "integer", "At most so many."),
        _in_query("page_token", "string", "Where to go on."),
    )
    nothing = _json("Deleted", "Nothing.")
    return {
        "/voices": {
            "get": _operation("listVoices", "Who can speak", _json("VoiceList", "A page."), *filters, *paging),
            "post": _operation("createVoice", "Refused here", nothing, requestBody=_body("CreateVoice")),
        },
        "/voices/{id}": {
            "get": _operation("getVoice", "One of them", _json("VoiceResource", "The voice."), id),
            "delete": _operation("deleteVoice", "Refused here", nothing, id),
        },
    }


def _components() -> dict[str, Any]:
    roots = (*_ROOTS, *_EVENTS)
    _, schemas = msgspec.json.schema_components(roots, ref_template=_REF)
    event = {"oneOf": [_ref(kind.__name__) for kind in _EVENTS], "discriminator": {"propertyName": "event_type"}}
    schemas = dict(schemas) | {"InteractionEvent": event}
    # A format, several, or a bare schema: the request's type leaves it open, since only its meaning tells them apart.
    formats = [_schema(kind, schemas) for kind in ResponseFormat.__args__]
    bare = {"type": "object", "description": "A bare JSON schema: its `type` is none of text, image, audio, video."}
    one = {"anyOf": [*formats, bare]}
    schemas["CreateInteraction"]["properties"]["response_format"] = {"anyOf": [one, {"type": "array", "items": one}]}
    return schemas


def _schema(kind: Any, schemas: dict[str, Any]) -> dict[str, str]:
    _, found = msgspec.json.schema_components([kind], ref_template=_REF)
    schemas.update(found)
    return _ref(kind.__name__)


@cache
def document() -> bytes:
    """The document as JSON."""
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "Antiphon: the Interactions API",
                "version": __version__,
                "description": "Any version prefix (/v1, /v1beta, Vertex's form) may stand before these paths.",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "servers": [{"url": "/v1beta"}, {"url": "/v1"}, {"url": "/"}],
            "paths": _paths(),
            "components": {
                "schemas": _components(),
                "securitySchemes": {
                    "header": {"type": "apiKey", "in": "header", "name": "x-goog-api-key"},
                    "query": {"type": "apiKey", "in": "query", "name": "key"},
                    "bearer": {"type": "http", "scheme": "bearer"},
                },
            },
            "security": [{"header": []}, {"query": []}, {"bearer": []}, {}],
        }
    )
