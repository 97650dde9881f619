"""Calls that a model writes as text: what is found, what is left alone, and that pieces make no difference."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.toolforms import CallReader, FoundCall

NAMES = ("get_weather", "set_timer", "noop")
PARIS = '{"city": "Paris"}'

CALLS = {
    "tag": '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>',
    "tag without an end": '<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}',
    "other tag": '<tools>{"name": "get_weather", "arguments": {"city": "Paris"}}</tools>',
    "fence": '```json\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n```',
    "fence without a language": '```\n{\n  "name": "get_weather",\n  "arguments": {"city": "Paris"}\n}\n```',
    "tag in a fence": '```xml\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Paris"}}\n</tool_call>\n```',
    "object": '{"name": "get_weather", "arguments": {"city": "Paris"}}',
    "object with parameters": '{"type": "function", "name": "get_weather", "parameters": {"city": "Paris"}}',
    "arguments first": '{"arguments": {"city": "Paris"}, "name": "get_weather"}',
    "arguments as a string": '{"name": "get_weather", "arguments": "{\\"city\\": \\"Paris\\"}"}',
    "nested function": '{"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Paris"}}}',
    "wrapped list": '{"tool_calls": [{"name": "get_weather", "arguments": {"city": "Paris"}}]}',
    "list": ' \n[{"name": "get_weather", "arguments": {"city": "Paris"}}]',
    "functools": 'functools[{"name": "get_weather", "arguments": {"city": "Paris"}}]',
    "mistral": '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Paris"}}]',
    "llama": '<function=get_weather>{"city": "Paris"}</function>',
    "python list": "[get_weather(city='Paris')]",
    "python in a fence": '```tool_code\nget_weather(city="Paris")\n```',
    "python literals": "{'name': 'get_weather', 'arguments': {'city': 'Paris'}}",
    "prefixed name": '{"name": "functions.get_weather", "arguments": {"city": "Paris"}}',
}

TEXTS = {
    "prose": "The weather in Paris is fine.",
    "blanks": "\n  \n",
    "indented prose": "\n\n  Hello",
    "data": '{"city": "Paris", "name": "get_weather"}',
    "data named like a function": '{"name": "get_weather", "age": 3}',
    "an unknown function after words": 'Like so:\n```json\n{"name": "launch", "arguments": {}}\n```',
    "an unknown function with more": '{"name": "launch", "arguments": {}, "date": "1969-07-16"}',
    "a person": '{"name": "Ada", "age": 36}',
    "a person with a middle name": '{"name": "Ada Augusta", "arguments": {}}',
    "a list of numbers": "[1, 2, 3]",
    "a list of words": '["get_weather", "set_timer"]',
    "a link": "[get_weather](https://example.org) is a function.",
    "a code block": "Here it is:\n```python\nprint([x for x in 'ab'])\n```\nDone.",
    "a JSON block": 'For example:\n```json\n{"name": "Ada", "age": 36}\n```\n',
    "a tag alone": "Use <tool_call> to call.",
    "unfinished JSON": '{"name": "get_weather", "arguments": {"city": ',
    "python with a variable": "[get_weather(city=town)]",
    "python without keywords": "[get_weather('Paris')]",
    "backticks": "`a` ``b`` ```c```",
    "an opened fence": "text\n```json\n",
    "a bracket": "{",
    "maths": "a < b and {x | x > 0}",
}


def read(text: str, sizes: list[int] | None = None, names: tuple[str, ...] = NAMES) -> list[str | FoundCall]:
    reader = CallReader(names)
    parts: list[str | FoundCall] = []
    for size in [*(sizes or []), len(text)]:
        parts += reader.feed(text[:size])
        text = text[size:]
    return joined([*parts, *reader.close()])


def joined(parts: list[str | FoundCall]) -> list[str | FoundCall]:
    out: list[str | FoundCall] = []
    for part in parts:
        if isinstance(part, str) and out and isinstance(out[-1], str):
            out[-1] += part
        elif part:
            out.append(part)
    return out


def calls(parts: list[str | FoundCall]) -> list[tuple[str, object]]:
    return [(part.name, json.loads(part.arguments)) for part in parts if isinstance(part, FoundCall)]


@pytest.mark.parametrize("form", CALLS)
def test_a_call_is_found_in_every_form_models_write(form: str) -> None:
    parts = read(CALLS[form])
    assert calls(parts) == [("get_weather", {"city": "Paris"})]
    assert len(parts) == 1


@pytest.mark.parametrize("kind", TEXTS)
def test_what_is_no_call_is_released_untouched(kind: str) -> None:
    assert read(TEXTS[kind]) == [TEXTS[kind]]


@pytest.mark.parametrize("kind", [*CALLS, *TEXTS])
def test_one_character_at_a_time_gives_the_same(kind: str) -> None:
    text = {**CALLS, **TEXTS}[kind]
    assert read(text, [1] * len(text)) == read(text)


@given(
    st.lists(st.sampled_from([*CALLS.values(), *TEXTS.values(), "\n", "\n\n", " ", "Sure. "]), min_size=1, max_size=4),
    st.lists(st.integers(1, 40), max_size=60),
)
def test_how_an_answer_is_cut_into_pieces_makes_no_difference(texts: list[str], sizes: list[int]) -> None:
    text = "".join(texts)
    assert read(text, sizes) == read(text)


@given(st.text(alphabet="{}[]()<>`\"'\\\n abc_tool_call/json:,=name", max_size=80), st.lists(st.integers(1, 9)))
def test_any_text_without_a_call_comes_out_as_it_went_in(text: str, sizes: list[int]) -> None:
    parts = read(text, sizes, names=("never",))
    assert calls(parts) or parts == [text] * bool(text)


@given(st.dictionaries(st.text(max_size=8), st.one_of(st.integers(), st.text(), st.booleans(), st.none()), max_size=4))
def test_arguments_survive_whatever_is_in_them(arguments: dict[str, object]) -> None:
    body = json.dumps({"name": "noop", "arguments": arguments})
    for text in (body, f"<tool_call>\n{body}\n</tool_call>", f"```json\n{body}\n```", f"[{body}]"):
        assert calls(read(text, [3] * 500)) == [("noop", arguments)]


def test_parallel_calls_are_found_in_all_ways_to_write_them() -> None:
    one, two = '{"name": "get_weather", "arguments": {"city": "Paris"}}', '{"name": "set_timer", "arguments": {"m": 3}}'
    expected = [("get_weather", {"city": "Paris"}), ("set_timer", {"m": 3})]
    for text in (
        f"[{one}, {two}]",
        f"{one}\n{two}",
        f"{one}, {two}",
        f"```json\n{one}\n```\n\n```json\n{two}\n```",
        f"```json\n[{one},\n{two}]\n```",
        f"```json\n{one}\n{two}\n```\n",
        f"<tool_call>\n{one}\n</tool_call>\n<tool_call>\n{two}\n</tool_call>",
        "[get_weather(city='Paris'), set_timer(m=3)]",
    ):
        parts = read(text)
        assert calls(parts) == expected, text
        assert len(parts) == 2, text


def test_text_around_a_call_stays() -> None:
    call = CALLS["fence"]
    assert read(f"Let me look.\n{call}\nThat was it.") == [
        "Let me look.\n",
        FoundCall("get_weather", '{"city":"Paris"}'),
        "\nThat was it.",
    ]


def test_prose_is_not_kept_back() -> None:
    reader = CallReader(NAMES)
    assert reader.feed("The weather") == ["The weather"]
    assert reader.feed(" is fine.") == [" is fine."]


def test_plain_json_is_released_as_soon_as_its_first_key_is_known() -> None:
    reader = CallReader(NAMES)
    assert reader.feed('{"ci') == ['{"ci']
    assert reader.feed('ty": ') == ['ty": ']


def test_json_about_something_with_a_name_is_released_at_its_second_key() -> None:
    reader = CallReader(NAMES)
    assert reader.feed('{"name": "Ada", ') == []
    assert reader.feed('"ag') == ['{"name": "Ada", "ag']


def test_an_answer_that_begins_by_calling_a_made_up_function_is_a_call_of_it() -> None:
    for text in (
        '{"name": "add", "arguments": {"a": 1}}',
        '```json\n{"name": "add", "arguments": {"a": 1}}\n```',
        '<tool_call>{"name": "add", "arguments": {"a": 1}}</tool_call>',
    ):
        assert calls(read(text, [1] * 90)) == [("add", {"a": 1})]


def test_a_tag_without_arguments_is_a_call_without_arguments() -> None:
    assert calls(read('<tool_call>{"name": "noop"}</tool_call>')) == [("noop", {})]


def test_line_breaks_inside_a_string_are_forgiven() -> None:
    assert calls(read('{"name": "noop", "arguments": {"a": "x\ny"}}')) == [("noop", {"a": "x\ny"})]
