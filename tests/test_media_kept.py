"""A server with media in its conversations: where their bytes are, and that nobody notices."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from buckets import S3, s3
from serving import ServerFactory

SCRIPT = """
[[turns]]
text = "A picture."
"""
PICTURE = random.Random(1).randbytes(100_000)
DATA = base64.b64encode(PICTURE).decode()
RUN = DATA[1000:1100].encode()


@pytest.fixture(scope="module")
def bucket() -> Iterator[S3]:
    with s3() as started:
        yield started


@pytest.mark.parametrize("place", ["beside", "s3"])
def test_a_conversation_with_media_is_kept_read_gone_on_with_and_deleted(
    server: ServerFactory, tmp_path: Path, bucket: S3, place: str
) -> None:
    more = ("--media", bucket.source()) if place == "s3" else ()
    served = server(SCRIPT, *more, data=tmp_path / "data", **bucket.environment)
    content = [{"type": "text", "text": "What is it?"}, {"type": "image", "data": DATA, "mime_type": "image/png"}]
    body = {"model": "scripted", "input": [{"type": "user_input", "content": content}]}
    first = served.request("POST", "/v1beta/interactions", body).json()
    again = {"model": "scripted", "input": "And now?", "previous_interaction_id": first["id"]}
    second = served.request("POST", "/v1beta/interactions", again).json()
    assert second["status"] == "completed", second
    read = served.request("GET", f"/v1beta/interactions/{first['id']}?include_input=true")
    assert DATA in read.body.decode()
    assert not any(RUN in path.read_bytes() for path in (tmp_path / "data").glob("antiphon.db*"))
    folder = tmp_path / "data" / "blobs"
    assert [path.read_bytes() for path in folder.glob("??/*")] == ([PICTURE] if place == "beside" else [])
    for id in (first["id"], second["id"]):
        assert served.request("DELETE", f"/v1beta/interactions/{id}").status == 200
    assert list(folder.glob("??/*")) == []


def test_two_servers_share_media_in_the_database(server: ServerFactory, database: str) -> None:
    served = server(SCRIPT, ANTIPHON_DATABASE=database)
    content = [{"type": "image", "data": DATA, "mime_type": "image/png"}]
    body: dict[str, Any] = {"model": "scripted", "input": [{"type": "user_input", "content": content}]}
    id = served.request("POST", "/v1beta/interactions", body).json()["id"]
    served.stop()
    other = server(SCRIPT, ANTIPHON_DATABASE=database)
    assert DATA in other.request("GET", f"/v1beta/interactions/{id}?include_input=true").body.decode()
