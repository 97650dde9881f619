"""The core's laws, over logs that hypothesis makes up."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import log, wire

TEXT = st.text(max_size=8)


text_delta = TEXT.map(lambda text: wire.TextDelta(text=text))
summary_delta = TEXT.map(lambda text: wire.ThoughtSummaryDelta(content=wire.TextContent(text=text)))
annotation_delta = st.just(
    wire.TextAnnotationDelta(annotations=[wire.UrlCitation(url="https://a.example", start_index=0, end_index=1)])
)
image_delta = st.just(wire.ImageDelta(data="AAAA", mime_type="image/png"))
sound_delta = st.sampled_from(["AA==", "AAAA", "no base64"]).map(
    lambda data: wire.AudioDelta(data=data, mime_type="audio/l16", sample_rate=24_000)
)
arguments = st.dictionaries(TEXT, st.integers() | TEXT, max_size=3)


@st.composite
def written_arguments(draw: st.DrawFn) -> list[wire.ArgumentsDelta]:
    """JSON text, cut anywhere."""
    text = log._encoder.encode(draw(arguments)).decode()
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [wire.ArgumentsDelta(arguments=text[a:b]) for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]


steps = st.one_of(
    st.tuples(
        st.just(wire.ModelOutputStep()), st.lists(text_delta | annotation_delta | image_delta | sound_delta, max_size=8)
    ),
    st.tuples(
        st.just(wire.ThoughtStep()),
        st.lists(summary_delta, max_size=5).map(lambda deltas: [*deltas, wire.ThoughtSignatureDelta(signature="c2ln")]),
    ),
    st.tuples(st.just(wire.FunctionCallStep(id="abcd1234", name="f", arguments={}, signature="")), written_arguments()),
    st.tuples(
        st.just(wire.GoogleSearchCallStep(id="abcd1235", signature="")),
        st.just([wire.GoogleSearchCallDelta(arguments=wire.QueryArguments(queries=["q"]))]),
    ),
    st.tuples(
        st.just(wire.CodeExecutionResultStep(call_id="abcd1235", signature="")),
        TEXT.map(lambda text: [wire.CodeExecutionResultDelta(result=text, is_error=False)]),
    ),
)
stop_error = st.none() | st.just(wire.Status(code=14, message="cut"))


@st.composite
def logs(draw: st.DrawFn) -> list[tuple[int, wire.InteractionEvent]]:
    """A whole log, or one that breaks off anywhere."""
    shown = wire.StreamInteraction(id="v1_x", status="in_progress", object="interaction", model="m")
    events: list[wire.InteractionEvent] = [
        wire.InteractionCreated(interaction=shown),
        wire.InteractionStatusUpdate(interaction_id="v1_x", status="in_progress"),
    ]
    for index, (step, deltas) in enumerate(draw(st.lists(steps, max_size=5))):
        events.append(wire.StepStart(index=index, step=step))
        events += [wire.StepDelta(index=index, delta=delta) for delta in deltas]
        events.append(wire.StepStop(index=index, error=draw(stop_error)))
    ended = wire.StreamInteraction(
        id="v1_x", status="completed", object="interaction", usage=wire.Usage(total_tokens=3)
    )
    events.append(wire.InteractionCompleted(interaction=ended))
    return list(enumerate(events[: draw(st.integers(0, len(events)))], 1))


@given(logs())
def test_a_compacted_log_folds_to_the_same_state(entries: list[tuple[int, wire.InteractionEvent]]) -> None:
    assert log.fold(log.compact(entries)) == log.fold(entries)


@given(logs())
def test_compacting_twice_changes_nothing_more(entries: list[tuple[int, wire.InteractionEvent]]) -> None:
    once = list(log.compact(entries))
    assert list(log.compact(once)) == once


@given(logs())
def test_a_log_survives_its_bytes(entries: list[tuple[int, wire.InteractionEvent]]) -> None:
    frames = b"".join(log.encode(event, seq) for seq, event in entries)
    assert log.fold(log.decode(frames)) == log.fold(entries)
    assert b"".join(log.split(frames)) == frames
    assert [log.number(frame) for frame in log.split(frames)] == [seq for seq, _ in entries]


@given(logs())
def test_every_beginning_of_a_log_is_a_legal_log(entries: list[tuple[int, wire.InteractionEvent]]) -> None:
    state = log.State()
    for seq, event in entries:
        log.advance(state, event, seq)
        assert len(state.timeline()) == len(state.steps) + (state.open is not None)


def test_an_event_that_cannot_follow_is_refused_and_nothing_changes() -> None:
    state = log.State()
    with pytest.raises(log.IllegalMove):
        log.advance(state, wire.StepStop(index=0), 1)
    assert state == log.State()


def test_nothing_follows_the_end() -> None:
    shown = wire.StreamInteraction(id="v1_x", status="completed")
    state = log.fold(
        [(1, wire.InteractionCreated(interaction=shown)), (2, wire.InteractionCompleted(interaction=shown))]
    )
    with pytest.raises(log.IllegalMove):
        log.advance(state, wire.InteractionStatusUpdate(interaction_id="v1_x", status="in_progress"), 3)


def test_steps_do_not_skip_an_index() -> None:
    shown = wire.StreamInteraction(id="v1_x", status="in_progress")
    with pytest.raises(log.IllegalMove):
        log.fold(
            [(1, wire.InteractionCreated(interaction=shown)), (2, wire.StepStart(index=1, step=wire.ThoughtStep()))]
        )


def test_text_after_annotations_is_a_text_of_its_own() -> None:
    cited = [wire.UrlCitation(url="https://a.example", start_index=0, end_index=1)]
    deltas = [wire.TextDelta(text="a"), wire.TextAnnotationDelta(annotations=list(cited)), wire.TextDelta(text="b")]
    step = log.assemble(wire.ModelOutputStep(), deltas)
    assert step == wire.ModelOutputStep(
        content=[wire.TextContent(text="a", annotations=list(cited)), wire.TextContent(text="b")]
    )


def test_a_long_answer_is_assembled_from_its_pieces() -> None:
    step = log.assemble(wire.ModelOutputStep(), [wire.TextDelta(text="ab")] * 50_000)
    assert isinstance(step, wire.ModelOutputStep) and step.content == [wire.TextContent(text="ab" * 50_000)]


@pytest.mark.parametrize("bad", ["", "evt_", "evt_x", "evt_-1", "evt_１", "12", "evt_" + "9" * 30])
def test_an_event_id_we_never_made_is_recognised(bad: str) -> None:
    with pytest.raises(ValueError):
        log.position(bad)


def test_an_events_number_comes_back_from_its_id() -> None:
    assert log.position("evt_17") == 17


def test_pieces_of_sound_are_one_sound_until_something_else_comes() -> None:
    def piece(data: str) -> wire.AudioDelta:
        return wire.AudioDelta(data=data, mime_type="audio/l16", sample_rate=24_000, channels=1)

    deltas = [piece("AQ=="), piece("Ag=="), wire.TextDelta(text="and"), piece("Aw==")]
    step = log.assemble(wire.ModelOutputStep(), deltas)
    assert isinstance(step, wire.ModelOutputStep) and step.content is not None
    first, words, last = step.content
    assert isinstance(first, wire.AudioContent) and isinstance(last, wire.AudioContent)
    assert (first.data, first.sample_rate, first.channels) == ("AQI=", 24_000, 1)
    assert isinstance(words, wire.TextContent) and last.data == "Aw=="
