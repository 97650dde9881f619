"""Asks the server for everything that google-genai can ask, and prints as JSON which check failed and why.

`conformance.py sync` uses the synchronous client, `conformance.py async` the other one: both look the same to the checks.
"""

import asyncio
import json
import os
import sys
import traceback
import urllib.request

from google import genai

MODEL = "gemini-3-flash-preview"
VERSION = genai.__version__
FIRST = VERSION == "2.0.0"  # its types are looser, and it lets forms of input through that later ones refuse themselves
WEATHER = {
    "type": "function",
    "name": "get_weather",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
}
TIME = {"type": "function", "name": "get_time", "parameters": {"type": "object", "properties": {}}}
TOOLS = [{"type": "google_search"}, {"type": "code_execution"}, WEATHER]
SUMMARIES = {"thinking_summaries": "auto"}


class Asynchronous:
    """The interactions of the asynchronous client."""

    def __init__(self):
        self.client = genai.Client(http_options={"retry_options": {"attempts": 0}})
        self.interactions = self.client.aio.interactions

    def __getattr__(self, name):
        return getattr(self.interactions, name)


class Synchronous:
    """The interactions of the synchronous client, as if they had to be waited for."""

    def __init__(self):
        self.client = genai.Client(http_options={"retry_options": {"attempts": 0}})
        self.interactions = self.client.interactions

    def __getattr__(self, name):
        async def call(*arguments, **named):
            answer = getattr(self.interactions, name)(*arguments, **named)
            return self._events(answer) if named.get("stream") else answer

        return call

    async def _events(self, stream):
        for event in stream:
            yield event


async def collect(stream):
    return [event async for event in await stream]


async def refusal(awaitable):
    """The error with which a call ends."""
    try:
        await awaitable
    except Exception as error:  # noqa: BLE001 - which one is what the caller checks
        return error
    raise AssertionError("it was not refused")


def text_of(interaction):
    return interaction.steps[-1].content[0].text


def kinds(interaction):
    return [step.type for step in interaction.steps]


def class_names(events):
    return [type(event).__name__ for event in events]


# ---------------------------------------------------------------------------------------------------- streams

# In the order in which the scripted model speaks: each step with its class, and the types of its deltas.
STEPS = [
    ("ThoughtStep", {"thought_summary", "thought_signature"}),
    ("ModelOutputStep", {"text"}),
    ("GoogleSearchCallStep", {"google_search_call"}),
    ("GoogleSearchResultStep", {"google_search_result"}),
    ("CodeExecutionCallStep", {"code_execution_call"}),
    ("CodeExecutionResultStep", {"code_execution_result"}),
    ("ThoughtStep", {"thought_summary", "thought_signature"}),
    ("FunctionCallStep", {"arguments_delta"}),
]
EVENTS = {
    "interaction.created": "InteractionCreatedEvent",
    "interaction.status_update": "InteractionStatusUpdate",
    "step.start": "StepStart",
    "step.delta": "StepDelta",
    "step.stop": "StepStop",
    "error": "ErrorEvent",
    "interaction.completed": "InteractionCompletedEvent",
}
DELTAS = {
    "text": "TextDelta",
    "thought_summary": "ThoughtSummaryDelta",
    "thought_signature": "ThoughtSignatureDelta",
    "arguments_delta": "ArgumentsDelta",
    "google_search_call": "GoogleSearchCallDelta",
    "google_search_result": "GoogleSearchResultDelta",
    "code_execution_call": "CodeExecutionCallDelta",
    "code_execution_result": "CodeExecutionResultDelta",
}
FIRST_DELTAS = {  # 2.0.0 has no classes for what tools send: only the type tells
    "text": "DeltaText",
    "thought_summary": "DeltaThoughtSummary",
    "thought_signature": "DeltaThoughtSignature",
    "arguments_delta": "DeltaArgumentsDelta",
}


def check_classes(events):
    """Every event, step and delta is of the class that its type names."""
    for event in events:
        assert type(event).__name__ == EVENTS[event.event_type], event
        older = event.event_type.replace("interaction.completed", "interaction.complete")
        assert event.type == older, event
        if event.event_type == "step.delta":
            expected = FIRST_DELTAS if FIRST else DELTAS
            assert type(event.delta).__name__ == expected.get(event.delta.type, "DeltaText"), event


async def every_kind_of_step_is_streamed_as_its_class(api):
    events = await collect(
        api.create(model=MODEL, input="every kind of step", tools=TOOLS, stream=True, generation_config=SUMMARIES)
    )
    check_classes(events)
    starts = [event for event in events if event.event_type == "step.start"]
    assert [event.index for event in starts] == list(range(len(STEPS)))
    for event, (name, deltas) in zip(starts, STEPS, strict=True):
        assert type(event.step).__name__ == name, event
        own = [other for other in events if other.event_type == "step.delta" and other.index == event.index]
        assert {other.delta.type for other in own} == deltas, own
    last = events[-1]
    assert last.event_type == "interaction.completed" and last.interaction.status == "requires_action"
    assert last.interaction.usage.total_tokens > 0
    whole = await api.get(last.interaction.id)
    assert [type(step).__name__ for step in whole.steps] == ["UserInputStep", *(name for name, _ in STEPS)]
    assert whole.steps[1].summary[0].text == "First I look it up." and whole.steps[1].signature
    assert whole.steps[3].arguments.queries == ["weather in Paris"]
    assert whole.steps[4].call_id == whole.steps[3].id
    assert whole.steps[6].result == "21\n" and not whole.steps[6].is_error
    assert whole.steps[8].arguments == {"city": "Paris", "days": 2}


async def a_run_that_fails_half_way_streams_an_error_and_an_end(api):
    events = await collect(api.create(model=MODEL, input="fail half-way", stream=True))
    check_classes(events)
    error, last = events[-2:]
    assert error.event_type == "error" and last.event_type == "interaction.completed"
    assert (error.error.code, error.error.message) == ("service_unavailable", "The model has left.")
    assert last.interaction.status == "failed"
    failed = await api.get(last.interaction.id)
    assert failed.status == "failed" and failed.error["message"] == "The model has left.", failed


async def a_stream_can_be_read_again_and_resumed_anywhere(api):
    events = await collect(
        api.create(model=MODEL, input="every kind of step", tools=TOOLS, stream=True, generation_config=SUMMARIES)
    )
    id = events[-1].interaction.id
    again = await collect(api.get(id, stream=True))
    assert again == events
    check_classes(again)
    for place in (0, 5, len(events) - 2):
        rest = await collect(api.get(id, stream=True, last_event_id=events[place].event_id))
        assert rest == events[place + 1 :], place


async def a_background_run_can_be_streamed(api):
    events = await collect(api.create(model=MODEL, input="joke about programming", background=True, stream=True))
    check_classes(events)
    assert all(event.event_id for event in events)
    assert events[-1].interaction.status == "completed"
    assert (await api.get(events[-1].interaction.id)).status == "completed"


async def a_stream_that_is_not_stored_has_no_id(api):
    events = await collect(api.create(model=MODEL, input="Hello", stream=True, store=False))
    check_classes(events)
    assert events[0].interaction.id == "" and events[-1].interaction.id == ""
    assert not any(event.event_id for event in events)


# ---------------------------------------------------------------------------------------------------- input

HELLO = {"type": "text", "text": "Hello"}
FORMS = {
    "text": "Hello",
    "content": HELLO,
    "contents": [HELLO],
    "steps": [{"type": "user_input", "content": [HELLO]}],
}
FORMS_OF_THE_FIRST = {
    "step": {"type": "user_input", "content": [HELLO]},
    "turns": [{"role": "user", "content": "Hello"}],
    "more turns": [
        {"role": "user", "content": "Good morning"},
        {"role": "model", "content": [{"type": "text", "text": "Good morning!"}]},
        {"role": "user", "content": "Hello"},
    ],
    "a step with plain text": [{"type": "user_input", "content": "Hello"}],
}


async def every_form_of_input_is_understood(api):
    for name, form in FORMS.items():
        assert text_of(await api.create(model=MODEL, input=form)) == "You said: Hello", name


async def forms_that_only_the_first_client_lets_through_are_understood(api):
    for name, form in FORMS_OF_THE_FIRST.items():
        if FIRST:
            assert text_of(await api.create(model=MODEL, input=form)) == "You said: Hello", name
        else:
            error = await refusal(api.create(model=MODEL, input=form))
            assert type(error).__name__ == "ValidationError", (name, error)  # its own: nothing was sent


async def a_conversation_kept_by_the_client_is_taken_back(api):
    first = await api.create(
        model=MODEL, input="every kind of step", tools=TOOLS, store=False, generation_config=SUMMARIES
    )
    call = first.steps[-1]
    history = [
        {"type": "user_input", "content": [{"type": "text", "text": "every kind of step"}]},
        *first.steps,
        {"type": "function_result", "call_id": call.id, "name": call.name, "result": "21"},
    ]
    second = await api.create(model=MODEL, input=history, tools=TOOLS, store=False)
    assert text_of(second) == "It is 21 degrees in Paris."


async def media_arrive_with_the_text(api):
    picture = {"type": "image", "data": "iVBORw0KGgo=", "mime_type": "image/png"}
    interaction = await api.create(model=MODEL, input=[HELLO, picture])
    whole = await api.get(interaction.id)
    assert [item.type for item in whole.steps[0].content] == ["text", "image"]
    assert whole.steps[0].content[1].mime_type == "image/png"


# ---------------------------------------------------------------------------------------------------- state


async def the_whole_timeline_is_read_back(api):
    created = await api.create(model=MODEL, input="Hello", system_instruction="Be brief.")
    assert kinds(created) == ["model_output"] and created.status == "completed" and created.model == MODEL
    whole = await api.get(created.id)
    assert kinds(whole) == ["user_input", "model_output"]
    assert whole.steps[0].content[0].text == "Hello"
    assert whole.usage.total_tokens == created.usage.total_tokens and whole.created == created.created


async def an_interaction_remembers_the_ones_before_it(api):
    first = await api.create(model=MODEL, input="Hi, my name is Phil.")
    second = await api.create(model=MODEL, input="Good to know.", previous_interaction_id=first.id)
    third = await api.create(model=MODEL, input="What is my name?", previous_interaction_id=second.id)
    fork = await api.create(model=MODEL, input="What is my name?", previous_interaction_id=first.id)
    assert text_of(third) == text_of(fork) == "Your name is Phil."
    assert (await api.get(third.id)).previous_interaction_id == second.id


async def a_background_run_is_cancelled(api):
    started = await api.create(model=MODEL, input="say nothing for ever", background=True)
    assert started.status == "in_progress"
    assert (await api.cancel(started.id)).status == "cancelled"
    assert (await api.get(started.id)).status == "cancelled"
    events = await collect(api.get(started.id, stream=True))
    check_classes(events)
    assert events[-1].interaction.status == "cancelled"


async def what_has_ended_cannot_be_cancelled(api):
    done = await api.create(model=MODEL, input="Hello")
    error = await refusal(api.cancel(done.id))
    assert (type(error).__name__, error.status_code) == ("BadRequestError", 400), error
    assert "is not running: its status is 'completed'" in str(error)


async def what_is_deleted_is_gone(api):
    created = await api.create(model=MODEL, input="Hello")
    await api.delete(created.id)
    for call in (api.get(created.id), api.delete(created.id), api.cancel(created.id)):
        error = await refusal(call)
        assert (type(error).__name__, error.status_code) == ("NotFoundError", 404), error
        assert f"Interaction '{created.id}' was not found." in str(error)


async def what_is_not_stored_cannot_be_read(api):
    created = await api.create(model=MODEL, input="Hello", store=False)
    assert not created.id and text_of(created) == "You said: Hello"


async def interactions_are_listed(api):
    created = await api.create(model=MODEL, input="Hello")
    request = urllib.request.Request(
        f"{os.environ['GOOGLE_GEMINI_BASE_URL']}/v1beta/interactions?page_size=1",
        headers={"x-goog-api-key": os.environ["GEMINI_API_KEY"]},
    )
    with urllib.request.urlopen(request) as response:  # noqa: ASYNC210 - nothing else runs
        page = json.load(response)
    assert [item["id"] for item in page["interactions"]] == [created.id]
    assert page["next_page_token"]


# ---------------------------------------------------------------------------------------------------- functions

RESULTS = {
    "text": "21",
    "object": {"degrees": 21, "sky": ["blue"]},
    "contents": [{"type": "text", "text": "21"}, {"type": "image", "data": "iVBORw0KGgo=", "mime_type": "image/png"}],
}


async def results_are_matched_to_calls_in_any_order_and_form(api):
    for name, result in RESULTS.items():
        asked = await api.create(model=MODEL, input="two calls", tools=[WEATHER, TIME])
        assert asked.status == "requires_action" and [step.name for step in asked.steps] == ["get_weather", "get_time"]
        weather, time = asked.steps
        answers = [
            {"type": "function_result", "call_id": time.id, "name": "get_time", "result": "12:00"},
            {"type": "function_result", "call_id": weather.id, "name": "get_weather", "result": result},
        ]
        answered = await api.create(model=MODEL, input=answers, previous_interaction_id=asked.id)
        assert text_of(answered) == "It is 21 degrees in Paris.", name


async def a_function_may_fail(api):
    asked = await api.create(model=MODEL, input="two calls", tools=[WEATHER, TIME])
    results = [
        {"type": "function_result", "call_id": step.id, "result": "no such city", "is_error": True}
        for step in asked.steps
    ]
    answered = await api.create(model=MODEL, input=results, previous_interaction_id=asked.id)
    assert text_of(answered) == "It is noon in Paris."
    whole = await api.get(answered.id)
    assert [step.is_error for step in whole.steps[:2]] == [True, True]


async def a_result_without_its_call_is_refused(api):
    asked = await api.create(model=MODEL, input="two calls", tools=[WEATHER, TIME])
    stray = [{"type": "function_result", "call_id": "nobody", "result": "21"}]
    error = await refusal(api.create(model=MODEL, input=stray, previous_interaction_id=asked.id))
    assert type(error).__name__ == "BadRequestError", error
    assert "call_id 'nobody' at 'input' does not answer any call" in str(error)


async def a_function_that_must_be_called_is_called(api):
    asked = await api.create(
        model=MODEL,
        input="Hello",
        tools=[WEATHER, TIME],
        generation_config={"tool_choice": {"allowed_tools": {"mode": "any", "tools": ["get_time"]}}},
    )
    assert [step.name for step in asked.steps] == ["get_time"]


async def an_answer_has_the_form_that_was_asked_for(api):
    schema = {
        "type": "object",
        "properties": {"city": {"type": "string"}, "degrees": {"type": "integer", "minimum": 5}},
        "required": ["city", "degrees"],
    }
    form = {"type": "text", "mime_type": "application/json", "schema": schema}
    for response_format in (form, [form], schema) if FIRST else (form, [form]):
        interaction = await api.create(model=MODEL, input="Hello", response_format=response_format)
        assert json.loads(text_of(interaction)) == {"city": "", "degrees": 5}


async def settings_of_the_generation_are_taken(api):
    config = {
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "max_output_tokens": 2,
        "thinking_level": "low",
        "stop_sequences": ["bugs"],
    }
    interaction = await api.create(model=MODEL, input="joke about programming", generation_config=config)
    assert interaction.status == "incomplete" and text_of(interaction) == "Why do "


# ---------------------------------------------------------------------------------------------------- errors


async def errors_arrive_as_their_class_with_our_words(api):
    expected = [
        (api.get("v1_nothing"), "NotFoundError", 404, "Interaction 'v1_nothing' was not found."),
        (api.create(model="nobody", input="Hello"), "NotFoundError", 404, "There is no model 'nobody'."),
        (api.create(model=MODEL, input=""), "BadRequestError", 400, "Request has empty input."),
        (api.create(model=MODEL, input="too many"), "RateLimitError", 429, "One at a time, please."),
        (api.create(model=MODEL, input="fail half-way"), "InternalServerError", 503, "The model has left."),
        (
            api.create(model=MODEL, input="Hello", background=True, store=False),
            "BadRequestError",
            400,
            "store=true is required for background interactions",
        ),
        (
            api.create(model=MODEL, input="Hello", previous_interaction_id="v1_nothing"),
            "NotFoundError",
            404,
            "Interaction 'v1_nothing' at 'previous_interaction_id' was not found.",
        ),
    ]
    for call, name, status, words in expected:
        error = await refusal(call)
        assert (type(error).__name__, error.status_code) == (name, status), error
        assert words in str(error), error


async def a_stream_that_cannot_begin_raises(api):
    error = await refusal(collect(api.create(model="nobody", input="Hello", stream=True)))
    assert type(error).__name__ == "NotFoundError" and "There is no model 'nobody'." in str(error)


# ----------------------------------------------------------------------------------------------------

CHECKS = [
    every_kind_of_step_is_streamed_as_its_class,
    a_run_that_fails_half_way_streams_an_error_and_an_end,
    a_stream_can_be_read_again_and_resumed_anywhere,
    a_background_run_can_be_streamed,
    a_stream_that_is_not_stored_has_no_id,
    every_form_of_input_is_understood,
    forms_that_only_the_first_client_lets_through_are_understood,
    a_conversation_kept_by_the_client_is_taken_back,
    media_arrive_with_the_text,
    the_whole_timeline_is_read_back,
    an_interaction_remembers_the_ones_before_it,
    a_background_run_is_cancelled,
    what_has_ended_cannot_be_cancelled,
    what_is_deleted_is_gone,
    what_is_not_stored_cannot_be_read,
    interactions_are_listed,
    results_are_matched_to_calls_in_any_order_and_form,
    a_function_may_fail,
    a_result_without_its_call_is_refused,
    a_function_that_must_be_called_is_called,
    an_answer_has_the_form_that_was_asked_for,
    settings_of_the_generation_are_taken,
    errors_arrive_as_their_class_with_our_words,
    a_stream_that_cannot_begin_raises,
]


async def main():
    api = Synchronous() if sys.argv[1] == "sync" else Asynchronous()
    faults = {}
    for check in CHECKS:
        try:
            await check(api)
        except Exception:  # noqa: BLE001 - one check that fails must not hide the others
            faults[check.__name__] = traceback.format_exc()
    print(json.dumps({"version": VERSION, "checks": len(CHECKS), "faults": faults}))


asyncio.run(main())
