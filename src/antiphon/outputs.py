"""What a request wants to be given: text, JSON of a shape, sound, a picture; and what of that is refused, and why. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from antiphon import catalog, schemas, wire
from antiphon.faults import explain

TEXT = frozenset({"text"})
_FORMAT_TYPES = {"text", "image", "audio", "video"}
_CAMEL = {
    "mimeType": "mime_type",
    "bitRate": "bit_rate",
    "sampleRate": "sample_rate",
    "aspectRatio": "aspect_ratio",
    "imageSize": "image_size",
}
_LACKING = {
    "audio": "nothing here speaks: install antiphon[speech], or set a speech server with --speech",
    "image": "nothing here draws: install antiphon[drawing], or set an image server with --drawing",
    "transcription": "nothing here writes down speech: install antiphon[hearing], or set a server with --hearing",
}


class Format(msgspec.Struct, frozen=True, kw_only=True):
    """The form of the answer: `json` any JSON value, `schema` JSON that fits it; sound and pictures by their formats."""

    text: bool = True
    json: bool = False
    schema: dict[str, Any] | None = None
    audio: wire.AudioFormat | None = None
    image: wire.ImageFormat | None = None


def check(request: wire.CreateInteraction) -> None:
    """Refuse what no model here gives, and settings of what is not asked for. Raises InvalidRequest."""
    for modality in request.response_modalities or ():
        if modality not in ("text", "audio", "image"):
            raise wire.InvalidRequest(
                f"The value '{modality}' is not supported at 'response_modalities' on this server."
            )
    if request.response_mime_type not in (None, "text/plain", "application/json"):
        raise wire.InvalidRequest(
            f"The value {request.response_mime_type!r} is not supported for 'response_mime_type'. "
            "Supported values: 'application/json', 'text/plain'."
        )
    config = request.generation_config
    if config is not None and config.video_config is not None:
        raise wire.InvalidRequest(
            "'generation_config.video_config' is not supported on this server: it makes no videos."
        )


def wanted(request: wire.CreateInteraction, model: str, gives: frozenset[str]) -> Format:
    """What the request asks for, of a model called `model` that can answer with `gives`. Raises InvalidRequest."""
    formats = _formats(request)
    own = catalog.gives(model)
    asked = _asked(request, formats, model, own, gives)
    text = formats.get("text", wire.TextFormat())
    found = Format(
        text="text" in asked,
        json=text.mime_type == "application/json" or text.schema is not None,
        schema=text.schema,
        audio=formats.get("audio", wire.AudioFormat()) if "audio" in asked else None,
        image=_pictured(request, formats.get("image", wire.ImageFormat())) if "image" in asked else None,
    )
    _check_settings(request, found, own)
    return _with_older(request, found, given="text" in formats)


def _asked(
    request: wire.CreateInteraction, formats: dict[str, Any], model: str, own: str, gives: frozenset[str]
) -> set[str]:
    """The kinds of content that are to be answered with; where nothing is said, what the model's name promises (`own`)."""
    if own != "text" and own not in gives:
        raise wire.InvalidRequest(f"'{model}' cannot answer: {_LACKING[own]}.")
    asked: set[str] = {*formats, *(request.response_modalities or ())}
    if not asked:
        asked = {"audio"} if "audio" in gives and (own == "audio" or "text" not in gives) else {"text"}
        asked |= {"image"} & {own}
    for kind in ("audio", "image"):
        if kind in asked and kind not in gives:
            raise wire.InvalidRequest(f"The model '{model}' cannot answer with {kind}: {_LACKING[kind]}.")
    return asked


def voices(request: wire.CreateInteraction) -> tuple[wire.SpeechConfig, ...]:
    """Who is to speak."""
    given = request.generation_config.speech_config if request.generation_config is not None else None
    return tuple((given.speakers or ()) if isinstance(given, wire.SpeakerConfig) else given or ())


def _check_settings(request: wire.CreateInteraction, found: Format, own: str) -> None:
    config = request.generation_config or wire.GenerationConfig()
    for name, used in (
        ("speech_config", found.audio is not None),
        ("image_config", found.image is not None),
        ("transcription_config", own == "transcription"),
    ):
        if getattr(config, name) is not None and not used:
            raise wire.InvalidRequest(f"'generation_config.{name}' needs {_NEEDED[name]}.")
    if (found.audio or found.image) and found.json:
        raise wire.InvalidRequest("JSON at 'response_format' cannot be asked for beside sound or pictures.")


_NEEDED = {
    "speech_config": "an answer with sound: 'audio' at 'response_modalities' or 'response_format'",
    "image_config": "an answer with a picture: 'image' at 'response_modalities' or 'response_format'",
    "transcription_config": "a model that writes down speech, such as 'gemini-3.5-transcribe'",
}


def _with_older(request: wire.CreateInteraction, found: Format, *, given: bool) -> Format:
    """The same with the older `response_mime_type`."""
    older = request.response_mime_type
    if older is None:
        return found
    if not given:
        return msgspec.structs.replace(found, json=older == "application/json")
    if (older == "application/json") != found.json:
        raise wire.InvalidRequest("'response_mime_type' contradicts 'response_format'.")
    return found


def _pictured(request: wire.CreateInteraction, format: wire.ImageFormat) -> wire.ImageFormat:
    """A picture's format, with what the older `image_config` says of it."""
    config = request.generation_config.image_config if request.generation_config is not None else None
    if config is None:
        return format
    return msgspec.structs.replace(
        format,
        aspect_ratio=format.aspect_ratio or config.aspect_ratio,
        image_size=format.image_size or config.image_size,
    )


def _formats(request: wire.CreateInteraction) -> dict[str, Any]:
    """The formats in `response_format`, by type: one, a list of them, or a bare JSON schema."""
    given = request.response_format
    found: dict[str, Any] = {}
    for place, item in enumerate(given if isinstance(given, list) else [] if given is None else [given]):
        path = f"response_format[{place}]" if isinstance(given, list) else "response_format"
        format = _format(item, path)
        kind = str(format.__struct_config__.tag)
        if kind in found:
            raise wire.InvalidRequest(f"Only one {kind} format can be answered at 'response_format'.")
        found[kind] = format
    return found


def _format(item: dict[str, Any], path: str) -> wire.ResponseFormat:
    kind = item.get("type")
    if not isinstance(kind, str) or kind not in _FORMAT_TYPES:
        item = {"type": "text", "mime_type": "application/json", "schema": item}
    # google-genai 2.0.0 sends these, and only these, in camel case (captured).
    snake = {_CAMEL.get(name, name): value for name, value in item.items()}
    try:
        found: wire.ResponseFormat = msgspec.convert(snake, wire.ResponseFormat)
    except msgspec.ValidationError as error:
        raise wire.InvalidRequest(explain(str(error), path)) from None
    if isinstance(found, wire.VideoFormat):
        raise wire.InvalidRequest(f"The value 'video' is not supported for 'type' at '{path}' on this server.")
    if isinstance(found, wire.TextFormat):
        if found.schema is not None and found.mime_type == "text/plain":
            raise wire.InvalidRequest(f"A schema needs mime_type 'application/json' at '{path}'.")
        if found.schema is not None and (fault := schemas.malformed(found.schema)):
            raise wire.InvalidRequest(f"The schema at '{path}' cannot be read: {fault}.")
    return found
