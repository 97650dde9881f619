"""Pictures over the wire: drawn by the model as vectors, or by an image server."""

from __future__ import annotations

import asyncio
import base64
import io
from typing import Any

import pytest
from PIL import Image

from image_server import image_server, picture
from serving import Server, ServerFactory

SUN = (
    "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 400 400'><rect width='400' height='400' fill='#00f'/>"
    "<circle cx='200' cy='200' r='100' fill='#ff0'/></svg>"
)
SCRIPT = f"""
[[turns]]
when = "^Draw: nonsense"
text = "I cannot."

[[turns]]
when = "^Draw:(.|\\\\n)*#ff0(.|\\\\n)*leave all else"
text = "{SUN.replace("#ff0", "#0f0")}"

[[turns]]
when = "^Draw:"
text = "{SUN}"

[[turns]]
when = "sun"
text = "A sun."
"""
FORMAT = {"type": "image", "mime_type": "image/png", "image_size": "512"}


@pytest.fixture(scope="module")
def painter(session_server: ServerFactory) -> Server:
    return session_server(SCRIPT)


def drawn(interaction: Any) -> Image.Image:
    [content] = [part for part in interaction["steps"][-1]["content"] if part["type"] == "image"]
    it = Image.open(io.BytesIO(base64.b64decode(content["data"])))
    assert content["mime_type"] == f"image/{it.format.lower()}"  # type: ignore[union-attr]
    return it.convert("RGB") if it.mode != "RGB" else it


def test_a_picture_comes_after_its_words(painter):
    answer = painter.create("a sun", response_format=[{"type": "text"}, FORMAT | {"aspect_ratio": "16:9"}])
    kinds = [part["type"] for step in answer["steps"] if step["type"] == "model_output" for part in step["content"]]
    assert kinds == ["text", "image"]
    assert drawn(answer).size == (704, 384)
    counted = {one["modality"]: one["tokens"] for one in answer["usage"]["output_tokens_by_modality"]}
    assert counted["image"] > 0 and counted["text"] > 0


def test_a_picture_is_one_delta_of_a_stream(painter):
    events = list(painter.follow("a sun", response_format=FORMAT))
    deltas = [event["delta"] for event in events if event["event_type"] == "step.delta"]
    assert [delta["type"] for delta in deltas] == ["image"]
    assert events[-1]["interaction"]["status"] == "completed"


def test_what_was_drawn_is_changed_in_the_next_turn(painter):
    first = painter.create("a sun", response_format=FORMAT)
    assert drawn(first).getpixel((256, 256)) == (255, 255, 0)
    second = painter.create("make it green", response_format=FORMAT, previous_interaction_id=first["id"])
    assert drawn(second).getpixel((256, 256)) == (0, 255, 0)


def test_a_model_that_cannot_draw_says_so(painter):
    body = {"model": "scripted", "input": "nonsense", "response_format": FORMAT}
    answer = painter.request("POST", "/v1beta/interactions", body)
    assert (answer.status, answer.error["code"]) == (400, "no_image")


def test_an_image_server_draws_and_edits(server):
    async def scenario() -> None:
        async with image_server() as images:
            mine = await asyncio.to_thread(server, SCRIPT, "--drawing", images.url)
            first = await asyncio.to_thread(mine.create, "a sun", response_format=FORMAT)
            assert drawn(first).getpixel((9, 9)) == (255, 0, 0)
            sent = {"type": "image", "mime_type": "image/png", "data": base64.b64encode(picture(8, 8)).decode()}
            asked = [{"type": "text", "text": "bluer"}, sent]
            await asyncio.to_thread(mine.create, asked, response_format=FORMAT)
        assert [path for path, _, _ in images.asked] == ["/v1/images/generations", "/v1/images/edits"]
        assert images.asked[1][2] == [picture(8, 8)]

    asyncio.run(asyncio.wait_for(scenario(), 60))


def test_pictures_can_be_switched_off(server):
    off = server(SCRIPT, "--drawing", "off")
    body = {"model": "scripted", "input": "a sun", "response_format": FORMAT}
    answer = off.request("POST", "/v1beta/interactions", body)
    assert answer.status == 400 and "image" in answer.error["message"]
