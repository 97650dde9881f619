"""The questions, their gold answers and their gold pages (`questions.toml`)."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from bench.research.corpus import BASE

FILE = Path(__file__).with_name("questions.toml")


@dataclass(frozen=True)
class Gold:
    """A page that must be read, what it says there, and other pages that say the same."""

    url: str
    says: str
    also: tuple[str, ...] = ()

    @property
    def urls(self) -> frozenset[str]:
        return frozenset((self.url, *self.also))


@dataclass(frozen=True)
class Question:
    """What is asked. Right is what has one form of each group of `answer`, and none of `wrong`, in its conclusion."""

    id: str
    ask: str
    answer: tuple[tuple[str, ...], ...]
    pages: tuple[Gold, ...]
    wrong: tuple[str, ...] = ()


def load(path: Path = FILE) -> list[Question]:
    """All questions, in the file's order."""
    return [
        Question(
            id=one["id"],
            ask=one["ask"],
            answer=tuple(map(tuple, one["answer"])),
            pages=tuple(
                Gold(BASE + page["url"], page["says"], tuple(BASE + other for other in page.get("also", ())))
                for page in one["pages"]
            ),
            wrong=tuple(one.get("wrong", ())),
        )
        for one in tomllib.loads(path.read_text(encoding="utf-8"))["question"]
    ]


def drawn(questions: list[Question], count: int) -> list[Question]:
    """So many of them, spread evenly over the file, so that every part of the corpus is asked about."""
    if count >= len(questions):
        return questions
    return [questions[place * len(questions) // count] for place in range(count)]
