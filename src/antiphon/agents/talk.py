"""What a conversation asks of an agent: the question, what was given with it, and a plan that waits for approval. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from antiphon import wire
from antiphon.agents.report import read_plan
from antiphon.agents.research_state import Plan
from antiphon.words import stem

_URL = re.compile(r"https?://[^\s<>\"'`\\{}|^\[\]]+", re.IGNORECASE)
_MOST_URLS = 10
_WORD = re.compile(r"[^\W\d_]+")
_LONGEST_TURN = 1500  # characters of an earlier turn
# A reply that has no other words than these approves a plan.
_APPROVAL = """ok okay yes yep sure good great fine perfect nice excellent plan the this it is looks look looking like
approve approved approval go ahead start begin proceed continue do run execute please thanks thank you research now lgtm
that s me to i all right sounds and let us with your
sim ótimo bom perfeito да хорошо отлично давай 好的 好 可以 开始 はい 네 좋아요
ja gut sehr super passt los mach bitte danke der plan ist so einverstanden weiter fang an
oui bien très parfait merci le est vas y d accord continue commence
sí si bueno bien perfecto gracias el adelante vale está de acuerdo continúa empieza"""
_APPROVING = frozenset(map(stem, _APPROVAL.split()))


class Talk(msgspec.Struct, frozen=True, kw_only=True):
    """A conversation as an agent sees it.

    `wish` is what the user said last. `plan` is the plan it answers, whose `question` is what the user asked for then.
    `before` is what was said before that question, or before the wish where there is no plan, shortened. `attached` are
    pictures and documents.
    """

    wish: str
    plan: Plan | None = None
    before: str = ""
    attached: tuple[wire.ImageContent | wire.DocumentContent, ...] = ()

    @property
    def asked(self) -> str:
        """What is to be found out, in the user's words."""
        return self.plan.question if self.plan is not None else self.wish

    @property
    def approves(self) -> bool:
        """Whether the user has nothing to change in the plan."""
        words = _WORD.findall(self.wish)
        return not re.search(r"\d", self.wish) and all(stem(word) in _APPROVING for word in words)

    @property
    def urls(self) -> list[str]:
        """The pages that the user names."""
        asked = self.plan.question if self.plan else ""
        found = [url.rstrip(".,;:!?)*_") for url in _URL.findall(f"{asked}\n{self.wish}")]
        return list(dict.fromkeys(found))[:_MOST_URLS]


def talk_of(steps: Sequence[wire.Step]) -> Talk:
    """What the steps of a conversation, this request's input last, come to."""
    plan: Plan | None = None
    turns: list[tuple[str, str]] = []  # who, what
    attached: list[wire.ImageContent | wire.DocumentContent] = []
    for step in steps:
        if isinstance(step, wire.UserInputStep):
            _add(turns, "User", "\n".join(_texts(step.content)))
            attached += _media(step.content)
        elif isinstance(step, wire.ModelOutputStep):
            _add(turns, "Answer", "".join(_texts(step.content)))
    asked = [place for place, (who, _) in enumerate(turns) if who == "User"]
    wish = turns[asked[-1]][1] if asked else ""
    earlier = turns[: asked[-1]] if asked else []
    begun, place = "", 0  # what the plan is made for, and where it was said
    for number, (who, said) in enumerate(earlier):
        if who != "User":
            plan = read_plan(said, begun)
        elif plan is None:
            begun, place = said, number
    talked = earlier if plan is None else earlier[:place]
    before = "\n\n".join(f"{who}: {said[:_LONGEST_TURN]}" for who, said in talked[-4:])
    return Talk(wish=wish, plan=plan, before=before, attached=tuple(attached))


def _add(turns: list[tuple[str, str]], who: str, text: str) -> None:
    """One more piece of a turn: several outputs in a row are one, as are several inputs."""
    if turns and turns[-1][0] == who:
        turns[-1] = (who, turns[-1][1] + ("\n" if who == "User" else "") + text)
    else:
        turns.append((who, text))


def _texts(content: object) -> list[str]:
    if isinstance(content, str):
        return [content]
    parts = content if isinstance(content, list) else []
    return [part.text for part in parts if isinstance(part, wire.TextContent)]


def _media(content: object) -> list[wire.ImageContent | wire.DocumentContent]:
    parts = content if isinstance(content, list) else []
    return [part for part in parts if isinstance(part, wire.ImageContent | wire.DocumentContent)]
