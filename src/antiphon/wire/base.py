"""The base of every type on the wire. Optional fields are None when absent and are left out when written."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct


class Wire(Struct, omit_defaults=True, forbid_unknown_fields=True):
    """A type that a caller may send: a field it does not have is refused, not ignored."""


class Event(Struct, omit_defaults=True, tag_field="event_type"):
    """A type that only a server sends: fields we do not know are let through, as the SDKs do."""


JsonObject = dict[str, Any]
ByteOffset = Annotated[int, Meta(ge=0, description="Position in the UTF-8 bytes of the text.")]
Base64 = Annotated[str, Meta(description="Bytes in base64.")]
Timestamp = Annotated[str, Meta(description="RFC 3339 in UTC, whole seconds: 2026-05-15T18:51:55Z.")]
