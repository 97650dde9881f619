"""Decisions: what is asked of the model, and what its tokens' probabilities mean."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec
import pytest

from antiphon import judging, wire
from antiphon.wire import decisions as types

NOUL = {"type": "noul", "instructions": "Is it positive?"}
CHOICE = {"type": "choice", "instructions": "Which?", "criteria": {"spam": "unwanted", "ham": ""}}
SCORE = {"type": "score", "instructions": "How angry?", "criteria": ["calm", "cross", "furious"]}


def request(**given: Any) -> types.CreateDecision:
    body = {"model": "m", "input": "Nice work!", "questions": {"q": NOUL}} | given
    return msgspec.json.decode(json.dumps(body), type=types.CreateDecision)


def asked(question: Any) -> judging.Asked:
    made = request(questions={"q": question})
    return judging.asked(made.questions["q"], judging.checked(made))


def answer(question: Any, *probabilities: float) -> types.Answer:
    return judging.answered(request(questions={"q": question}).questions["q"], [math.log(p) for p in probabilities])


def test_each_kind_of_question_has_labels_of_one_token():
    assert asked(NOUL).options == ("Yes", "No")
    assert asked(CHOICE).options == ("A", "B")
    assert asked(SCORE).options == ("A", "B", "C")


def test_questions_about_one_input_begin_alike():
    texts = [asked(question).text for question in (NOUL, CHOICE, SCORE)]
    shared = texts[0].partition("Question:")[0]
    assert "Nice work!" in shared and all(text.startswith(shared) for text in texts)


def test_criteria_are_told():
    told = asked(NOUL | {"criteria": {"true_description": "praise", "false_description": "blame"}}).text
    assert "Yes means: praise\nNo means: blame" in told
    assert "A. spam: unwanted\nB. ham\n" in asked(CHOICE).text
    assert "A. calm\nB. cross\nC. furious\n" in asked(SCORE).text


def test_a_noul_is_the_share_of_yes_within_the_apis_bounds():
    assert answer(NOUL, 0.3, 0.1) == types.NoulAnswer(noul=0.75, confidence=0.75)
    assert answer(NOUL, 0.1, 0.3) == types.NoulAnswer(noul=0.25, confidence=0.75)
    assert answer(NOUL, 1.0, 1e-12) == types.NoulAnswer(noul=0.99, confidence=0.99)


def test_a_choice_is_the_likeliest_option():
    got = answer(CHOICE, 0.1, 0.4)
    assert got == types.ChoiceAnswer(choice="ham", confidence=0.8, probabilities={"spam": 0.2, "ham": 0.8})


def test_a_score_is_the_expected_level():
    got = answer(SCORE, 0.1, 0.2, 0.1)
    assert isinstance(got, types.ScoreAnswer)
    assert (got.score, got.confidence) == (1.0, 0.5)
    assert got.probabilities == {"0": 0.25, "1": 0.5, "2": 0.25}
    assert got.legend == {"0": "calm", "1": "cross", "2": "furious"}


def test_text_comes_in_every_form_of_the_types():
    for form in ("a", {"type": "text", "text": "a"}, [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]):
        assert judging.checked(request(input=form, questions={"q": NOUL | {"instructions": form}})).startswith("a")


REFUSED = {
    "no question": ({"questions": {}}, "at least one"),
    "too many": ({"questions": {str(n): NOUL for n in range(101)}}, "At most 100"),
    "a name of nothing": ({"questions": {" ": NOUL}}, "name is empty"),
    "no input": ({"input": " "}, "no text at 'input'"),
    "no input at all": ({"input": []}, "no text at 'input'"),
    "a picture": ({"input": [{"type": "image", "data": "aGk="}]}, r"image content at 'input\[0\]'"),
    "a sound": ({"input": {"type": "audio", "data": "aGk="}}, "audio content at 'input'"),
    "no instructions": ({"questions": {"q": NOUL | {"instructions": ""}}}, "'questions.q.instructions'"),
    "one option": ({"questions": {"q": CHOICE | {"criteria": {"a": ""}}}}, "1 options at 'questions.q.criteria'"),
    "27 options": (
        {"questions": {"q": CHOICE | {"criteria": {str(n): "" for n in range(27)}}}},
        "27 options at 'questions.q.criteria': there must be 2 to 26",
    ),
    "an option without a name": (
        {"questions": {"q": CHOICE | {"criteria": {"": "", "b": ""}}}},
        "no name of an option",
    ),
    "a name with blanks": ({"questions": {"q": CHOICE | {"criteria": {" a": "", "b": ""}}}}, "no name of an option"),
    "a name with a line's end": ({"questions": {"q": CHOICE | {"criteria": {"a\nb": "", "b": ""}}}}, "no name of an"),
    "one level": ({"questions": {"q": SCORE | {"criteria": ["a"]}}}, "1 levels"),
    "an empty level": ({"questions": {"q": SCORE | {"criteria": ["a", " "]}}}, r"'questions.q.criteria\[1\]' is empty"),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_what_means_nothing_is_refused_with_its_place(fault):
    given, words = REFUSED[fault]
    with pytest.raises(wire.InvalidRequest, match=words):
        judging.checked(request(**given))


# ------------------------------------------------------------------------ the chat dialect's probabilities


def completion(*told: tuple[str, float], usage: Any = None) -> bytes:
    first, *_ = told or [("", 0.0)]
    top = [{"token": token, "logprob": math.log(p)} for token, p in told]
    content = [{"token": first[0], "logprob": math.log(first[1] or 1.0), "top_logprobs": top}] if told else []
    return json.dumps({"choices": [{"logprobs": {"content": content}}], "usage": usage}).encode()


def shares(*told: tuple[str, float], options: tuple[str, ...] = ("Yes", "No")) -> list[float]:
    return [round(math.exp(one), 6) for one in judging.weighed(completion(*told), options).logprobs]


def test_tokens_that_mean_one_option_are_added():
    assert shares(("Yes", 0.5), (" yes", 0.1), ("YES", 0.05), ("No", 0.2), ("Maybe", 0.1)) == [0.65, 0.2]
    assert shares(("A", 0.5), ("▁A", 0.1), ("a", 0.2), ("B", 0.1), options=("A", "B")) == [0.6, 0.1]


def test_an_option_that_is_not_told_gets_a_floor():
    assert shares(("Yes", 0.9), ("Sure", 0.05)) == [0.9, 0.005]


def test_what_the_question_took_is_told():
    usage = {"prompt_tokens": 9, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 7}}
    told = judging.weighed(completion(("Yes", 0.9), usage=usage), ("Yes", "No")).tokens
    assert (told.input, told.output, told.cached) == (9, 1, 7)


@pytest.mark.parametrize("body", [completion(), b'{"choices": [{}]}', b'{"choices": []}'])
def test_a_server_that_tells_no_probabilities_is_refused(body):
    with pytest.raises(wire.InvalidRequest, match="tells no probabilities"):
        judging.weighed(body, ("Yes", "No"))


def test_a_model_that_answers_something_else_is_a_fault():
    with pytest.raises(wire.Internal, match="none of the allowed answers"):
        judging.weighed(completion(("Perhaps", 0.9), ("I", 0.1)), ("Yes", "No"))


def test_what_is_no_completion_is_a_fault():
    with pytest.raises(wire.Unavailable):
        judging.weighed(b"<html>", ("Yes", "No"))
