"""The types of the Decisions API: questions with closed answers about one input, each answered with probabilities."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from .base import Wire
from .content import Content, TextContent, Usage

Instructions = str | TextContent | list[TextContent]
Probability = Annotated[float, Meta(ge=0, le=1)]


class NoulCriteria(Wire, kw_only=True):
    """What true means, and what false."""

    true_description: str | None = None
    false_description: str | None = None


class NoulQuestion(Wire, kw_only=True, tag_field="type", tag="noul"):
    """Whether something is true."""

    instructions: Instructions
    criteria: NoulCriteria | None = None


class ChoiceQuestion(Wire, kw_only=True, tag_field="type", tag="choice"):
    """Which of several: `criteria` are the options by their ids, with what speaks for each."""

    instructions: Instructions
    criteria: dict[str, str]


class ScoreQuestion(Wire, kw_only=True, tag_field="type", tag="score"):
    """How much: `criteria` describe the levels of a scale from 0 up."""

    instructions: Instructions
    criteria: list[str]


Question = NoulQuestion | ChoiceQuestion | ScoreQuestion


class CreateDecision(Wire, kw_only=True):
    """The body of POST /decisions."""

    model: str
    input: str | Content | list[Content]
    questions: dict[str, Question]


class NoulAnswer(Wire, kw_only=True, tag_field="type", tag="noul"):
    """The probability that it is true, from 0.01 to 0.99; `confidence` is that of the likelier answer."""

    noul: Probability
    confidence: Probability


class ChoiceAnswer(Wire, kw_only=True, tag_field="type", tag="choice"):
    """The likeliest option, and the probability of each."""

    choice: str
    confidence: Probability
    probabilities: dict[str, Probability]


class ScoreAnswer(Wire, kw_only=True, tag_field="type", tag="score"):
    """The expected level, the probability of each, and in `legend` what each means."""

    score: float
    confidence: Probability
    probabilities: dict[str, Probability]
    legend: dict[str, str]


Answer = NoulAnswer | ChoiceAnswer | ScoreAnswer


class Decision(Wire, kw_only=True):
    """The answers by the names of the questions, and what they took."""

    answers: dict[str, Answer]
    usage: Usage | None = None
