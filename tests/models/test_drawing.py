"""Pictures: by an image server, by a text model, and beside a text model's words."""

from __future__ import annotations

import asyncio
import base64
import io
import re
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest
from aiohttp import web
from PIL import Image

from antiphon import weights, wire
from antiphon.drawing.remote import RemoteDraw
from antiphon.drawing.sources import source_of
from antiphon.drawing.studio import Studio
from antiphon.drawing.svg import Unusable
from antiphon.drawing.vector import VectorDraw
from antiphon.models.drawing import Drawing
from antiphon.models.llamacpp import LlamaCpp
from antiphon.models.scripted import Script, Scripted, ScriptedCall, ScriptedTurn
from antiphon.ports import Call, Delta, Finish, Made, Text, Tokens, Turn
from image_server import image_server, picture

SUN = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 400">'
    '<rect width="400" height="400" fill="#0000ff"/><circle cx="200" cy="200" r="100" fill="#ffff00"/></svg>'
)


def test(scenario: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    """Run an async test, and let none hang."""

    def run() -> None:
        asyncio.run(asyncio.wait_for(scenario(), 60))

    run.__doc__ = scenario.__doc__
    return run


test.__test__ = False  # type: ignore[attr-defined]


def opened(content: wire.ImageContent) -> Image.Image:
    assert content.data is not None
    return Image.open(io.BytesIO(base64.b64decode(content.data)))


def body(content: wire.ImageContent) -> bytes:
    assert content.data is not None
    return base64.b64decode(content.data)


def fmt(**fields: Any) -> wire.ImageFormat:
    return wire.ImageFormat(**{"image_size": "512", **fields})


def near(pixel: Any, *wanted: int) -> bool:
    return all(abs(one - two) < 30 for one, two in zip(pixel, wanted, strict=True))


# ---------------------------------------------------------------------------------------------------- the studio


@test
async def test_a_vector_picture_is_drawn_in_every_type_and_shape() -> None:
    for mime_type, kind in ((None, "JPEG"), ("image/jpeg", "JPEG"), ("image/png", "PNG")):
        drawn = await Studio().draw(SUN, fmt(mime_type=mime_type, aspect_ratio="16:9"))
        it = Image.open(io.BytesIO(drawn))
        assert (it.format, it.size) == (kind, (704, 384))
        assert near(it.convert("RGB").getpixel((352, 192)), 255, 255, 0)
        assert source_of(drawn) is not None


@test
async def test_what_takes_too_long_or_shows_nothing_is_unusable() -> None:
    dashes = "".join(
        f'<path d="M0 {n / 9} L 90000 {n}" stroke="red" stroke-width="9" stroke-dasharray="0.25 0.25"/>'
        for n in range(1900)
    )
    bombs = {
        "one colour": '<svg viewBox="0 0 9 9"><rect width="9" height="9" fill="white"/></svg>',
        "too long|too much": f'<svg viewBox="0 0 9 9">{dashes}</svg>',
        "no shape": "<svg></svg>",
    }
    for why, bomb in bombs.items():
        with pytest.raises(Unusable, match=why):
            await Studio(seconds=1).draw(bomb, fmt())


@test
async def test_many_layers_end_within_their_limits() -> None:
    deep = '<g opacity="0.9">' * 38 + '<rect width="99999" height="99999" fill="red"/>' + "</g>" * 38
    many = '<g opacity="0.5"><rect width="9999" height="9999" fill="red"/><rect width="50" height="9"/></g>' * 300
    for inner in (deep, many):
        try:
            drawn = await Studio(seconds=1).draw(
                f'<svg viewBox="0 0 100 100">{inner}<circle r="9"/></svg>', fmt(image_size="4K")
            )
        except Unusable as error:
            assert "too" in str(error)
        else:
            assert source_of(drawn) is None or len(drawn) > 0


@test
async def test_a_picture_of_the_right_type_and_size_is_left_alone() -> None:
    asis = picture(512, 512, kind="JPEG")
    assert await Studio().make_over(asis, fmt()) is asis
    made = Image.open(io.BytesIO(await Studio().make_over(picture(300, 200), fmt())))
    assert (made.format, made.size) == ("JPEG", (512, 512))


@test
async def test_what_is_no_picture_is_not_made_over() -> None:
    for broken in (b"", b"GIF", picture(900, 900)[:200], b"\x89PNG\r\n\x1a\n" + bytes(8) + b"IHDR" + b"\xff" * 9):
        with pytest.raises(Unusable):
            await Studio().make_over(broken, fmt())


def test_sources_are_found_in_no_other_pictures() -> None:
    for other in (b"", b"text", picture(9, 9), picture(9, 9, kind="JPEG"), picture(9, 9)[:30], b"\xff\xd8\xff\xfe\xff"):
        assert source_of(other) is None


# ---------------------------------------------------------------------------------------------------- an image server


@test
async def test_an_image_server_is_asked_in_its_dialect() -> None:
    async with image_server() as server:
        draw = RemoteDraw(f"{server.url}/v1", "k", "painter", options={"steps": 4})
        made = await draw("a boat", fmt(aspect_ratio="16:9", mime_type="image/png"))
        await draw.aclose()
    path, fields, _ = server.asked[0]
    assert path == "/v1/images/generations" and server.headers["Authorization"] == "Bearer k"
    wanted = {"prompt": "a boat", "n": 1, "size": "704x384", "model": "painter", "steps": 4}
    assert fields == wanted | {"response_format": "b64_json"}
    assert made.mime_type == "image/png" and opened(made).size == (704, 384)


@test
async def test_pictures_are_sent_to_be_edited() -> None:
    async with image_server() as server:
        draw = RemoteDraw(server.url)
        for given in ([picture(9, 9)], [picture(9, 9), picture(5, 5, kind="JPEG")]):
            await draw("make it blue", fmt(), given)
            path, fields, pictures = server.asked[-1]
            assert path == "/v1/images/edits" and pictures == given
            assert fields["prompt"] == "make it blue" and fields["size"] == "512x512"
        await draw.aclose()


@test
async def test_a_server_that_cannot_edit_is_not_asked_to() -> None:
    draw = RemoteDraw("http://127.0.0.1:9", edits=False)
    with pytest.raises(wire.InvalidRequest, match="cannot edit"):
        await draw("x", fmt(), [picture(9, 9)])


@test
async def test_the_nearest_size_it_offers_is_asked_for_and_made_over() -> None:
    async with image_server() as server:
        draw = RemoteDraw(server.url, sizes=["1024x1024", "1536x1024"])
        made = await draw("a boat", fmt(aspect_ratio="16:9"))
        await draw.aclose()
    assert server.asked[0][1]["size"] == "1536x1024"
    assert (opened(made).format, opened(made).size) == ("JPEG", (704, 384))


@test
async def test_a_server_that_refuses_the_form_of_the_answer_is_asked_without_it() -> None:
    def answer(fields: dict[str, Any]) -> Any:
        if "response_format" in fields:
            return web.json_response({"error": {"message": "Unknown parameter: 'response_format'."}}, status=400)
        return server.draws(fields)

    async with image_server(answer) as server:
        draw = RemoteDraw(server.url)
        await draw("a", fmt())
        await draw("b", fmt())
        await draw.aclose()
    assert [("response_format" in fields) for _, fields, _ in server.asked] == [True, False, False]


@test
async def test_a_picture_behind_a_link_is_taken_from_the_server_itself_only() -> None:
    place = ""

    def answer(fields: dict[str, Any]) -> Any:
        return {"data": [{"url": place}]} if fields else web.Response(body=picture(512, 512), content_type="image/png")

    async with image_server(answer) as server:
        draw = RemoteDraw(server.url)
        place = f"{server.url}/a.png"
        assert opened(await draw("a", fmt())).size == (512, 512)
        place = "http://169.254.169.254/latest/meta-data"
        with pytest.raises(wire.Unavailable, match="link to elsewhere"):
            await draw("a", fmt())
        await draw.aclose()


FAULTS: dict[str, tuple[Any, type[wire.ApiError], str]] = {
    "a key": (web.json_response({"error": {"message": "bad key"}}, status=401), wire.Internal, "bad key"),
    "a model": (web.json_response({"error": "no model"}, status=404), wire.Unavailable, "no model"),
    "a prompt": (web.json_response({"error": {"message": "not that"}}, status=400), wire.InvalidRequest, "not that"),
    "too much": (web.json_response({}, status=429), wire.RateLimited, "429"),
    "a fault": (web.Response(text="boom", status=500), wire.Unavailable, "boom"),
    "a redirect": (web.Response(status=302, headers={"location": "http://127.0.0.1:1"}), wire.Unavailable, "302"),
    "no JSON": (web.Response(text="<html>"), wire.Unavailable, "no picture"),
    "nothing": ({"data": []}, wire.Unavailable, "no picture"),
    "neither": ({"data": [{}]}, wire.Unavailable, "no picture"),
    "no base64": ({"data": [{"b64_json": "*"}]}, wire.Unavailable, "no picture|base64"),
    "no picture": ({"data": [{"b64_json": "aGVsbG8="}]}, wire.Unavailable, "no picture"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_server_is_said_in_words(fault: str) -> None:
    answer, kind, words = FAULTS[fault]

    @test
    async def scenario() -> None:
        async with image_server(lambda fields: answer) as server:
            draw = RemoteDraw(server.url)
            with pytest.raises(wire.ApiError, match=words) as caught:
                await draw("a", fmt())
            await draw.aclose()
        assert type(caught.value) is kind

    scenario()


@test
async def test_a_server_that_is_not_there_is_unavailable() -> None:
    draw = RemoteDraw("http://127.0.0.1:9")
    with pytest.raises(wire.Unavailable, match=re.escape("127.0.0.1:9 cannot be reached")):
        await draw("a", fmt())
    await draw.aclose()


# ---------------------------------------------------------------------------------------------------- a text model


def saying(*answers: str) -> tuple[Callable[[str, str], Coroutine[Any, Any, str]], list[str]]:
    left, asked = list(answers), []

    async def ask(instruction: str, question: str) -> str:
        asked.append(f"{instruction}\n{question}")
        return left.pop(0)

    return ask, asked


@test
async def test_a_text_model_draws_in_the_shape_that_is_asked_for() -> None:
    ask, asked = saying(f"Sure!\n```svg\n{SUN}\n```")
    made = await VectorDraw(ask)("the sun", fmt(aspect_ratio="3:4"))
    assert "Draw: the sun" in asked[0] and 'viewBox="0 0 400 510"' in asked[0]
    assert opened(made).size == (448, 576)


@test
async def test_an_unusable_picture_is_asked_for_once_more() -> None:
    ask, asked = saying("I cannot draw.", SUN)
    assert opened(await VectorDraw(ask)("the sun", fmt())).size == (512, 512)
    assert "There is no <svg> in it." in asked[1]
    ask, asked = saying("No.", "No.")
    with pytest.raises(wire.FailedPrecondition, match="image server") as caught:
        await VectorDraw(ask)("the sun", fmt())
    assert caught.value.code == "no_image" and len(asked) == 2


@test
async def test_it_changes_what_it_has_drawn_and_nothing_else() -> None:
    for mime_type in ("image/png", "image/jpeg"):
        ask, asked = saying(SUN, SUN.replace("ffff00", "00ff00"))
        draw = VectorDraw(ask)
        first = body(await draw("the sun", fmt(mime_type=mime_type)))
        second = await draw("make it green", fmt(), [picture(9, 9), first])
        assert 'fill="#ffff00"' in asked[1] and "<script" not in asked[1]
        assert near(opened(second).getpixel((256, 256)), 0, 255, 0)
    with pytest.raises(wire.InvalidRequest, match="image server"):
        await VectorDraw(ask)("make it green", fmt(), [picture(9, 9)])
    with pytest.raises(wire.InvalidRequest, match="can change 100 at most"):
        await VectorDraw(ask, longest=100)("make it green", fmt(), [first])


# ---------------------------------------------------------------------------------------------------- beside words


def said(text: str) -> wire.UserInputStep:
    return wire.UserInputStep(content=[wire.TextContent(text=text)])


def turn(*steps: wire.Step, **options: Any) -> Turn:
    return Turn(model="m", steps=steps, conversation="c", **{"image": fmt(), **options})


def drawing(*turns: ScriptedTurn) -> Drawing:
    return Drawing(Scripted(Script(turns=[*turns, ScriptedTurn(when="^Draw:", text=SUN)])))


async def deltas(model: Drawing, asked: Turn) -> list[Delta]:
    found: list[Delta] = [delta async for delta in model.stream(asked)]
    assert isinstance(found[-1], Finish)
    return found


def words(found: list[Delta]) -> str:
    return "".join(delta.text for delta in found if isinstance(delta, Text))


@test
async def test_the_words_come_first_and_then_the_picture_and_who_drew_it() -> None:
    found = await deltas(drawing(ScriptedTurn(when="^A sun", text="Here is a sun.")), turn(said("A sun, please")))
    made = [delta for delta in found if isinstance(delta, Made)]
    assert len(made) == 1 and isinstance(made[0].content, wire.ImageContent)
    assert words(found) == "Here is a sun.\n\n(Drawn as a vector picture by m.)"
    assert found.index(made[0]) == len(found) - 2


@test
async def test_without_words_there_is_only_the_picture() -> None:
    found = await deltas(drawing(), turn(said("A sun"), text=False))
    assert [type(delta) for delta in found] == [Made, Finish]


@test
async def test_what_was_written_for_the_picture_is_counted_as_a_picture() -> None:
    finish = (await deltas(drawing(), turn(said("A sun"), text=False)))[-1]
    assert isinstance(finish, Finish)
    assert finish.tokens.output > 5 and finish.tokens.made == (("image", finish.tokens.output),)


@test
async def test_where_no_picture_is_asked_for_it_is_the_model_itself() -> None:
    inner = Scripted()
    model = Drawing(inner)
    asked = turn(said("Hi"), image=None)
    assert await deltas(model, asked) == [delta async for delta in Scripted().stream(asked)]
    assert model.modalities == inner.modalities
    assert model.weigh == inner.weigh
    with pytest.raises(AttributeError):
        _ = model.context


@test
async def test_a_call_of_a_tool_comes_before_any_picture() -> None:
    lookup = wire.Function(name="lookup")
    model = drawing(ScriptedTurn(when="sun", calls=[ScriptedCall("lookup")]))
    found = await deltas(model, turn(said("A sun"), functions=(lookup,), text=False))
    assert any(isinstance(delta, Call) for delta in found)
    assert not any(isinstance(delta, Made | Text) for delta in found)


class Painter:
    """A drawer that remembers."""

    def __init__(self, edits: bool = True) -> None:
        self.edits = edits
        self.asked: list[tuple[str, list[bytes]]] = []
        self.closed = False

    async def __call__(self, prompt: str, format: wire.ImageFormat, pictures: Any = ()) -> wire.ImageContent:
        self.asked.append((prompt, list(pictures)))
        return wire.ImageContent(data=base64.b64encode(picture(9, 9)).decode(), mime_type="image/png")

    async def aclose(self) -> None:
        self.closed = True


def shown(colour: str) -> wire.ImageContent:
    return wire.ImageContent(data=base64.b64encode(picture(9, 9, colour)).decode(), mime_type="image/png")


@test
async def test_pictures_of_this_input_and_of_the_last_answer_are_given_to_who_draws() -> None:
    drawn = wire.ModelOutputStep(content=[wire.TextContent(text="Done."), shown("red")])
    given = wire.UserInputStep(content=[wire.TextContent(text="Like this"), shown("blue")])
    steps = (said("A boat"), drawn, said("Make it blue"))
    cases = (
        ((said("A boat"),), True, []),
        (steps, True, [picture(9, 9, "red")]),
        (steps, False, []),
        ((said("A boat"), drawn, given), True, [picture(9, 9, "blue")]),
        ((given, drawn, said("And?")), True, [picture(9, 9, "red")]),
    )
    for asked, edits, wanted in cases:
        painter = Painter(edits)
        model = Drawing(Scripted(), painter)
        found = await deltas(model, turn(*asked))
        assert painter.asked[0][1] == wanted
        assert "vector" not in words(found)
        await model.aclose()
        assert painter.closed


@test
async def test_who_draws_is_told_what_was_said_before() -> None:
    painter = Painter()
    answer = wire.ModelOutputStep(content=[wire.TextContent(text="A fine boat.")])
    await deltas(Drawing(Scripted(), painter), turn(said("A boat"), answer, said("Make it blue"), text=False))
    prompt = painter.asked[0][0]
    assert prompt.startswith("Make it blue\n\n") and "User: A boat" in prompt and "Assistant: A fine boat." in prompt


class Blind:
    """A text model that remembers what it was asked."""

    modalities = frozenset({"text"})

    def __init__(self) -> None:
        self.turns: list[Turn] = []

    async def stream(self, turn: Turn) -> AsyncIterator[Delta]:
        self.turns.append(turn)
        yield Text("A boat.")
        yield Finish("length", Tokens(3, 2))

    async def aclose(self) -> None:
        """Nothing is held."""


@test
async def test_a_model_that_cannot_see_is_told_of_pictures_and_never_to_draw_itself() -> None:
    blind = Blind()
    given = wire.UserInputStep(content=[wire.TextContent(text="Bluer"), shown("blue")])
    found = await deltas(Drawing(blind, Painter()), turn(given, system_instruction="Be brief."))
    asked = blind.turns[0]
    assert asked.image is None and asked.max_output_tokens == 1000 and "<svg" in asked.stop_sequences
    assert asked.system_instruction is not None and asked.system_instruction.startswith("Be brief.\n\n")
    step = asked.steps[0]
    assert isinstance(step, wire.UserInputStep) and "cannot see" in step.content[1].text  # type: ignore[union-attr, index]
    assert isinstance(found[-1], Finish) and found[-1] == Finish("stop", Tokens(3, 2))


@pytest.mark.model
def test_a_real_model_draws() -> None:
    async def scenario() -> None:
        model = Drawing(LlamaCpp(weights.fetch("smollm2-135m"), context=4096, slots=1))
        try:
            found = await deltas(model, turn(said("A red circle"), text=False, temperature=0.0, max_output_tokens=200))
        except wire.FailedPrecondition as error:
            assert error.code == "no_image"  # it is very small
        else:
            assert [type(delta) for delta in found] == [Made, Finish]
        finally:
            await model.aclose()

    asyncio.run(scenario())
