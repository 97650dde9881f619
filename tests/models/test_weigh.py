"""Back-ends that tell how likely an answer's first token is: what they ask of their servers, and what comes back."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest

from antiphon import judging, weights, wire
from antiphon.models.llamacpp import LlamaCpp
from antiphon.models.openai_chat import OpenAIChat
from antiphon.models.scripted import Script, Scripted, ScriptedTurn
from antiphon.ports import Turn
from antiphon.wire import decisions as types
from services import service, status


def turn(text: str = "Is it so?") -> Turn:
    return judging.turn_of(judging.Asked(text, ("Yes", "No")), "m", "c")


def top(*told: tuple[str, float]) -> Any:
    likely = [{"token": token, "logprob": math.log(p)} for token, p in told]
    message = {"role": "assistant", "content": told[0][0]}
    choice = {
        "message": message,
        "finish_reason": "length",
        "logprobs": {"content": [{**likely[0], "top_logprobs": likely}]},
    }
    return {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 1}}


def test_a_server_is_asked_for_one_token_and_its_probabilities() -> None:
    async def scenario() -> None:
        async with service(top(("Yes", 0.6), ("No", 0.3))) as server:
            model = OpenAIChat(server.url, "big")
            found = await model.weigh(turn(), ("Yes", "No"))
            await model.aclose()
        assert [round(math.exp(one), 6) for one in found.logprobs] == [0.6, 0.3]
        assert (found.tokens.input, found.tokens.output) == (5, 1)
        asked = json.loads(server.asked[0][4])
        wanted = {
            "model": "big",
            "max_tokens": 1,
            "logprobs": True,
            "top_logprobs": 20,
            "stream": False,
            "temperature": 0.0,
        }
        assert wanted.items() <= asked.items()
        assert asked["messages"][-1] == {"role": "user", "content": "Is it so?"}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("code", "kind"), [(400, wire.InvalidRequest), (500, wire.Unavailable), (429, wire.RateLimited)]
)
def test_a_servers_refusal_is_told(code: int, kind: type[wire.ApiError]) -> None:
    async def scenario() -> None:
        async with service(status(code)) as server:
            model = OpenAIChat(server.url)
            with pytest.raises(kind):
                await model.weigh(turn(), ("Yes", "No"))
            await model.aclose()

    asyncio.run(scenario())


def test_the_scripted_model_goes_by_the_first_word_it_would_say() -> None:
    async def scenario() -> None:
        model = Scripted(Script(turns=[ScriptedTurn(when="so", text="Yes, certainly.")]))
        found = await model.weigh(turn(), ("Yes", "No"))
        assert [round(math.exp(one), 6) for one in found.logprobs] == [0.9, 0.1]
        unsure = await model.weigh(turn("Hm?"), ("A", "B", "C", "D"))
        assert [round(math.exp(one), 6) for one in unsure.logprobs] == [0.25] * 4

    asyncio.run(scenario())


@pytest.mark.model
def test_a_real_model_reads_the_input_once_for_all_questions() -> None:
    """With the smallest one, whose answers are worth little: what is tested is what it reads."""

    async def scenario() -> None:
        model = LlamaCpp(weights.fetch("smollm2-135m"), context=2048, slots=1)
        questions: dict[str, types.Question] = {
            "noul": types.NoulQuestion(instructions="Is it about the sea?"),
            "choice": types.ChoiceQuestion(instructions="What is it about?", criteria={"sea": "water", "sky": "air"}),
            "score": types.ScoreQuestion(instructions="How long is it?", criteria=["short", "long", "very long"]),
        }
        request = types.CreateDecision(model="m", input="Tell me about the sea. " * 60, questions=questions)
        try:
            decision, tokens = await judging.decide(request, model, "m", "c")
        finally:
            await model.aclose()
        assert set(decision.answers) == set(questions)
        assert tokens.output == 3
        assert tokens.cached > 2 * 300  # of the second and the third, all but the question
        assert tokens.input - tokens.cached < 300 + 3 * 120 + 200

    asyncio.run(scenario())
