"""Pictures from outside: made small in a process apart, shown to models that see, and named to those that do not."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest
from google import genai
from google.genai import types
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from antiphon import wire
from antiphon.media.headers import header_of
from antiphon.media.pictures import Pictures
from antiphon.ports import Fetched, Outcome, Picture, Unreadable, Use
from antiphon.readings import Readings, seal_result
from antiphon.tools.mcp_server import McpSession
from antiphon.tools.url_context import UrlContext
from serving import PATIENCE, Server

HERE = Path(__file__).parent
RED = Image.new("RGB", (640, 480), "red")


def coded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    target = io.BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


def decoded(body: bytes) -> Image.Image:
    return Image.open(io.BytesIO(body)).convert("RGB")


def with_pictures(part: Callable[[Pictures], Awaitable[Any]], **options: Any) -> Any:
    async def whole() -> Any:
        pictures = Pictures(**options)
        try:
            async with asyncio.timeout(PATIENCE):
                return await part(pictures)
        finally:
            await pictures.aclose()

    return asyncio.run(whole())


def look(*bodies: bytes) -> list[Picture | str | None]:
    """Each picture, or the words for why it cannot be shown."""

    async def part(pictures: Pictures) -> list[Picture | str | None]:
        found = await asyncio.gather(*map(pictures, bodies), return_exceptions=True)
        assert all(isinstance(one, Picture | Unreadable | None) for one in found), found
        return [str(one) if isinstance(one, Unreadable) else one for one in found]  # type: ignore[misc]

    return with_pictures(part)


# ---------------------------------------------------------------------------------------------------- looking


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP"])
def test_a_picture_of_each_kind_is_known_by_its_header_and_shown(kind: str) -> None:
    body = coded(RED, kind)
    assert header_of(body) == (f"image/{kind.lower()}", 640, 480)
    (shown,) = look(body)
    assert isinstance(shown, Picture) and str(shown) == f"image/{kind.lower()}, 640 x 480 pixels"
    small = decoded(shown.body)
    assert (
        small.size == (640, 480)
        and max(abs(a - b) for a, b in zip(small.getpixel((9, 9)), (255, 0, 0), strict=True)) < 4
    )


@pytest.mark.parametrize("options", [{"lossless": True}, {"exif": Image.Exif()}, {}])
def test_the_three_forms_of_webp_have_their_size(options: dict[str, Any]) -> None:
    assert header_of(coded(Image.new("RGB", (300, 200)), "WEBP", **options)) == ("image/webp", 300, 200)


def test_a_large_picture_is_shown_within_a_thousand_pixels_and_128_kib() -> None:
    noise = Image.frombytes("RGB", (2000, 1000), os.urandom(6_000_000))
    shown, lines = look(coded(noise), coded(Image.new("RGB", (4000, 300))))
    assert isinstance(shown, Picture) and isinstance(lines, Picture)
    assert len(shown.body) <= 128 * 1024 and max(decoded(shown.body).size) <= 1024 and shown.mime_type == "image/jpeg"
    assert decoded(lines.body).size == (1024, 77) and lines.mime_type == "image/png"


def test_what_can_be_seen_through_stands_on_white_and_a_tiny_one_is_filled_up() -> None:
    shown, tiny = look(coded(Image.new("RGBA", (50, 50), (255, 0, 0, 0))), coded(Image.new("RGB", (1, 1), "red")))
    assert isinstance(shown, Picture) and isinstance(tiny, Picture)
    assert decoded(shown.body).getpixel((5, 5)) == (255, 255, 255)
    assert decoded(tiny.body).size == (32, 32) and str(tiny) == "image/png, 1 x 1 pixels"


def test_a_photograph_is_turned_and_loses_what_stands_beside_its_pixels() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "the house of a friend"
    (shown,) = look(coded(Image.new("RGB", (100, 50), "red"), "JPEG", exif=exif) + b"trailing words")
    assert isinstance(shown, Picture) and decoded(shown.body).size == (50, 100)
    assert b"friend" not in shown.body and b"trailing" not in shown.body


def test_bombs_and_broken_pictures_are_refused_in_words_and_the_next_one_is_shown() -> None:
    huge = coded(Image.new("1", (8100, 8100)))
    whole = coded(RED)
    claims = whole[:16] + (30_000).to_bytes(4, "big") * 2 + whole[24:]
    lies = bytearray(coded(RED.convert("P"), "GIF"))
    lies[6:10] = b"\x01\x00\x01\x00"  # a canvas of one pixel, with a frame of 640 x 480
    said = look(huge, claims, bytes(lies), coded(RED, "JPEG")[:1000], whole[:200], b"GIF89a", b"<svg>", b"")
    assert said[0] == "It is a picture (image/png, 8100 x 8100 pixels); at most 64 million pixels are looked at."
    assert "30000 x 30000" in str(said[1])
    assert all("cannot be shown" in str(words) for words in said[2:5])
    assert said[5:] == [None, None, None]


@given(st.sampled_from(["PNG", "JPEG", "GIF", "WEBP", "BMP"]), st.binary(max_size=60), st.integers(0, 60))
def test_no_header_raises(kind: str, noise: bytes, place: int) -> None:
    body = coded(Image.new("RGB", (8, 8)), kind)
    header_of(body[:place])
    header_of(body[:place] + noise)
    header_of(body[:place] + noise + body[place + len(noise) :])


def test_a_picture_that_takes_too_long_is_refused_and_the_next_one_is_shown() -> None:
    async def part(pictures: Pictures) -> Picture | None:
        with pytest.raises(Unreadable, match="too long"):
            await pictures(coded(Image.new("RGBA", (8000, 8000), (3, 4, 5, 100)), compress_level=1))
        return await pictures(coded(RED))

    assert with_pictures(part, seconds=1) is not None


# ---------------------------------------------------------------------------------------------------- url_context


async def read(body: bytes, mime_type: str | None = None, name: str | None = None) -> Any:
    raise Unreadable("It holds no text.")


def of_urls(pages: dict[str, bytes], room: int = 16_000) -> Outcome:
    """What comes of reading all these pages."""

    async def fetch(url: str, *, largest: int = 0, seconds: float = 0) -> Fetched:
        return Fetched(url=url, mime_type="application/octet-stream", body=pages[url])

    async def part(pictures: Pictures) -> Outcome:
        used = Use(project="p", interaction="i", declared=wire.UrlContext(), room=room)
        session = await UrlContext(fetch=fetch, read=read, look=pictures).open(used)
        return await session.run(session.call("c1", "url_context", {"urls": list(pages)}))

    return with_pictures(part)


def test_pictures_are_told_of_and_those_that_are_too_many_are_errors() -> None:
    pages = {f"https://a.test/{n}": coded(RED) for n in range(8)} | {"https://a.test/words": b"hm"}
    outcome = of_urls(pages, 24_000)
    step: Any = outcome.step
    assert [item.status for item in step.result] == [*["success"] * 6, *["error"] * 3]
    assert len(outcome.pictures or ()) == 6
    assert outcome.reading.count("It is a picture (image/png, 640 x 480 pixels).") == 8
    assert outcome.reading.count("too many pictures") == 2
    assert len(of_urls(pages, 4_000).pictures or ()) == 1, "a model with little room sees one"


def test_pictures_survive_in_the_seal_and_old_ones_are_left_out() -> None:
    key = b"k" * 32
    readings = Readings(key)
    for number in range(3):
        outcome = of_urls({"https://a.test/": coded(RED)})
        step = wire.UrlContextResultStep(call_id=f"c{number}", result=[])
        readings.add(seal_result(key, Outcome(step=step, reading=outcome.reading, pictures=outcome.pictures)))
    kept = readings.within(9_000)
    assert set(readings.shown(kept)) == {"c1", "c2"} and kept["c0"].startswith("Left out")
    assert readings.media["c2"] == list(of_urls({"https://a.test/": coded(RED)}).pictures or ())


def test_six_noisy_pictures_seal_into_less_than_twelve_hundred_kilobytes() -> None:
    noise = [coded(Image.frombytes("RGB", (900, 900), os.urandom(2_430_000)), "JPEG") for _ in range(6)]
    outcome = of_urls({f"https://a.test/{n}": body for n, body in enumerate(noise)}, 24_000)
    assert len(outcome.pictures or ()) == 6
    assert len(seal_result(b"k" * 32, outcome).signature) < 1_200_000


# ---------------------------------------------------------------------------------------------------- MCP servers


def of_result(*parts: Any) -> tuple[list[str], list[wire.ImageContent]]:
    async def part(pictures: Pictures) -> Any:
        session = McpSession(wire.McpServer(name="s", url="http://s"), 8_000, None, pictures, None)  # type: ignore[arg-type]
        return await session._reading(parts)

    return with_pictures(part)


def test_the_pictures_of_a_result_are_shown_small_whatever_its_server_says_they_are() -> None:
    def content(body: bytes, kind: Any = "image/png") -> wire.ImageContent:
        return wire.ImageContent(data=base64.b64encode(body).decode(), mime_type=kind)

    gif, no_picture, broken = content(coded(RED, "GIF")), content(b"hello"), content(coded(RED)[:99], "image/png")
    words, shown = of_result(wire.TextContent(text="Look:"), gif, no_picture, broken, gif, gif)
    assert words[:3] == [
        "Look:",
        "[image/gif, 640 x 480 pixels]",
        "[image/png, not shown: it does not begin like a picture]",
    ]
    assert "not shown: It is a picture (image/png, 640 x 480 pixels) that cannot be shown." in words[3]
    assert words[5] == "[image/png, not shown: too many pictures]"
    assert [picture.mime_type for picture in shown] == ["image/png"] * 2
    assert decoded(base64.b64decode(shown[0].data or "")).size == (640, 480)


# ---------------------------------------------------------------------------------------------------- as users have it

CALL = {"name": "url_context", "arguments": {"urls": ["{site}/red.png", "{site}/tower", "{site}/bomb.png"]}}
TOWER = b"<html><title>Tower</title><body><p>The tower of Ostra was built in 1832 by Anna Lindqvist.</p></body></html>"


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(BaseHTTPRequestHandler):
    def answer(self, body: bytes, mime_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", mime_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *words: object) -> None:
        pass


class Site(Quiet):
    def do_GET(self) -> None:
        whole = coded(RED)
        bomb = whole[:16] + (30_000).to_bytes(4, "big") * 2 + whole[24:]
        pages = {"/red.png": (whole, "image/png"), "/bomb.png": (bomb, "image/png"), "/tower": (TOWER, "text/html")}
        self.answer(*pages[self.path])


class Model(Quiet):
    """A model server that calls what the user's last words name, once, and remembers what it was asked."""

    asked: ClassVar[list[dict[str, Any]]] = []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        type(self).asked.append(body)
        spoken = [message for message in body["messages"] if isinstance(message["content"], str)]
        last = next(message for message in reversed(spoken) if message["role"] in ("user", "tool"))
        message: dict[str, Any] = {"role": "assistant", "content": "It is red."}
        if last["role"] == "user" and (wanted := re.search(r"Call (\w+) with (\{.*\})", last["content"])):
            call = {"name": wanted[1], "arguments": wanted[2]}
            message = {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "1", "type": "function", "function": call}],
            }
        self.answer(
            json.dumps({"choices": [{"message": message, "finish_reason": "stop"}]}).encode(), "application/json"
        )


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with serving(Site) as url:
        yield url


@pytest.fixture(scope="module")
def station() -> Iterator[str]:
    command = [sys.executable, str(HERE / "mcp_servers" / "sdk_server.py"), "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/mcp"
        process.kill()


@pytest.fixture(scope="module")
def models(site: str, station: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server with one model that sees and one that does not."""
    folder = tmp_path_factory.mktemp("models")
    hosts = [place.removeprefix("http://").partition("/")[0] for place in (site, station)]
    with serving(Model) as url:
        seeing = f'[models.seeing]\nsource = "{url}/v1"\nmodalities = ["text", "image"]\n'
        (folder / "antiphon.toml").write_text(f'{seeing}[models.blind]\nsource = "{url}/v1"\n', encoding="utf-8")
        reachable = [word for host in hosts for word in ("--reachable", host)]
        server = Server(["--config", str(folder / "antiphon.toml"), *reachable], folder / "data")
        yield server
        server.stop()


@pytest.fixture
def client(models: Server) -> genai.Client:
    Model.asked.clear()
    return genai.Client(api_key="none", http_options=types.HttpOptions(base_url=models.url))


def shown(body: dict[str, Any]) -> list[Image.Image]:
    """The pictures in a request to a model."""
    parts = [
        part for message in body["messages"] if isinstance(message["content"], list) for part in message["content"]
    ]
    urls = [part["image_url"]["url"] for part in parts if part["type"] == "image_url"]
    return [decoded(base64.b64decode(url.partition(",")[2])) for url in urls]


def call_for(site: str) -> str:
    urls = [f"{site}/{page}" for page in ("red.png", "tower", "bomb.png")]
    return f"Call url_context with {json.dumps({'urls': urls})}"


def test_a_picture_of_the_web_is_seen_beside_a_page_and_a_bomb(client: genai.Client, site: str) -> None:
    made = client.interactions.create(model="seeing", input=call_for(site), tools=[{"type": "url_context"}])
    assert [step.type for step in made.steps] == ["url_context_call", "url_context_result", "model_output"]
    items = [item.model_dump(exclude_none=True) for item in made.steps[1].result]
    assert items == [
        {"url": f"{site}/red.png", "status": "success"},
        {"url": f"{site}/tower", "status": "success"},
        {"url": f"{site}/bomb.png", "status": "error"},
    ]
    said = json.dumps(Model.asked[-1])
    assert "image/png, 640 x 480 pixels" in said and "30000 x 30000" in said and "Anna Lindqvist" in said
    assert "never an instruction" in said and "cannot see" not in said
    (picture,) = shown(Model.asked[-1])
    assert picture.size == (640, 480) and picture.getpixel((5, 5)) == (255, 0, 0)


def test_a_model_that_cannot_see_is_told_what_is_there(client: genai.Client, site: str) -> None:
    made = client.interactions.create(model="blind", input=call_for(site), tools=[{"type": "url_context"}])
    assert [item.status for item in made.steps[1].result] == ["success", "success", "error"]
    assert made.status == "completed" and shown(Model.asked[-1]) == []
    told = json.dumps(Model.asked[-1])
    assert "image/png, 640 x 480 pixels" in told and "This model cannot see" in told and "Anna Lindqvist" in told


@pytest.mark.parametrize("model", ["seeing", "blind"])
def test_the_picture_is_there_in_later_turns_chained_or_replayed(client: genai.Client, site: str, model: str) -> None:
    first = client.interactions.create(model=model, input=call_for(site), tools=[{"type": "url_context"}])
    client.interactions.create(model="seeing", input="And now?", previous_interaction_id=first.id)
    assert len(shown(Model.asked[-1])) == 1
    client.interactions.create(model="blind", input="And now?", previous_interaction_id=first.id)
    assert shown(Model.asked[-1]) == []
    asked = {"type": "user_input", "content": [{"type": "text", "text": call_for(site)}]}
    steps = [asked, *(step.model_dump(exclude_none=True) for step in first.steps)]
    then = {"type": "user_input", "content": [{"type": "text", "text": "And now?"}]}
    client.interactions.create(model="seeing", input=[*steps, then], store=False)
    assert len(shown(Model.asked[-1])) == 1


@pytest.mark.parametrize("model", ["seeing", "blind"])
def test_a_picture_of_an_mcp_server_stands_in_the_step_and_is_seen(
    client: genai.Client, station: str, model: str
) -> None:
    tools = [{"type": "mcp_server", "name": "station", "url": station}]
    made = client.interactions.create(model=model, input='Call station_picture with {"caption": "A dot"}', tools=tools)
    assert [step.type for step in made.steps][:2] == ["mcp_server_tool_call", "mcp_server_tool_result"]
    result = made.steps[1].model_dump(exclude_none=True)["result"]
    assert [part["type"] for part in result] == ["text", "image"] and result[1]["mime_type"] == "image/png"
    assert base64.b64decode(result[1]["data"]).startswith(b"\x89PNG")
    assert "image/png, 1 x 1 pixels" in json.dumps(Model.asked[-1])
    assert [picture.size for picture in shown(Model.asked[-1])] == ([(32, 32)] if model == "seeing" else [])
    steps = [step.model_dump(exclude_none=True) for step in made.steps]
    then = {"type": "user_input", "content": [{"type": "text", "text": "And now?"}]}
    again = client.interactions.create(model=model, input=[*steps, then], store=False)
    assert again.status == "completed", "a model that cannot see is not refused what a tool of the server's gave"
    assert len(shown(Model.asked[-1])) == (model == "seeing")


def test_what_a_tool_drew_can_be_replayed_to_a_model_that_cannot_see(client: genai.Client) -> None:
    picture = {"type": "image", "mime_type": "image/png", "data": base64.b64encode(coded(RED)).decode()}
    drawn = {"type": "model_output", "content": [picture]}
    then = {"type": "user_input", "content": [{"type": "text", "text": "And now?"}]}
    assert client.interactions.create(model="blind", input=[drawn, then], store=False).status == "completed"
    given = client.interactions.create(model="blind", input=[{"type": "user_input", "content": [picture]}], store=False)
    assert [step.type for step in given.steps][:2] == ["processing_call", "processing_result"], (
        "what a user gave is read"
    )


class Counted(bytes):
    """Bytes that count how often one of them is looked at."""

    looks = 0

    def __getitem__(self, place: Any) -> Any:
        self.looks += 1
        return super().__getitem__(place)


def test_a_header_that_is_nothing_but_filling_is_soon_given_up() -> None:
    body = Counted(b"\xff\xd8" + b"\xff" * 2_000_000)
    assert header_of(body) is None and body.looks < 10_000
