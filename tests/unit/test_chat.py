"""The chat-completions dialect, both halves: what a turn is written as, and what an answer is read as."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Collection, Sequence
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import wire
from antiphon.chat import Dialect, request
from antiphon.chat_answer import Chunks, answer, failure
from antiphon.ports import Call, Delta, Finish, Text, Thought, Tokens, ToolChoice, Turn

GENERIC = Dialect()
SEEING = Dialect(modalities=frozenset({"text", "image", "audio", "video", "document"}))
WEATHER = wire.Function(
    name="get_weather",
    description="Weather of a city",
    parameters={"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)
TIMER = wire.Function(name="set_timer")


def user(text: str) -> wire.UserInputStep:
    return wire.UserInputStep(content=[wire.TextContent(text=text)])


def said(text: str) -> wire.ModelOutputStep:
    return wire.ModelOutputStep(content=[wire.TextContent(text=text)])


def call(id: str, name: str = "get_weather", **arguments: Any) -> wire.FunctionCallStep:
    return wire.FunctionCallStep(id=id, name=name, arguments=arguments)


def result(id: str, value: Any) -> wire.FunctionResultStep:
    return wire.FunctionResultStep(call_id=id, result=value)


def turn(*steps: wire.Step, **options: Any) -> Turn:
    return Turn(model="m", steps=steps, conversation="c", **options)


def body(*steps: wire.Step, dialect: Dialect = GENERIC, **options: Any) -> dict[str, Any]:
    return request(turn(*steps, **options), dialect, lambda step: step.signature or "")


def messages(*steps: wire.Step, dialect: Dialect = GENERIC, **options: Any) -> list[dict[str, Any]]:
    written: list[dict[str, Any]] = body(*steps, dialect=dialect, **options)["messages"]
    return written


# ------------------------------------------------------------------------------------------------- writing


def test_a_conversation_becomes_messages_in_order() -> None:
    assert messages(user("Hi"), said(" Hello.\n"), user("Bye"), system_instruction="Be kind.") == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": " Hello.\n"},
        {"role": "user", "content": "Bye"},
    ]


def test_text_and_calls_of_one_answer_are_one_message() -> None:
    assert messages(user("?"), said("Let me look."), call("1", city="Paris"), call("2", city="Rome")) == [
        {"role": "user", "content": "?"},
        {
            "role": "assistant",
            "content": "Let me look.",
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Paris"}'}},
                {"id": "2", "type": "function", "function": {"name": "get_weather", "arguments": '{"city":"Rome"}'}},
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "No result was given."},
        {"role": "tool", "tool_call_id": "2", "content": "No result was given."},
    ]


def test_results_follow_their_calls_in_the_order_of_the_calls() -> None:
    written = messages(user("?"), call("1"), call("2"), result("2", "two"), result("1", {"a": [1]}), said("Done."))
    assert [(m["role"], m["content"]) for m in written[2:]] == [
        ("tool", '{"a":[1]}'),
        ("tool", "two"),
        ("assistant", "Done."),
    ]


def test_calls_made_one_after_the_other_stay_separate_messages() -> None:
    roles = [m["role"] for m in messages(user("?"), call("1"), result("1", "a"), call("2"), result("2", "b"))]
    assert roles == ["user", "assistant", "tool", "assistant", "tool"]


def test_a_result_that_comes_with_the_next_input_is_still_the_calls_result() -> None:
    later = wire.UserInputStep(content=[result("1", "sunny"), wire.TextContent(text="And now?")])
    written = messages(user("?"), call("1"), later)
    assert [(m["role"], m["content"]) for m in written[2:]] == [("tool", "sunny"), ("user", "And now?")]


def test_a_result_without_a_call_is_told_by_the_user() -> None:
    orphan = wire.FunctionResultStep(call_id="9", name="get_weather", result="sunny")
    assert messages(user("?"), orphan)[1] == {"role": "user", "content": "Result of get_weather:\nsunny"}


def test_a_failed_result_says_so() -> None:
    failed = wire.FunctionResultStep(call_id="1", result="no such city", is_error=True)
    assert messages(user("?"), call("1"), failed)[2]["content"] == "Error: no such city"


def test_images_of_a_result_follow_in_a_users_message() -> None:
    shot = [wire.TextContent(text="Here."), wire.ImageContent(data="AAAA", mime_type="image/jpeg")]
    written = messages(user("?"), call("1"), result("1", shot), dialect=SEEING)
    assert written[2]["content"] == "Here."
    assert written[3] == {
        "role": "user",
        "content": [{"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AAAA"}}],
    }


def test_built_in_tools_are_calls_of_their_type() -> None:
    written = messages(
        user("?"),
        wire.GoogleSearchCallStep(id="s", arguments=wire.QueryArguments(queries=["x"])),
        wire.GoogleSearchResultStep(call_id="s", result=[wire.GoogleSearchItem(title="X", url="https://x")]),
    )
    assert written[1]["tool_calls"][0]["function"] == {"name": "google_search", "arguments": '{"queries":["x"]}'}
    assert written[2]["content"] == '[{"title":"X","url":"https://x"}]'


def test_steps_that_were_cut_short_are_left_out() -> None:
    broken = wire.ModelOutputStep(content=[wire.TextContent(text="I was go")], error=wire.Status(code=13))
    assert [m["role"] for m in messages(user("a"), broken, user("b"))] == ["user", "user"]


def test_reasoning_is_given_back_between_the_calls_of_the_turn_under_way_only() -> None:
    old: list[wire.Step] = [
        user("a"),
        wire.ThoughtStep(signature="old plan"),
        call("1"),
        result("1", "x"),
        said("Done."),
    ]
    new: list[wire.Step] = [user("b"), wire.ThoughtStep(signature="new plan"), call("2"), result("2", "y")]
    written = messages(*old, *new)
    assert [m["reasoning_content"] for m in written if "reasoning_content" in m] == ["new plan"]
    assert written[5]["reasoning_content"] == "new plan"


def test_every_kind_of_content_has_its_part() -> None:
    content: list[Any] = [
        wire.TextContent(text="Look:"),
        wire.ImageContent(uri="https://x/a.png"),
        wire.AudioContent(data="BBBB", mime_type="audio/mpeg"),
        wire.VideoContent(data="CCCC"),
        wire.DocumentContent(data="DDDD", mime_type="application/pdf"),
    ]
    assert messages(wire.UserInputStep(content=content), dialect=SEEING)[0]["content"] == [
        {"type": "text", "text": "Look:"},
        {"type": "image_url", "image_url": {"url": "https://x/a.png"}},
        {"type": "input_audio", "input_audio": {"data": "BBBB", "format": "mp3"}},
        {"type": "video_url", "video_url": {"url": "data:video/mp4;base64,CCCC"}},
        {"type": "file", "file": {"filename": "document", "file_data": "data:application/pdf;base64,DDDD"}},
    ]


def test_content_the_model_cannot_read_is_refused() -> None:
    with pytest.raises(wire.InvalidRequest, match="does not read image"):
        body(wire.UserInputStep(content=[wire.ImageContent(uri="https://x/a.png")]))


def test_options_are_passed_on_under_the_dialects_names() -> None:
    written = body(
        user("?"),
        temperature=0.5,
        top_p=0.9,
        seed=7,
        max_output_tokens=20,
        stop_sequences=("END",),
        thinking_level="minimal",
        dialect=Dialect(max_tokens="max_completion_tokens", extra={"top_k": 5}),
    )
    assert {key: written[key] for key in written if key not in ("messages", "model", "stream", "stream_options")} == {
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "max_completion_tokens": 20,
        "stop": ["END"],
        "chat_template_kwargs": {"enable_thinking": False},
        "top_k": 5,
    }


def test_an_answer_that_nobody_follows_is_asked_for_whole() -> None:
    assert body(user("?"), followed=False)["stream"] is False
    assert "stream_options" not in body(user("?"), followed=False)
    assert body(user("?"))["stream_options"] == {"include_usage": True}


def test_tool_choice_any_requires_a_call_of_the_allowed_functions() -> None:
    written = body(user("?"), functions=(WEATHER, TIMER), tool_choice=ToolChoice("any", ("set_timer",)))
    assert written["tool_choice"] == "required"
    assert [tool["function"]["name"] for tool in written["tools"]] == ["set_timer"]


def test_tool_choice_none_leaves_the_functions_in_the_prompt() -> None:
    written = body(user("?"), functions=(WEATHER,), tool_choice=ToolChoice("none"))
    assert written["tool_choice"] == "none"
    assert len(written["tools"]) == 1


def test_functions_without_a_template_stand_in_the_system_message() -> None:
    dialect = Dialect(tools="text", force="schema")
    written = body(
        user("?"), call("1", city="Paris"), result("1", "sunny"), functions=(WEATHER,), dialect=dialect,
        system_instruction="Be kind.",
    )  # fmt: skip
    system, _, assistant, results = written["messages"]
    assert system["content"].startswith("Be kind.\n")
    assert '"name":"get_weather"' in system["content"]
    assert '{"name": "get_weather", "arguments": {"city":"Paris"}}' in assistant["content"]
    assert "sunny" in results["content"]
    assert {"tools", "tool_choice"}.isdisjoint(written)


def test_a_schema_is_a_response_format_or_a_grammar() -> None:
    schema = {"type": "OBJECT", "properties": {"a": {"type": "STRING"}}}
    assert body(user("?"), schema=schema)["response_format"] == {
        "type": "json_schema",
        "json_schema": {
            "name": "answer",
            "schema": {"type": "object", "properties": {"a": {"type": "string"}}},
            "strict": True,
        },
    }
    grammar = body(user("?"), schema=schema, dialect=Dialect(schemas="grammar"))["grammar"]
    held = json.loads(grammar.partition("%json ")[2])
    assert held["additionalProperties"] is False
    assert held["properties"] == {"a": {"type": "string"}}


def test_a_pattern_that_a_grammar_might_not_know_is_left_to_the_server() -> None:
    written = body(user("?"), schema={"type": "string", "pattern": "^(?!a)"}, dialect=Dialect(schemas="grammar"))
    assert "grammar" not in written
    assert "response_format" in written


def test_functions_that_must_be_called_go_before_a_schema() -> None:
    written = body(user("?"), schema={"type": "object"}, functions=(TIMER,), tool_choice=ToolChoice("any"))
    assert "response_format" not in written


_steps = st.lists(
    st.one_of(
        st.text(max_size=20).map(user),
        st.text(max_size=20).map(said),
        st.sampled_from("abc").map(lambda id: call(id, city=id)),
        st.just(wire.ThoughtStep(signature="plan")),
    ),
    max_size=8,
)


@given(_steps, st.text(max_size=20), st.text(max_size=20))
def test_a_turn_begins_with_exactly_the_turn_before_it(past: list[wire.Step], answered: str, asked: str) -> None:
    first = [*past, user("question")]
    second = [*first, said(answered), user(asked)]
    for dialect in (GENERIC, Dialect(tools="text")):
        earlier, later = (msgspec.json.encode(messages(*s, dialect=dialect)) for s in (first, second))
        assert later.startswith(earlier[:-1])
        # Rendered again, from steps that went through the wire: the same bytes.
        copied = msgspec.json.decode(msgspec.json.encode(second), type=list[wire.Step])
        assert msgspec.json.encode(messages(*copied, dialect=dialect)) == later


# ------------------------------------------------------------------------------------------------- reading


def chunk(finish: str | None = None, **delta: Any) -> bytes:
    return json.dumps({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]}).encode()


def usage(**counts: Any) -> bytes:
    return json.dumps({"choices": [], "usage": counts}).encode()


def read(*data: bytes, names: Collection[str] = ()) -> list[Delta]:
    chunks = Chunks(names)
    return [*(delta for one in data for delta in chunks.feed(one)), *chunks.close()]


def test_streamed_text_comes_out_piece_by_piece() -> None:
    assert read(
        chunk(role="assistant", content=None), chunk(content="He"), chunk(content="llo"), chunk("stop"),
        usage(prompt_tokens=9, completion_tokens=2, prompt_tokens_details={"cached_tokens": 4}),
    ) == [Text("He"), Text("llo"), Finish("stop", Tokens(9, 2, 0, 4))]  # fmt: skip


def test_reasoning_has_two_names() -> None:
    assert read(chunk(reasoning_content="a"), chunk(reasoning="b"), chunk("length", content="c")) == [
        Thought("a"), Thought("b"), Text("c"), Finish("length"),
    ]  # fmt: skip


def test_reasoning_tokens_are_estimated_by_their_share_of_the_text() -> None:
    read_usage = read(chunk(reasoning="x" * 30), chunk("stop", content="y" * 10), usage(completion_tokens=20))[-1]
    assert read_usage == Finish("stop", Tokens(output=5, thought=15))


def test_reasoning_tokens_are_taken_as_counted() -> None:
    counted = usage(completion_tokens=20, completion_tokens_details={"reasoning_tokens": 12})
    assert read(chunk("stop", content="y"), counted)[-1] == Finish("stop", Tokens(output=8, thought=12))


def test_calls_are_put_together_by_their_index() -> None:
    assert read(
        chunk(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x"'}}]),
        chunk(tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}]),
        chunk(tool_calls=[{"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}}]),
        chunk("tool_calls"),
    ) == [Call(0, "f", '{"x"'), Call(0, "", ":1}"), Call(1, "g", "{}"), Finish()]


def test_a_new_id_is_a_new_call_even_under_the_same_index() -> None:
    calls = [
        chunk(tool_calls=[{"index": 0, "id": id, "function": {"name": "f", "arguments": {"x": 1}}}]) for id in "ab"
    ]
    assert read(*calls, chunk("stop")) == [Call(0, "f", '{"x":1}'), Call(1, "f", '{"x":1}'), Finish()]


def test_a_whole_answer_is_read_like_a_streamed_one() -> None:
    whole = {
        "choices": [{"finish_reason": "stop", "message": {"content": "<think>hm</think>\n\nHi", "tool_calls": None}}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 4},
    }
    assert Chunks().whole(json.dumps(whole).encode()) == [Thought("hm"), Text("Hi"), Finish("stop", Tokens(3, 2, 2))]


@given(
    st.lists(st.integers(1, 12), max_size=40),
    st.sampled_from(["<think>a <b> plan</think>\n\nHi <think>", "<thin", "Hi"]),
)
def test_thinking_is_split_off_wherever_the_chunks_break(sizes: list[int], text: str) -> None:
    pieces, rest = [], text
    for size in sizes:
        pieces.append(rest[:size])
        rest = rest[size:]
    deltas = read(*(chunk(content=piece) for piece in [*pieces, rest]), chunk("stop"))
    thought = "".join(d.text for d in deltas if isinstance(d, Thought))
    shown = "".join(d.text for d in deltas if isinstance(d, Text))
    assert (thought, shown) == (("a <b> plan", "Hi <think>") if "plan" in text else ("", text))


def test_calls_written_as_text_are_calls() -> None:
    text = '```json\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n```'
    assert read(*(chunk(content=c) for c in text), chunk("stop"), names=["get_weather"]) == [
        Call(0, "get_weather", '{"city":"Paris"}'),
        Finish(),
    ]


def test_an_error_inside_the_stream_is_an_error() -> None:
    with pytest.raises(wire.Unavailable, match="out of memory"):
        read(chunk(content="a"), b'{"error": {"message": "out of memory", "code": 500}}')


def test_an_answer_that_breaks_off_is_an_error() -> None:
    with pytest.raises(wire.Unavailable, match="broke off"):
        read(chunk(content="a"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, wire.InvalidRequest),
        (401, wire.Internal),
        (403, wire.Internal),
        (404, wire.ModelNotFound),
        (422, wire.InvalidRequest),
        (429, wire.RateLimited),
        (500, wire.Unavailable),
        (503, wire.Unavailable),
        (504, wire.DeadlineExceeded),
    ],
)
def test_a_servers_error_keeps_its_meaning_and_its_words(status: int, kind: type[wire.ApiError]) -> None:
    for written in (b'{"error":{"message":"words"}}', b'{"error":"words"}', b'{"message":"words"}', b"words"):
        error = failure(status, written, "host:1")
        assert type(error) is kind
        assert "words" in error.message


def test_too_long_a_conversation_says_how_long_it_is() -> None:
    body = b'{"error":{"code":400,"message":"x","n_prompt_tokens":9031,"n_ctx":4096}}'
    assert failure(400, body, "h").message == "The conversation is 9031 tokens long, and the model reads at most 4096."


# -------------------------------------------------------------------------------------------------- asking


class Upstream:
    """A server of scripted answers; it remembers what it was asked."""

    def __init__(self, *answers: Sequence[Delta]) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    async def ask(self, body: dict[str, Any], names: Collection[str]) -> AsyncGenerator[Delta, None]:
        self.asked.append(body)
        for delta in self.answers.pop(0):
            yield delta


def ask(upstream: Upstream, **options: Any) -> list[Delta]:
    async def collect() -> list[Delta]:
        asked = turn(user("?"), **options)
        return [delta async for delta in answer(asked, GENERIC, lambda step: "", upstream.ask)]

    return asyncio.run(collect())


def test_a_call_leaves_in_one_piece() -> None:
    upstream = Upstream([Text("Hm. "), Call(0, "get_weather", '{"city"'), Call(0, "", ':"Rome"}'), Finish()])
    assert ask(upstream, functions=(WEATHER,)) == [
        Text("Hm. "), Call(0, "get_weather", '{"city":"Rome"}'), Finish(),
    ]  # fmt: skip


def test_a_call_that_breaks_its_schema_is_asked_for_again_under_a_grammar() -> None:
    upstream = Upstream(
        [Call(0, "get_weather", '{"town":"Rome"}'), Finish(tokens=Tokens(5, 3))],
        [Call(0, "get_weather", '{"city":"Rome"}'), Finish(tokens=Tokens(5, 4, 0, 4))],
    )
    assert ask(upstream, functions=(WEATHER,)) == [
        Call(0, "get_weather", '{"city":"Rome"}'), Finish(tokens=Tokens(10, 7, 0, 4)),
    ]  # fmt: skip
    assert upstream.asked[1]["response_format"]["type"] == "json_schema"
    assert upstream.asked[1]["stream"] is False


def test_a_call_that_breaks_its_schema_twice_is_an_error() -> None:
    wrong: list[Delta] = [Call(0, "get_weather", '{"town":"Rome"}'), Finish()]
    with pytest.raises(wire.MalformedFunctionCall, match="'city' is missing"):
        ask(Upstream(wrong, wrong), functions=(WEATHER,))


def test_a_model_that_calls_what_is_not_there_is_asked_for_words() -> None:
    upstream = Upstream([Call(0, "add", '{"a":17}'), Finish()], [Text("42"), Finish()])
    assert ask(upstream, functions=(WEATHER,)) == [Text("42"), Finish()]
    assert upstream.asked[1]["tool_choice"] == "none"


def test_text_where_a_call_was_required_is_not_shown() -> None:
    upstream = Upstream([Text("Sure!"), Finish()], [Call(0, "set_timer", ""), Finish()])
    assert ask(upstream, functions=(TIMER,), tool_choice=ToolChoice("any")) == [Call(0, "set_timer", "{}"), Finish()]


def test_an_unfinished_call_of_an_answer_cut_short_is_dropped() -> None:
    upstream = Upstream([Call(0, "get_weather", '{"city": "Ro'), Finish("length")])
    assert ask(upstream, functions=(WEATHER,)) == [Finish("length")]


def test_with_functions_and_a_schema_text_that_fits_is_left_alone() -> None:
    upstream = Upstream([Text('{"a"'), Text(": 1}"), Finish()])
    assert ask(upstream, functions=(TIMER,), schema={"required": ["a"]}) == [Text('{"a": 1}'), Finish()]
    assert "response_format" not in upstream.asked[0]


def test_with_functions_and_a_schema_text_that_does_not_fit_is_asked_for_again() -> None:
    upstream = Upstream([Text("One."), Finish()], [Text('{"a": 1}'), Finish()])
    schema = {"type": "object", "required": ["a"]}
    assert ask(upstream, functions=(TIMER,), schema=schema) == [Text('{"a": 1}'), Finish()]
    assert upstream.asked[1]["response_format"]["json_schema"]["schema"] == schema


def test_a_server_that_ignores_the_schema_is_found_out() -> None:
    with pytest.raises(wire.Internal, match="no JSON"):
        ask(Upstream([Text("Sure!"), Finish()]), schema={"type": "object"})
    assert ask(Upstream([Text('{"a'), Finish("length")]), schema={"type": "object"})[-1] == Finish("length")
