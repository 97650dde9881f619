"""Media made readable, and media made: the steps, what the model is shown, and what comes again on later turns."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import pytest
from test_engine import ask, ended, engine, read, request, run_async
from test_tools_in_a_run import Watching, messages, says

from antiphon import log, wire
from antiphon.ports import Delta, Digest, Finish, Made, Medium, Noted, Segment, Text, Tokens, Unreadable, Wanted
from antiphon.processing import Processing
from antiphon.stores.memory import MemoryStore

DATA = base64.b64encode(b"%PDF-1.7 a paper").decode()
PAPER = {"type": "document", "data": DATA, "mime_type": "application/pdf"}
ASKED = [PAPER, {"type": "text", "text": "What does it say?"}]


class Reads:
    """A digester that says what it was given."""

    def __init__(self, why: str = "") -> None:
        self.given: list[tuple[Medium, Wanted]] = []
        self._why = why

    async def __call__(self, medium: Medium, wanted: Wanted) -> Digest:
        self.given.append((medium, wanted))
        if self._why:
            raise Unreadable(self._why)
        return Digest(parts=(wire.TextContent(text=f"[document] {medium.body.decode()}"),), how="text of 1 page")

    async def aclose(self) -> None:
        pass


def reading(digester: Any) -> Processing:
    return Processing(
        {"document": digester, "image": digester}, obtain, missing={"audio": "install 'antiphon[hearing]'"}
    )


async def obtain(project: str, uri: str) -> tuple[bytes, str | None, str | None]:
    if project != "p":
        raise Unreadable("It was not found.")
    return f"what is at {uri}".encode(), "application/pdf", "paper.pdf"


def kinds(made: wire.Interaction) -> list[str]:
    return [str(step.__struct_config__.tag) for step in made.steps or ()]


def test_a_document_is_read_for_a_model_that_cannot_and_the_steps_show_it() -> None:
    async def body() -> None:
        model, reads = Watching(says("It says so.", Tokens(input=100))), Reads()
        async with engine(model, processing=reading(reads)) as on:
            made = await ask(on, input=ASKED)
        assert kinds(made) == ["processing_call", "processing_result", "model_output"]
        call, result, _ = made.steps or ()
        assert isinstance(call, wire.ProcessingCallStep) and isinstance(result, wire.ProcessingResultStep)
        assert result.call_id == call.id and result.signature
        (asked,) = messages(model.turns[0])
        assert "[document] %PDF-1.7 a paper" in asked["content"] and "never an instruction" in asked["content"]
        assert asked["content"].endswith("What does it say?")
        assert made.usage is not None
        counted = {one.modality: one.tokens for one in made.usage.input_tokens_by_modality or ()}
        assert counted["document"] and sum(map(int, counted.values())) == 100  # type: ignore[arg-type]

    run_async(body)


def test_the_log_says_how_it_was_read_and_nothing_of_what_stands_there(caplog: pytest.LogCaptureFixture) -> None:
    async def body() -> None:
        async with engine(Watching(says("It says so.")), processing=reading(Reads())) as on:
            await ask(on, input=ASKED)

    with caplog.at_level("INFO", "antiphon.media"):
        run_async(body)
    lines = [record.getMessage() for record in caplog.records if record.name == "antiphon.media"]
    assert lines == ["the document at 'input[0]' was made readable: text of 1 page"]


def test_a_later_turn_has_what_was_read_and_nothing_is_read_again() -> None:
    async def body() -> None:
        model, reads = Watching(says("One."), says("Two.")), Reads()
        async with engine(model, processing=reading(reads)) as on:
            first = await ask(on, input=ASKED)
            second = await ask(on, input="And then?", previous_interaction_id=first.id)
        assert len(reads.given) == 1 and kinds(second) == ["model_output"]
        before, after = messages(model.turns[0]), messages(model.turns[1])
        assert after[: len(before)] == before, "what the model has read keeps its words"

    run_async(body)


def test_a_client_that_replays_its_steps_has_it_too() -> None:
    async def body() -> None:
        model, reads = Watching(says("One."), says("Two.")), Reads()
        async with engine(model, processing=reading(reads)) as on:
            first = await ask(on, input=ASKED, store=False)
            steps = [{"type": "user_input", "content": ASKED}, *msgspec.to_builtins(first.steps)]
            more = [*steps, {"type": "user_input", "content": "And?"}]
            second = await ask(on, input=more, store=False)
        assert len(reads.given) == 1 and kinds(second) == ["model_output"]
        assert "[document]" in messages(model.turns[1])[0]["content"]

    run_async(body)


def test_a_file_is_fetched_for_the_project_that_asks() -> None:
    async def body() -> None:
        model, reads = Watching(says("Fine.")), Reads()
        async with engine(model, processing=reading(reads)) as on:
            await ask(on, input=[{"type": "document", "uri": "files/abc"}, *ASKED[1:]])
        ((medium, wanted),) = reads.given
        assert (medium.body, medium.name, medium.mime_type) == (b"what is at files/abc", "paper.pdf", "application/pdf")
        assert wanted.modalities == {"text"}

    run_async(body)


def test_what_cannot_be_read_is_refused_with_its_place_and_the_steps_say_so() -> None:
    async def body() -> None:
        async with engine(Watching(), processing=reading(Reads("It is encrypted."))) as on:
            run = await on.create("p", request(input=ASKED))
            await ended(run)
        assert isinstance(run.error, wire.InvalidRequest)
        assert run.error.message == "The document at 'input[0]' cannot be read. It is encrypted."
        assert run.state.status == "failed"
        result: Any = run.state.steps[-1]
        assert isinstance(result, wire.ProcessingResultStep) and result.is_error

    run_async(body)


@pytest.mark.parametrize(
    ("given", "place"),
    [
        (PAPER, "input"),
        ([{"type": "text", "text": "Look."}, PAPER], "input[1]"),
        ([{"type": "user_input", "content": [{"type": "text", "text": "Look."}, PAPER]}], "input[0].content[1]"),
    ],
)
def test_the_place_is_that_of_the_request_in_whatever_form_it_came(given: Any, place: str) -> None:
    async def body() -> None:
        async with engine(Watching(), processing=reading(Reads("It is encrypted."))) as on:
            run = await on.create("p", request(input=given))
            await ended(run)
        assert run.error is not None and f"'{place}'" in run.error.message

    run_async(body)


def test_what_nothing_here_reads_is_refused_before_anything_begins_with_what_to_install() -> None:
    async def body() -> None:
        sound = {"type": "audio", "data": DATA, "mime_type": "audio/wav"}
        async with engine(Watching(), processing=reading(Reads())) as on:
            with pytest.raises(wire.InvalidRequest, match=r"'input\[0\]'.*antiphon\[hearing\]"):
                await on.create("p", request(input=[sound]))

    run_async(body)


def test_a_document_in_a_function_result_is_read_as_well() -> None:
    async def body() -> None:
        model = Watching(says("One."), says("Two."))
        function = {"type": "function", "name": "scan"}
        called = {"type": "function_call", "id": "c1", "name": "scan", "arguments": {}}
        async with engine(model, processing=reading(Reads())) as on:
            steps = [
                {"type": "user_input", "content": "Scan it."},
                called,
                {"type": "function_result", "call_id": "c1", "name": "scan", "result": [PAPER]},
            ]
            await ask(on, input=steps, tools=[function], store=False)
        assert "[document] %PDF" in messages(model.turns[0])[-1]["content"]

    run_async(body)


@pytest.mark.parametrize("number", range(2, 8))
def test_wherever_a_crash_cuts_it_short_the_run_goes_on_and_the_model_has_the_document(number: int) -> None:
    async def body() -> None:
        store = MemoryStore()
        async with engine(Watching(says("One.")), store=store, processing=reading(Reads())) as on:
            run = await on.create("p", request(input=ASKED, background=True))
            await ended(run)
        whole = await store.get("p", run.record.id)
        assert whole is not None
        frames = log.split(whole.frames)[:number]
        cut = MemoryStore()
        await cut.create(whole.record, "in_progress", Segment(1, number, b"".join(frames)))
        model = Watching(says("Again."))
        async with engine(model, store=cut, processing=reading(Reads())) as on:
            await on.recover()
            while on.running():
                await next(iter(on._live.values())).task  # type: ignore[misc]
            made = await on.archive.get("p", run.record.id)
        assert made.status == "completed"
        if model.turns:
            assert "[document] %PDF" in messages(model.turns[0])[0]["content"]
        sound = [
            step for step in made.steps or () if isinstance(step, wire.ProcessingResultStep) and step.error is None
        ]
        assert len(sound) == 1

    run_async(body)


# ---------------------------------------------------------------------------------------------------- out


class Plays(Watching):
    """A model that speaks and draws."""

    gives = frozenset({"text", "audio", "image"})


def sound(data: bytes) -> Made:
    content = wire.AudioContent(data=base64.b64encode(data).decode(), mime_type="audio/l16", sample_rate=24_000)
    return Made(content)


def picture(data: bytes) -> Made:
    return Made(wire.ImageContent(data=base64.b64encode(data).decode(), mime_type="image/png"))


def plays(*deltas: Delta) -> Plays:
    return Plays([*deltas, Finish(tokens=Tokens(input=3, output=64, made=(("audio", 64),)))])


def test_sound_comes_in_pieces_and_is_one_sound_in_the_end() -> None:
    async def body() -> None:
        async with engine(plays(Text("Hello."), sound(b"ab"), sound(b"cd"))) as on:
            run = await on.create("p", request(stream=True, response_modalities=["text", "audio"]))
            events = [event for _, event in await read(run.channel.follow(0))]
            made = await on.archive.get("p", run.record.id)
        pieces = [event.delta for event in events if isinstance(event, wire.StepDelta)]
        assert [type(piece).__name__ for piece in pieces] == ["TextDelta", "AudioDelta", "AudioDelta"]
        last: Any = (made.steps or ())[-1]
        words, heard = last.content
        assert words.text == "Hello." and base64.b64decode(heard.data) == b"abcd" and heard.sample_rate == 24_000
        assert made.usage is not None and made.usage.output_tokens_by_modality is not None
        assert [(one.modality, one.tokens) for one in made.usage.output_tokens_by_modality] == [("audio", 64)]

    run_async(body)


def test_a_picture_ends_the_answer_of_a_model_that_draws() -> None:
    async def body() -> None:
        async with engine(plays(picture(b"png"))) as on:
            made = await ask(on, response_format={"type": "image"})
        assert made.status == "completed" and kinds(made) == ["model_output"]

    run_async(body)


def test_what_is_to_be_fetched_is_kept_whole_and_its_address_given() -> None:
    kept = []

    async def keep(project: str, body: bytes, mime_type: str, name: str) -> str:
        kept.append((project, body, mime_type))
        return f"files/{len(kept)}"

    async def body() -> None:
        formats = [{"type": "audio", "delivery": "uri"}, {"type": "image", "delivery": "uri"}, {"type": "text"}]
        async with engine(plays(sound(b"ab"), sound(b"cd"), Text("so"), picture(b"png")), keep=keep) as on:
            made = await ask(on, response_format=formats)
        assert kept == [("p", b"abcd", "audio/l16"), ("p", b"png", "image/png")]
        last: Any = (made.steps or ())[-1]
        assert [getattr(part, "uri", None) for part in last.content] == ["files/1", None, "files/2"]

    run_async(body)


def test_the_times_of_words_come_once_at_the_end_of_the_text() -> None:
    async def body() -> None:
        def word(at: int) -> Noted:
            return Noted((wire.WordInfo(text="w", start_index=at, end_index=at + 1),))

        async with engine(plays(Text("a "), word(0), Text("b"), word(2))) as on:
            made = await ask(on)
        last: Any = (made.steps or ())[-1]
        (text,) = last.content
        assert text.text == "a b" and [note.start_index for note in text.annotations] == [0, 2]

    run_async(body)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"response_modalities": ["audio"]}, "antiphon\\[speech\\]"),
        ({"response_format": {"type": "image"}}, "antiphon\\[drawing\\]"),
        ({"model": "gemini-2.5-flash-preview-tts"}, "antiphon\\[speech\\]"),
        ({"model": "gemini-3.5-transcribe"}, "antiphon\\[hearing\\]"),
        ({"generation_config": {"speech_config": [{"voice": "Kore"}]}}, "needs an answer with sound"),
        ({"generation_config": {"image_config": {"aspect_ratio": "1:1"}}}, "needs an answer with a picture"),
        ({"generation_config": {"transcription_config": {"mode": "verbatim"}}}, "needs a model that writes down"),
        ({"response_modalities": ["video"]}, "'video' is not supported"),
    ],
)
def test_what_no_model_here_gives_is_refused_with_what_to_install(fields: dict[str, Any], words: str) -> None:
    async def body() -> None:
        async with engine(Watching()) as on:
            with pytest.raises(wire.InvalidRequest, match=words):
                await on.create("p", request(**fields))

    run_async(body)


@pytest.mark.parametrize(
    ("processing", "words"),
    [
        ({"type": "static", "start_offset": "2"}, "must be seconds such as '1.5s'"),
        ({"type": "static", "start_offset": "2s", "end_offset": "1s"}, "is not after 'start_offset'"),
        ({"type": "static", "fps": 0}, "'fps'"),
        ("agentic", "'agentic' is not supported"),
    ],
)
def test_a_span_that_cannot_be_is_refused(processing: Any, words: str) -> None:
    async def body() -> None:
        video = {"type": "video", "data": DATA, "mime_type": "video/mp4", "processing": processing}
        async with engine(Watching()) as on:
            with pytest.raises(wire.InvalidRequest, match=words):
                await on.create("p", request(input=[video]))

    run_async(body)
