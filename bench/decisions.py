"""How far the probabilities of decisions can be believed: closed questions with known answers, put to a real model.

    python -m bench.decisions [--model qwen2.5-coder-1.5b] [--write] [--keep FILE] [--from FILE]

The questions are made from facts: which number is larger, whether one is even, capitals, days, months and years, sums;
half of the yes-or-no questions are true, and the right option of the others stands in any place. They are asked as one
decision each, with an input in common. The answers are put into ten bins by their confidence; the expected calibration
error is the mean distance between confidence and accuracy, weighted by how many fell into each bin. The Brier score is the
mean squared distance of a probability from what was true (of a choice: summed over its options). `--write` puts table and
picture into docs/decisions.md; `--keep` writes every answer as a line of JSON, `--from` reads them back.
"""

from __future__ import annotations

import argparse
import asyncio
import calendar
import json
import random
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from antiphon import judging, weights
from antiphon.models.llamacpp import LlamaCpp
from antiphon.wire import decisions as types
from bench.servers import ROOT

PAGE, PICTURE = ROOT / "docs" / "decisions.md", ROOT / "docs" / "decisions.svg"
BEGIN, END = "<!-- bench.decisions -->", "<!-- /bench.decisions -->"
INPUT = "Questions of general knowledge and of arithmetic, each of which has one right answer."
BINS = 10
CAPITALS = {
    "France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Germany": "Berlin", "Japan": "Tokyo", "Egypt": "Cairo",
    "Canada": "Ottawa", "Australia": "Canberra", "Brazil": "Brasilia", "Norway": "Oslo", "Sweden": "Stockholm",
    "Finland": "Helsinki", "Greece": "Athens", "Portugal": "Lisbon", "Austria": "Vienna", "Poland": "Warsaw",
    "Hungary": "Budapest", "Turkey": "Ankara", "Kenya": "Nairobi", "Peru": "Lima", "Chile": "Santiago", "Cuba": "Havana",
    "Thailand": "Bangkok", "Vietnam": "Hanoi", "Morocco": "Rabat", "Switzerland": "Bern", "Nigeria": "Abuja",
    "Kazakhstan": "Astana", "New Zealand": "Wellington", "Myanmar": "Naypyidaw",
}  # fmt: skip
LARGEST = {
    "Australia": "Sydney", "Canada": "Toronto", "Brazil": "Sao Paulo", "Turkey": "Istanbul", "Switzerland": "Zurich",
    "Morocco": "Casablanca", "Nigeria": "Lagos", "Kazakhstan": "Almaty", "New Zealand": "Auckland", "Myanmar": "Yangon",
    "Vietnam": "Ho Chi Minh City", "Germany": "Hamburg", "Italy": "Milan", "Spain": "Barcelona", "France": "Lyon",
}  # fmt: skip
MONTHS, DAYS = list(calendar.month_name)[1:], list(calendar.day_name)


class Item(NamedTuple):
    """A question and what is true: True or False, or the option."""

    kind: str
    question: types.Question
    truth: bool | str


class Outcome(NamedTuple):
    """What came of one: the confidence in the answer, whether it was right, and the squared distance from the truth."""

    kind: str
    confidence: float
    right: bool
    brier: float


def items(seed: int = 7) -> list[Item]:
    """All questions, the same each time."""
    dice = random.Random(seed)
    found = [*_noul(dice), *_choices(dice)]
    dice.shuffle(found)
    return found


def _noul(dice: random.Random) -> Iterator[Item]:
    def item(kind: str, text: str, truth: bool) -> Item:
        return Item(kind, types.NoulQuestion(instructions=text), truth)

    for number in range(40):
        high = 10 ** dice.choice((2, 3, 4))
        one, two = dice.sample(range(1, high), 2)
        one, two = (max(one, two), min(one, two)) if number % 2 else (min(one, two), max(one, two))
        yield item("which is larger", f"Is {one} greater than {two}?", one > two)
    for number in range(24):
        value = 2 * dice.randrange(5, 4000) + number % 2
        yield item("even or odd", f"Is {value} an even number?", value % 2 == 0)
    for number, (country, capital) in enumerate(CAPITALS.items()):
        wrong = LARGEST.get(country) or dice.choice([city for city in CAPITALS.values() if city != capital])
        city = wrong if number % 2 else capital
        yield item("capitals", f"Is {city} the capital of {country}?", city == capital)
    for number in range(24):
        first = dice.randrange(1500, 2000)
        second = first + dice.randrange(1, 60)
        one, two = (second, first) if number % 2 else (first, second)
        yield item("years", f"Did the year {one} come before the year {two}?", one < two)
    for number in range(14):
        day = number // 2
        after = DAYS[(day + 1) % 7] if number % 2 else DAYS[(day + 3) % 7]
        yield item("days", f"Is {after} the day that follows {DAYS[day]}?", bool(number % 2))


def _choices(dice: random.Random) -> Iterator[Item]:
    def item(kind: str, text: str, options: Iterable[str], truth: str) -> Item:
        shuffled = sorted(set(options) | {truth})
        dice.shuffle(shuffled)
        return Item(kind, types.ChoiceQuestion(instructions=text, criteria=dict.fromkeys(shuffled, "")), truth)

    for country, capital in CAPITALS.items():
        others = dice.sample([city for city in CAPITALS.values() if city != capital], 3)
        largest = [LARGEST[country]] if country in LARGEST else []
        yield item("choice of capitals", f"What is the capital of {country}?", (largest + others)[:3], capital)
    for _ in range(30):
        one, two = dice.randrange(11, 90), dice.randrange(11, 90)
        others = {one + two + step for step in dice.sample([-10, -2, -1, 1, 2, 10, 11, 20], 3)}
        yield item("choice of sums", f"What is {one} + {two}?", map(str, others), str(one + two))
    for place, month in enumerate(MONTHS):
        following = MONTHS[(place + 1) % 12]
        others = dice.sample([one for one in MONTHS if one not in (month, following)], 3)
        yield item("choice of months", f"Which month follows {month}?", others, following)
    for _ in range(20):
        numbers = dice.sample(range(100, 10_000), 4)
        yield item("choice of the largest", "Which number is the largest?", map(str, numbers), str(max(numbers)))


def outcome(item: Item, answer: types.Answer) -> Outcome:
    """How an answer stands to the truth."""
    if isinstance(answer, types.NoulAnswer):
        right = (answer.noul >= 0.5) == item.truth
        return Outcome(item.kind, answer.confidence, right, (answer.noul - bool(item.truth)) ** 2)
    assert isinstance(answer, types.ChoiceAnswer)
    brier = sum((p - (name == item.truth)) ** 2 for name, p in answer.probabilities.items())
    return Outcome(item.kind, answer.confidence, answer.choice == item.truth, brier)


def bins(outcomes: Iterable[Outcome]) -> list[tuple[int, float, float]]:
    """For each bin of confidence: how many, their mean confidence, their accuracy."""
    filled: list[list[Outcome]] = [[] for _ in range(BINS)]
    for one in outcomes:
        filled[min(BINS - 1, int(one.confidence * BINS))].append(one)
    return [
        (len(some), sum(one.confidence for one in some) / len(some), sum(one.right for one in some) / len(some))
        if some
        else (0, 0.0, 0.0)
        for some in filled
    ]


def figures(outcomes: list[Outcome]) -> tuple[float, float, float, float]:
    """Accuracy, mean confidence, expected calibration error, Brier score."""
    count = len(outcomes)
    error = sum(size * abs(confidence - accuracy) for size, confidence, accuracy in bins(outcomes)) / count
    return (
        sum(one.right for one in outcomes) / count,
        sum(one.confidence for one in outcomes) / count,
        error,
        sum(one.brier for one in outcomes) / count,
    )


async def ask(model: LlamaCpp, keep: Path | None) -> tuple[list[Outcome], dict[str, float]]:
    """Put all questions to the model."""
    outcomes, read, cached, began = [], 0, 0, time.monotonic()
    for number, item in enumerate(items()):
        request = types.CreateDecision(model="m", input=INPUT, questions={"q": item.question})
        decision, tokens = await judging.decide(request, model, "m", "bench")
        outcomes.append(outcome(item, decision.answers["q"]))
        read, cached = read + tokens.input, cached + tokens.cached
        if keep is not None:
            with keep.open("a") as file:
                file.write(json.dumps(outcomes[-1]._asdict()) + "\n")
        if number % 20 == 19:
            print(f"{number + 1} asked, {time.monotonic() - began:.0f} s", flush=True)
    told = {"seconds": (time.monotonic() - began) / len(outcomes), "cached": cached / read}
    if keep is not None:
        with keep.open("a") as file:
            file.write(json.dumps(told) + "\n")
    return outcomes, told


def table(name: str, outcomes: list[Outcome], told: dict[str, float]) -> str:
    """Markdown."""
    lines = [
        f"`python -m bench.decisions --write`, {name}, {len(outcomes)} questions:",
        "",
        "| questions | n | accuracy | mean confidence | calibration error | Brier |",
        "|---|--:|--:|--:|--:|--:|",
    ]
    groups = {
        "all": outcomes,
        "yes or no": [one for one in outcomes if not one.kind.startswith("choice")],
        "choice of four": [one for one in outcomes if one.kind.startswith("choice")],
    }
    groups |= {kind: [one for one in outcomes if one.kind == kind] for kind in sorted({one.kind for one in outcomes})}
    for label, some in groups.items():
        accuracy, confidence, error, brier = figures(some)
        lines.append(f"| {label} | {len(some)} | {accuracy:.2f} | {confidence:.2f} | {error:.2f} | {brier:.2f} |")
    if told:
        lines += ["", f"{told['cached']:.0%} of what the questions hold was read before: the input in common."]
    return "\n".join([*lines, "", "![How often answers of a confidence are right](decisions.svg)"])


def picture(outcomes: list[Outcome]) -> str:
    """A reliability diagram: a bar for each bin, its accuracy; a line where accuracy and confidence are the same."""
    side, left, top = 320, 50, 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {side + 80} {side + 80}" font-family="sans-serif" '
        f'font-size="11"><rect width="100%" height="100%" fill="#fff"/>'
    ]
    for place, (count, _, accuracy) in enumerate(bins(outcomes)):
        x, wide, high = left + place * side / BINS, side / BINS - 2, accuracy * side
        if count:
            parts.append(
                f'<rect x="{x + 1:.0f}" y="{top + side - high:.0f}" width="{wide:.0f}" height="{high:.0f}" fill="#5b8ac6"/>'
                f'<text x="{x + wide / 2 + 1:.0f}" y="{top + side - high - 4:.0f}" text-anchor="middle">{count}</text>'
            )
    for tick in range(0, 11, 2):
        x, y = left + tick * side / 10, top + side - tick * side / 10
        parts.append(f'<text x="{x:.0f}" y="{top + side + 16}" text-anchor="middle">{tick / 10:.1f}</text>')
        parts.append(f'<text x="{left - 6}" y="{y + 4:.0f}" text-anchor="end">{tick / 10:.1f}</text>')
    parts.append(
        f'<path d="M{left} {top + side}L{left + side} {top}" stroke="#c0392b" stroke-dasharray="5 4"/>'
        f'<path d="M{left} {top}V{top + side}H{left + side}" stroke="#333" fill="none"/>'
        f'<text x="{left + side / 2:.0f}" y="{top + side + 36}" text-anchor="middle">confidence</text>'
        f'<text transform="translate(14 {top + side / 2:.0f}) rotate(-90)" text-anchor="middle">right</text></svg>\n'
    )
    return "".join(parts)


def write(text: str, drawn: str) -> None:
    """Put both where the page has them."""
    page = PAGE.read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    PAGE.write_text(f"{before}{BEGIN}\n{text}\n{END}{rest.partition(END)[2]}", encoding="utf-8")
    PICTURE.write_text(drawn, encoding="utf-8")


async def main() -> None:
    arguments: Any = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--model", default="qwen2.5-coder-1.5b")
    arguments.add_argument("--write", action="store_true")
    arguments.add_argument("--keep", type=Path)
    arguments.add_argument("--from", type=Path, dest="kept")
    given = arguments.parse_args()
    if given.kept is not None:
        lines = [json.loads(line) for line in given.kept.read_text(encoding="utf-8").splitlines()]
        outcomes = [Outcome(**line) for line in lines if "kind" in line]
        told = next((line for line in lines if "cached" in line), {})
    else:
        model = LlamaCpp(weights.fetch(given.model), context=2048, slots=1)
        try:
            outcomes, told = await ask(model, given.keep)
        finally:
            await model.aclose()
    text = table(given.model, outcomes, told)
    print(text)
    if given.write:
        write(text, picture(outcomes))


if __name__ == "__main__":
    asyncio.run(main())
