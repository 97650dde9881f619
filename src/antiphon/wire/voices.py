"""The types of the Voices API."""

from __future__ import annotations

from typing import Literal

from .base import JsonObject, Wire

Pitch = Literal["low", "medium", "high"]
VoiceType = Literal["replicated", "prompted", "prebuilt"]


class VoiceResource(Wire, kw_only=True):
    """A voice that speech can be asked for. `id` is what `speech_config.voice` names."""

    type: VoiceType
    id: str | None = None
    display_name: str | None = None
    description: str | None = None
    language_code: str | None = None
    region_code: str | None = None
    gender: str | None = None
    accent: str | None = None
    context: str | None = None
    persona: str | None = None
    pitch: Pitch | None = None


class VoiceList(Wire, kw_only=True):
    """A page of GET /voices; an empty one is `{}`."""

    voices: list[VoiceResource] | None = None
    next_page_token: str | None = None


class CreateVoice(Wire, kw_only=True):
    """The body of POST /voices."""

    voice: JsonObject
    store: bool | None = None
