"""Every sentence of a report against the passages it points at: kept, tied to others, written anew, or left out."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Literal

import msgspec

from antiphon.agents.calculations import Calculation
from antiphon.agents.research_answers import bare
from antiphon.agents.research_prompts import Asking, supported
from antiphon.agents.research_state import Budget, Dropped, Library, Note, Section, Sentence, title_of
from antiphon.agents.stages import CHECKING, Stages
from antiphon.agents.support import (
    Ruling,
    elsewhere,
    numbers,
    quotations,
    ruling,
    shares_words,
    stands_in,
    unquoted,
)
from antiphon.excerpts import shortened
from antiphon.words import terms

_NO_SOURCE = "no source supports it"


class Checker:
    """Checks the sentences of one run; `without` "entailment" words alone decide."""

    def __init__(
        self, stages: Stages, library: Library, asking: Asking, budget: Budget, without: frozenset[str] = frozenset()
    ) -> None:
        entailment = "entailment" not in without
        self._stages = stages
        self._library = library
        self._asking = asking
        self._thorough = budget.thorough and entailment
        self._doubts = budget.doubts if entailment else 0
        self.calculations: Sequence[Calculation] = ()
        self.given = ""  # numbers that stand here need not stand in a source: the question, and what was worked out
        self._rewrites = budget.rewrites if "rewriting" not in without else 0

    async def section(self, title: str, sentences: Sequence[Sentence], pool: Sequence[str]) -> Section:
        """A section with the sentences that hold; `pool` are the passages that others than those named are sought in."""
        settled = await asyncio.gather(*(self._settle(sentence, pool) for sentence in sentences))
        kept: dict[str, Sentence] = {}
        dropped: list[Dropped] = []
        for found in settled:
            if isinstance(found, Dropped):
                dropped.append(found)
            elif found.text in kept:
                dropped.append(Dropped(found.text, "it is said twice"))
            else:
                kept[found.text] = found
        return Section(title, tuple(kept.values()), tuple(dropped))

    def verbatim(self, notes: Sequence[Note], form: Literal["run", "item"]) -> tuple[Sentence, ...]:
        """Notes as sentences, where nothing that was written holds: those whose words stand in their passages."""
        kept = (
            Sentence(bare(note.text), note.sources, form)
            for note in notes
            if ruling(note.text, [self._library[id] for id in note.sources]) == "yes"
            and all(
                stands_in(quoted.text, [self._library[id] for id in note.sources]) for quoted in quotations(note.text)
            )
        )
        return tuple({sentence.text: sentence for sentence in kept}.values())

    async def _settle(self, sentence: Sentence, pool: Sequence[str]) -> Sentence | Dropped:
        if len(terms(sentence.text)) < 2:
            return Dropped(sentence.text, "it says nothing")
        sentence = self._quoting(sentence, pool)
        found = await self._supported(sentence, pool)
        if found:
            return msgspec.structs.replace(sentence, sources=found)
        return await self._rewritten(sentence, pool)

    def _quoting(self, sentence: Sentence, pool: Sequence[str]) -> Sentence:
        """The sentence with the sources of all that it quotes; what no source has in these words loses its marks."""
        sources = list(sentence.sources)
        for quotation in quotations(sentence.text):
            named = [self._library[id] for id in sources]
            if not stands_in(quotation.text, named):
                sources += [id for id in pool if stands_in(quotation.text, [self._library[id]])][:1]
        text = unquoted(sentence.text, [self._library[id] for id in dict.fromkeys(sources)])
        return msgspec.structs.replace(sentence, text=text, sources=tuple(dict.fromkeys(sources)))

    async def _supported(self, sentence: Sentence, pool: Sequence[str]) -> tuple[str, ...]:
        """The passages that support it; () where there are none."""
        sources = await asyncio.to_thread(self._by_words, sentence, pool)
        quoted = [quotation.text for quotation in quotations(sentence.text)]
        if sources and not all(stands_in(text, [self._library[id] for id in sources]) for text in quoted):
            sources = ()  # its words stand elsewhere than what it quotes
        if sources:
            refused = self._thorough and await self._says(sentence.text, sources) is False
            return () if refused else sources
        asked = sentence.sources
        in_doubt = bool(asked) and self._ruling(sentence.text, asked) == "doubt"
        return asked if in_doubt and await self._says(sentence.text, asked) else ()

    def _by_words(self, sentence: Sentence, pool: Sequence[str]) -> tuple[str, ...]:
        """The passages whose words support it: of those it points at, else of all."""
        named = [id for id in sentence.sources if self._ruling(sentence.text, [id]) == "yes"]
        return tuple(named or elsewhere(sentence.text, self._library, pool, self.given) or self._worked_out(sentence))

    def _ruling(self, text: str, ids: Sequence[str]) -> Ruling:
        return ruling(text, [self._library[id] for id in ids], self.given)

    def _worked_out(self, sentence: Sentence) -> tuple[str, ...]:
        """The sources of a calculation whose result a sentence gives, in the words of its sources and of the question."""
        for calculation in self.calculations:
            if not numbers(calculation.result) <= numbers(sentence.text):
                continue
            sources = tuple(dict.fromkeys((*calculation.sources, *sentence.sources)))
            passages = [self._library[id] for id in sources]
            known = "\n".join([calculation.text, *(f"{title_of(passage)} {passage.text}" for passage in passages)])
            if ruling(sentence.text, passages, calculation.text) != "no" and shares_words(sentence.text, known):
                named = [id for id in sentence.sources if id in calculation.sources]
                return tuple(dict.fromkeys((*named, *calculation.sources))) or sources
        return ()

    def closing(self, text: str, sentences: Sequence[Sentence]) -> str:
        """The line that the user wants last, if it says no more than the answer, the question and the sources it has."""
        text = bare(text)
        ids = dict.fromkeys(id for sentence in sentences for id in sentence.sources)
        known = "\n".join([self.given, *(s.text for s in sentences), *(self._library[id].text for id in ids)])
        text = unquoted(text, [self._library[id] for id in ids])
        return text if numbers(text) <= numbers(known) and shares_words(text, known) else ""

    async def _says(self, text: str, sources: Sequence[str]) -> bool | None:
        """Whether the model finds that the passages say it; None where it is not asked any more."""
        if self._doubts <= 0 or (self._stages.slow and not self._thorough):
            return None
        self._doubts -= 1
        room = max(self._stages.desk.room // max(len(sources), 1), 400)
        passages = [self._library[id] for id in sources]
        cut = [msgspec.structs.replace(passage, text=shortened(passage.text, room)) for passage in passages]
        answer = (await self._stages.ask(supported(text, cut), CHECKING)).get("supported")
        return None if answer is None else answer == "yes"

    async def _rewritten(self, sentence: Sentence, pool: Sequence[str]) -> Sentence | Dropped:
        """The sentence as its source has it. What is written anew must stand in the source's own words."""
        sources = [*sentence.sources, *self._library.nearest(sentence.text, pool)][:1]
        if self._rewrites <= 0 or not sources or self._stages.slow:
            return Dropped(sentence.text, _NO_SOURCE)
        self._rewrites -= 1
        passage = self._library[sources[0]]
        passage = msgspec.structs.replace(passage, text=shortened(passage.text, self._stages.desk.room))
        found = await self._stages.ask(self._asking.rewritten(sentence.text, [passage]), CHECKING)
        text = found.get("sentence")
        text = unquoted(bare(text), [passage]) if isinstance(text, str) else ""
        if len(terms(text)) < 2 or ruling(text, [passage]) != "yes":
            return Dropped(sentence.text, _NO_SOURCE)
        return msgspec.structs.replace(sentence, text=text, sources=(sources[0],))
