"""What is asked of the servers: the kinds of runs, what the scripted model says in each, and how each is asked for."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torture.invariants import Said

MODEL = "gemini-3-flash-preview"  # an API name: the first model of the server answers to it
FLOOD = "flood"
ONCE = ("code_execution",)  # the tools whose calls must not be made twice
_TALK = " ".join(f"word{place}" for place in range(24))
_FLOOD = 1500
_SEARCH = "google_search"
_TURNS: dict[str, list[dict[str, Any]]] = {
    "agent": [
        {"thought": "I should look first.", "text": "One moment, please.", "calls": _SEARCH},
        {"after": _SEARCH, "calls": "code_execution"},  # no words before: a script goes by what came last
        {"after": "code_execution", "text": "The answer, after all of this, is forty two."},
    ],
    "talk": [{"thought": "This is easy.", "text": _TALK}],
    "ask": [{"text": "I have to ask you.", "calls": "where"}],
    "told": [{"after": "where", "text": "Thank you, that is far away."}],
    "broken": [{"text": "This goes wrong at its end, sadly.", "fault": {"kind": "error", "after": 5}}],
    "poison": [{"text": "Whoever says this dies.", "fault": {"kind": "kill", "after": 2}}],
}
_ARGUMENTS = {_SEARCH: 'queries = ["a", "b"]', "code_execution": 'code = "print(42)"', "where": 'city = "Ulm"'}
_ENDS = {"ask": "requires_action", "broken": "failed", "poison": "failed"}
_DECLARED: list[dict[str, Any]] = [{"type": _SEARCH}, {"type": "code_execution"}]
_FUNCTION = {"type": "function", "name": "where", "parameters": {"type": "object", "properties": {}}}
WAYS = ("background", "background stream", "foreground", "foreground stream")


def _turns(kind: str) -> list[list[Said]]:
    if kind == FLOOD:
        return [[Said("model_output", _flood_text())]]
    turns = []
    for turn in _TURNS[kind]:
        said = [Said("thought", turn["thought"])] if "thought" in turn else []
        said += [Said("model_output", turn["text"])] if "text" in turn else []
        if call := turn.get("calls"):
            said.append(Said("function_call" if call == "where" else f"{call}_call"))
        turns.append(said)
    return turns


def _flood_text() -> str:
    return " ".join(f"{place:0400}" for place in range(_FLOOD))


def write_scripts(folder: Path, tokens_per_second: float) -> list[str]:
    """Write the scripts of the models and tools; the arguments of a server that plays them."""
    lines = [f"tokens_per_second = {tokens_per_second}"]
    for kind, turns in _TURNS.items():
        lines += itertools.chain.from_iterable(_toml(kind, turn) for turn in turns)
    (folder / "torture.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "flood.toml").write_text(f'[[turns]]\ntext = "{_flood_text()}"\n', encoding="utf-8")
    tools = [f"--tool={type}=torture.effects:{name}" for type, name in ((_SEARCH, "Search"), (ONCE[0], "Execution"))]
    return [
        f"--model=scripted:{folder / 'torture.toml'}",
        f"--model={FLOOD}=scripted:{folder / 'flood.toml'}",
        *tools,
    ]


def _toml(kind: str, turn: dict[str, Any]) -> Iterator[str]:
    yield "[[turns]]"
    if "after" in turn:
        yield f'after = "{turn["after"]}"'
    if kind != "told":  # it is told a result, and no words
        yield f'when = "^{kind} "'
    for name in ("thought", "text"):
        if name in turn:
            yield f'{name} = "{turn[name]}"'
    if call := turn.get("calls"):
        yield f'calls = [{{ name = "{call}", arguments = {{ {_ARGUMENTS[call]} }} }}]'
    if fault := turn.get("fault"):
        yield f'fault = {{ kind = "{fault["kind"]}", after = {fault["after"]} }}'


@dataclass
class Job:
    """One run to be asked for, and how its client behaves.

    `drops` are the events after which the client hangs up, and comes back; `strike_at` the event at which the round's
    fault is done; `cancel_at` the one at which the client cancels; `slow` a client that reads a little at a time;
    `patience` the seconds after which it hangs up on its own first request, answered or not, and sends it again;
    `keyed` whether its requests carry an Idempotency-Key, so that this is certain to begin nothing twice;
    `may_fall` whether it may fail for the number of times that its server has died.
    """

    kind: str
    way: str
    mark: str
    drops: frozenset[int] = frozenset()
    strike_at: int | None = None
    cancel_at: int | None = None
    slow: bool = False
    patience: float | None = None
    keyed: bool = True
    may_fall: bool = False
    previous: str | None = None  # the interaction whose call this one answers
    call: str = ""
    turns: list[list[Said]] = field(init=False)

    def __post_init__(self) -> None:
        self.turns = _turns(self.kind)

    @property
    def background(self) -> bool:
        return self.way.startswith("background")

    @property
    def streamed(self) -> bool:
        return self.way.endswith("stream")

    @property
    def ends(self) -> tuple[str, ...]:
        """The statuses that it may end with."""
        also = ["cancelled"] * (self.cancel_at is not None) + ["failed"] * self.may_fall
        return (_ENDS.get(self.kind, "completed"), *also)

    def body(self) -> dict[str, Any]:
        """The request."""
        said: Any = f"{self.kind} {self.mark}"
        if self.previous is not None:
            result = [{"type": "text", "text": self.mark}]
            said = [{"type": "function_result", "call_id": self.call, "name": "where", "result": result}]
        declared = {"agent": _DECLARED, "ask": [_FUNCTION], "told": [_FUNCTION]}.get(self.kind)
        return {
            "model": FLOOD if self.kind == FLOOD else MODEL,
            "input": said,
            "background": self.background,
            "stream": self.streamed,
            "generation_config": {"thinking_summaries": "auto"},
            **({"tools": declared} if declared else {}),
            **({"previous_interaction_id": self.previous} if self.previous else {}),
        }


EVENTS = {"agent": 38, "talk": 35, "ask": 13, "broken": 11, FLOOD: _FLOOD + 5}  # so many, undisturbed
_KINDS = (("agent", 5), ("talk", 3), ("ask", 2), ("broken", 1), (FLOOD, 1))


def draw(random: random.Random, mark: str) -> Job:
    """A job by chance."""
    (kind,) = random.choices([kind for kind, _ in _KINDS], [weight for _, weight in _KINDS])
    way = random.choice(WAYS)
    events = EVENTS[kind]
    drops = frozenset(random.randint(1, events) for _ in range(random.choice((0, 0, 1, 2, 4))))
    cancel = random.randint(1, events) if way.startswith("background") and random.random() < 0.08 else None
    slow = kind == FLOOD and random.random() < 0.7
    patience = random.uniform(0, 0.08) if random.random() < 0.25 else None
    keyed = patience is not None or random.random() < 0.5
    return Job(kind, way, mark, drops, cancel_at=cancel, slow=slow, patience=patience, keyed=keyed)
