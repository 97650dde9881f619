"""Deep Research: a question becomes a report in which every sentence has a source that was read for it.

    talk ── plan ──┬─ part 1: search → choose pages → read → notes ─┐
      (or the plan │  part 2: …                                     ├── what is missing? ── next round
     is the answer)└─ part n: …                                     ┘        │ nothing, or the budget
                                                                             ▼
    report ◀── check each sentence ◀── answer and sections, from the notes ◀── outline

Each stage is a bounded question or two, and is recorded when it is done (`stages.py`); begun again after a crash, the flow
runs through what is recorded and goes on behind it. What is read becomes passages with ids (`research_state.py`), the model
points at passages by number (`research_prompts.py`), sentences are checked against them (`support.py`, `checking.py`), and
numbers become citations (`report.py`): there is no way for a model to cite what was not fetched.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from antiphon import wire
from antiphon.agents import research_answers as answers
from antiphon.agents import research_notes as noted
from antiphon.agents import research_prompts as prompts
from antiphon.agents import research_told as told
from antiphon.agents.calculations import Calculations, between, calculations_of, thought_of
from antiphon.agents.charts import Charts, charts_of, code, table
from antiphon.agents.checking import Checker
from antiphon.agents.evidence import Evidence
from antiphon.agents.report import Ending, Report, plan_text, report
from antiphon.agents.research_notes import Known
from antiphon.agents.research_reading import condensed, split
from antiphon.agents.research_request import check
from antiphon.agents.research_state import (
    EXHAUSTIVE,
    FAST,
    Budget,
    Heading,
    Lead,
    Leads,
    Library,
    Looked,
    Note,
    Notes,
    Outline,
    Plan,
    Section,
    Sentence,
    batched,
    fitting,
    place_of,
    similar,
)
from antiphon.agents.stages import WRITING, Stages
from antiphon.agents.support import Ruling, numbers, ruling
from antiphon.agents.talk import talk_of
from antiphon.agents.units import in_seconds
from antiphon.excerpts import shortened
from antiphon.ports import Desk, Passage

_FEW = 4  # notes that need no outline
_SENTENCES = 8  # of a section, twice as many where a model has ample room
_AMPLE = 12_000  # characters
_NOTES = 2  # of a slow model on one part
_READ_SLOWLY = 2_200  # characters that a slow model reads for them
_PARTS = 3  # of a question, for a small model: it repeats itself
_FIGURES = 3  # notes with numbers, without which there is nothing to draw
_AGAIN = 0.8  # a question as similar as this to one that was asked is the same
_WHOLE = 0.75  # and a part as similar as this to the question is the question
_MOST_PAGES = 8  # to choose from
_MOST_PASSAGES = 24  # of one question
_STOPPED = {
    "time": "The research was ended when its time was used up: this is what was found by then.",
    "tokens": "The research was ended when its tokens were used up: this is what was found by then.",
}
_NOTHING = "Nothing was found that answers this."


class DeepResearch:
    """The agent, within `budget`. `without` names parts (`research_state.PARTS`) that are left out."""

    def __init__(self, budget: Budget, without: Iterable[str] = ()) -> None:
        self._budget = budget
        self._without = frozenset(without)

    def check(self, request: wire.CreateInteraction, steps: Sequence[wire.Step]) -> None:
        """Refuse what it cannot do, in the service's words where they are known."""
        check(request, steps)

    def tools(self, request: wire.CreateInteraction) -> Sequence[wire.Tool]:
        """What it works with where the request names nothing."""
        return (wire.GoogleSearch(), wire.UrlContext(), wire.CodeExecution())

    async def run(self, desk: Desk) -> wire.InteractionStatus:
        """Do the research, or make its plan."""
        work = _Research(desk, self._budget, self._without)
        await work.begin()
        work.check()
        plan = await work.plan()
        if work.config.collaborative_planning:
            if not desk.written:
                await desk.write(plan_text(plan))
            return "completed"
        known = await work.research(plan)
        sections = await work.write(plan, known.notes)
        await work.give_out(await work.report(plan, known, sections))
        return "completed"


def fast() -> DeepResearch:
    """deep-research-preview-04-2026."""
    return DeepResearch(FAST)


def exhaustive() -> DeepResearch:
    """deep-research-max-preview-04-2026."""
    return DeepResearch(EXHAUSTIVE)


# ---------------------------------------------------------------------------------------------------- the work


class _Research:
    """One run, stage by stage."""

    def __init__(self, desk: Desk, budget: Budget, without: frozenset[str]) -> None:
        self._desk = desk
        self._budget = budget
        self._without = without
        self._stages = Stages(desk, budget)
        self._evidence = Evidence(self._stages, budget)
        self._library = Library()
        self._given: tuple[str, ...] = ()  # passages of the pages that the user named
        self._faults: list[str] = []
        config = desk.record.request.agent_config
        self.config = config if isinstance(config, wire.DeepResearchConfig) else wire.DeepResearchConfig()

    async def begin(self) -> None:
        """Understand what is asked: the question by itself, and what was given with it."""
        self._talk = talk = talk_of(self._desk.steps)
        self._question = talk.asked
        if talk.before:
            self._question = await self._stages.once("question", str, self._standalone)
        self._question = shortened(self._question, self._desk.room // 2)
        self._sought = answers.without_form(self._question)
        material = ""
        if talk.attached:
            material = await self._stages.once("material", str, self._described, told.material)
        today = time.strftime("%Y-%m-%d", time.gmtime(self._desk.record.created))
        self._asking = prompts.Asking(prompts.shared(self._question, today, material))

    def check(self) -> None:
        """Fail at once where nothing could be looked up."""
        if not self._evidence.can_begin(self._talk.urls):
            raise wire.FailedPrecondition(
                "Deep Research has nowhere to look things up on this server: set up a search, for example with "
                "--tool google_search=local or ddgs, name a file_search or mcp_server in 'tools', or give the URLs to read."
            )

    async def _standalone(self) -> str:
        before, wish = (shortened(text, self._desk.room // 2) for text in (self._talk.before, self._talk.asked))
        found = await self._stages.ask(prompts.standalone(before, wish))
        asked = found.get("question")
        return asked if isinstance(asked, str) and asked.strip() else self._talk.asked

    async def _described(self) -> str:
        answer = await self._stages.hear(prompts.material(self._talk.attached, self._question))
        return answer.text if answer is not None else ""

    @property
    def _room(self) -> int:
        """How many characters of sources a question may show."""
        return max(self._desk.room - len(self._asking.beginning), self._desk.room // 2)

    @property
    def _small(self) -> bool:
        """Whether the model is given so little to read that it is a small one: it does better if it thinks aloud."""
        return self._desk.room < _AMPLE

    # ------------------------------------------------------------------ plan

    async def plan(self) -> Plan:
        """The parts of the question: the plan that the user approved, or a new one."""
        return await self._stages.once("plan", Plan, self._planned, told.plan)

    async def _planned(self) -> Plan:
        before, most = self._talk.plan, min(self._budget.parts, _PARTS) if self._small else self._budget.parts
        wish = shortened(self._talk.wish, self._desk.room // 2)
        if before is None:
            found = await self._stages.ask(self._asking.plan(most, 1 if self._small else 2))
        elif self.config.collaborative_planning or await self._changes(before, wish):
            found = await self._stages.ask(self._asking.refined(plan_text(before), wish, most))
        else:
            return msgspec.structs.replace(before, leads=before.leads[: self._budget.parts])
        leads = answers.leads_of(found, "parts", most)
        if before is None:
            leads = answers.distinct(leads)
        others = tuple(lead for lead in leads if similar(lead.question, self._sought) < _WHOLE)
        if before is None and len(others) > 1:  # a part that is the whole question again finds nothing of its own
            leads = others
        if not leads:
            return before or Plan("", self._question, (Lead(self._question),))
        return Plan(answers.title_in(found), self._question, leads)

    async def _changes(self, plan: Plan, wish: str) -> bool:
        """Whether a reply that has a plan carried out wants something of it changed first.

        Approvals in the commonest words are known; of all others, in whatever language, the model is asked.
        """
        if self._talk.approves:
            return False
        return (await self._stages.ask(self._asking.changes(plan_text(plan), wish))).get("change") == "yes"

    # ------------------------------------------------------------------ research

    async def research(self, plan: Plan) -> Known:
        """Rounds of looking things up, until nothing is missing or the budget is used up."""
        await self._desk.functions()  # opens the tools, before several parts want them at once
        if self._talk.urls:
            self._given = await self._read("given", lambda: _now(self._talk.urls), self._question)
        found: list[Notes] = []
        leads: Sequence[Lead] = plan.leads
        for number in range(1, self._budget.rounds + 1):
            if number > 1:
                leads = await self._missing(f"round {number}", found)
            if not leads:
                break
            parts = [(f"round {number} part {place}", lead) for place, lead in enumerate(leads, 1)]
            if self._stages.slow:  # one after the other: what is done when the time is up is of use
                found += [await self._look_into(name, lead) for name, lead in parts]
            else:
                found += await asyncio.gather(*(self._look_into(name, lead) for name, lead in parts))
        if not len(self._library) and self._faults:
            raise wire.Unavailable(f"Nothing could be looked up. {self._faults[0]}")
        return noted.known(found)

    async def _missing(self, name: str, found: Sequence[Notes]) -> Sequence[Lead]:
        """What to look into in the next round."""
        if "missing" in self._without or (self._stages.spent() and not self._stages.known(name)):
            return ()
        asked = [notes.question for notes in found]
        most = 1 if self._stages.slow else self._budget.follow_ups

        async def work() -> Leads:
            notes = noted.closest(noted.known(found).notes, self._question, self._room)
            answer = await self._stages.ask(self._asking.missing(notes, asked, most))
            leads = answers.leads_of(answer, "missing", most)
            if not leads and self._small and "names" not in self._without:  # it sees no gap: a name may lead on
                names = noted.unexplained(noted.closest(notes, self._question, 0), [self._question, *asked])
                leads = tuple(Lead(noted.entry_of(name), (name,)) for name in names[:most])
            return Leads(tuple(lead for lead in leads if all(similar(lead.question, old) < _AGAIN for old in asked)))

        return (await self._stages.once(name, Leads, work, told.leads)).leads

    async def _look_into(self, name: str, lead: Lead) -> Notes:
        """One part: search, choose pages, read, take notes."""
        done = self._stages.known(f"{name} search")
        if self._stages.spent() and not done:
            return Notes(lead.question)
        looked = await self._stages.once(f"{name} search", Looked, lambda: self._searched(name, lead), told.search)
        if done:
            self._evidence.searched(looked)
        if looked.fault:
            self._faults.append(looked.fault)
        found = self._library.add(looked)
        read: tuple[str, ...] = ()
        if "pages" not in self._without:
            read = await self._read(f"{name} read", lambda: self._chosen(lead, found), lead.question)
        before = self._library.of_pages(found)  # another part may have read a page that this one found, too
        own = self._library.ranked(lead.question, (*read, *found, *before, *self._given))
        return await self._stages.once(f"{name} notes", Notes, lambda: self._noted(lead, own), told.notes)

    async def _searched(self, name: str, lead: Lead) -> Looked:
        queries = lead.queries
        if not queries:
            queries = answers.queries_of(await self._stages.ask(self._asking.queries(lead.question)))
        first = name.startswith("round 1 ")
        return await self._evidence.search(Lead(lead.question, queries), self._asking.beginning, calls=first)

    async def _chosen(self, lead: Lead, found: Sequence[str]) -> list[str]:
        """The addresses of the pages that are worth reading."""
        most = self._budget.pages_each
        # Where nobody chooses, the search's own order finds more than the words of what it shows (docs/research.md).
        ranked = found if self._stages.slow else self._library.ranked(lead.question, found)
        pages = self._evidence.unread(self._library[id] for id in ranked)[:_MOST_PAGES]
        chosen = list(range(len(pages)))
        if len(pages) > most and "choice" not in self._without and not self._stages.slow:
            answer = await self._stages.ask(self._asking.choice(lead.question, pages, most))
            # The rest come behind: fewer were chosen where the model did not know.
            chosen = [*answers.numbers_in(answer, "pages", len(pages)), *chosen]
        return [place_of(pages[number]) for number in dict.fromkeys(chosen)][:most]

    async def _read(self, name: str, choose: Callable[[], Awaitable[list[str]]], about: str) -> tuple[str, ...]:
        """The passages of the chosen pages."""
        done = self._stages.known(name)
        if not done and (self._stages.spent() or not self._desk.offers("url_context")):
            return ()

        async def work() -> Looked:
            return await self._evidence.read(await choose(), about)

        looked = await self._stages.once(name, Looked, work, told.reading)
        if done:
            self._evidence.visited(looked)
        return tuple(self._library.add(looked))

    async def _noted(self, lead: Lead, ids: Sequence[str]) -> Notes:
        """What the passages closest to a part say on it. A note with a number that its passage lacks is none."""
        entries: list[Note] = []
        if self._own_words:
            entries = await asyncio.to_thread(noted.defined, lead.question, ids, self._library)
        if entries and lead.question in map(noted.entry_of, lead.queries):  # that is what was looked for
            return Notes(lead.question, tuple(entries))
        notes: list[Note] = []
        shown, passages = await asyncio.to_thread(self._shown, lead, ids)
        most = _NOTES if self._stages.slow else self._budget.notes
        said = await asyncio.gather(
            *(self._stages.ask(self._asking.notes(lead.question, batch, most)) for batch in passages)
        )
        for answer, batch in zip(said, shown, strict=True):
            notes += answers.notes_of(answer, batch)
        subject = "subjects" not in self._without
        whole = (noted.whole(note, self._library, subject, self._own_words) for note in await self._believed(notes))
        kept = [*entries, *whole]
        if not kept and shown:  # a model that had no time, or could not: the passages' own words
            kept = noted.verbatim(lead.question, shown[0], self._library, 1 if any(said) else _NOTES)
        return Notes(lead.question, tuple(kept))

    @property
    def _own_words(self) -> bool:
        """Whether notes are taken in the sources' own words, too."""
        return self._small and "entries" not in self._without

    def _shown(self, lead: Lead, ids: Sequence[str]) -> tuple[list[list[str]], list[list[Passage]]]:
        """The passages closest to a part, in batches, and what is shown of them: of a small model's, single sentences."""
        if not self._small or "sentences" in self._without:
            whole = batched(self._library, ids, self._room, _MOST_PASSAGES, self._budget.batches)
            return whole, [[self._library[id] for id in batch] for batch in whole]
        room = min(self._room, _READ_SLOWLY) if self._stages.slow else self._room
        about = f"{lead.question} {' '.join(lead.queries)}"
        found = condensed(about, self._library, ids, room * self._budget.batches)
        batches = split(found, room)
        return [list(batch) for batch in batches], [list(batch.values()) for batch in batches]

    async def _believed(self, notes: Sequence[Note]) -> list[Note]:
        """Notes that their passages say. Those in doubt are asked about; a slow model's are left out."""
        sources = [[self._library[id] for id in note.sources] for note in notes]
        rulings = [ruling(note.text, passages) for note, passages in zip(notes, sources, strict=True)]
        if self._stages.slow or "entailment" in self._without:
            return [note for note, found in zip(notes, rulings, strict=True) if found == "yes"]

        async def believed(note: Note, passages: Sequence[Passage], found: Ruling) -> bool:
            if found != "doubt":
                return found == "yes"
            return (await self._stages.ask(prompts.supported(note.text, passages))).get("supported") != "no"

        asked = map(believed, notes, sources, rulings)
        return [note for note, holds in zip(notes, await asyncio.gather(*asked), strict=True) if holds]

    # ------------------------------------------------------------------ writing

    async def write(self, plan: Plan, notes: Sequence[Note]) -> list[Section]:
        """The answer, then the sections, each checked."""
        if not notes:
            return []
        checker = Checker(self._stages, self._library, self._asking, self._budget, self._without)
        sums = await self._stages.once("calculations", Calculations, lambda: self._calculated(notes), told.calculations)
        checker.calculations = sums.calculations
        checker.given = "\n".join([self._question, *(f"{sum.about}: {sum.text}" for sum in sums.calculations)])
        answer = await self._stages.once("answer", Section, lambda: self._answered(checker, notes, sums), told.answer)
        outline = await self._stages.once("outline", Outline, lambda: self._outlined(notes), told.outline)

        async def section(number: int, heading: Heading) -> Section:
            own = [notes[place] for place in heading.notes if place < len(notes)]
            return await self._stages.once(
                f"section {number}", Section, lambda: self._written(checker, heading.title, own), told.section
            )

        headings = enumerate(outline.headings, 1)
        written = await asyncio.gather(*(section(number, heading) for number, heading in headings))
        return [answer, *noted.unrepeated(written, answer)]

    async def _calculated(self, notes: Sequence[Note]) -> Calculations:
        kept = noted.closest(notes, self._question, self._room)
        if self._small and "thinking" not in self._without:
            known = [*(days.text for days in between(kept)), *in_seconds("\n".join(note.text for note in kept))]
            shown = [] if "calculations" in self._without else known
            counted = sum(noted.has_figure(note.text) for note in kept) > 1
            question = self._asking.thought(self._sought, kept, noted.by_number(kept), shown, counted=counted)
            found = await self._stages.ask(question, WRITING)
            made = thought_of(found, kept, self._question)
            return msgspec.structs.replace(made, calculations=()) if "calculations" in self._without else made
        if "calculations" in self._without or not any(sign.isdecimal() for note in notes for sign in note.text):
            return Calculations()
        found = await self._stages.ask(self._asking.calculations(kept, noted.by_number(kept)), WRITING)
        return Calculations(calculations_of(found, notes, self._question))

    async def _answered(self, checker: Checker, notes: Sequence[Note], sums: Calculations) -> Section:
        """The direct answer, with what was worked out for it."""
        kept = noted.closest(notes, self._question, self._room)
        shown = noted.by_number(kept)
        rests = noted.closest(notes, f"{sums.thought} {sums.answer}" if sums.answer else self._question, 0)[:3]
        if sums.answer:
            found = self._spoken(sums, rests, shown)
        else:
            worked_out = [f"{sum.about}: {sum.text}" for sum in checker.calculations]
            found = await self._stages.ask(self._asking.answer(kept, shown, worked_out), WRITING)
        written = answers.unlabelled(answers.sentences_of(found, list(shown)), self._question)
        section = await checker.section("", written, list(self._library))
        said = section.sentences
        if sums.answer or not said:  # the notes that it rests on, in their own words
            said += noted.not_said(checker.verbatim(rests, "run"), said)
        closing = checker.closing(answers.closing_in(found, self._question), said)
        used = numbers("\n".join([closing, *(sentence.text for sentence in section.sentences)]))
        worked = (
            Sentence(f"{sum.text}.", sum.sources)
            for sum in checker.calculations
            if sum.sources and numbers(sum.result) <= used
        )
        return msgspec.structs.replace(section, sentences=(*said, *worked), closing=closing)

    def _spoken(self, sums: Calculations, rests: Sequence[Note], shown: Mapping[str, int]) -> dict[str, Any]:
        """What a small model thought aloud and answered, as sentences that point at the notes it rests on."""
        named = [shown[id] for note in rests for id in note.sources if id in shown]
        spoken = [{"text": text, "sources": named} for text in (sums.thought, sums.answer)]
        closing = sums.answer if answers.wants_a_line(self._question) else ""
        return {"sentences": spoken, "closing": closing}

    async def _outlined(self, notes: Sequence[Note]) -> Outline:
        whole = Outline((Heading("", tuple(range(len(notes)))),))
        if len(notes) <= _FEW or "outline" in self._without or self._stages.slow:
            return whole
        kept = noted.closest(notes, self._question, self._room)
        found = await self._stages.ask(self._asking.outline(kept, self._budget.sections), WRITING)
        places = [notes.index(note) for note in kept]
        headings = answers.headings_of(found, places, self._budget.sections)
        return Outline(headings) if headings else whole

    async def _written(self, checker: Checker, title: str, notes: Sequence[Note]) -> Section:
        """One section from its notes, and from as many of their passages as there is room for."""
        notes = noted.closest(notes, title or self._question, self._room // 2)
        if self._small and self._stages.slow:  # what it would make of them has little that they do not
            return Section(title, checker.verbatim(notes, "item"))
        named = noted.by_number(notes)
        room = self._room - sum(len(note.text) + 8 for note in notes)
        shown = fitting(self._library, named, max(room, self._room // 3), len(named))
        named = {id: number for number, id in enumerate(dict.fromkeys([*shown, *named]), 1)}
        passages = [self._library[id] for id in shown]
        most = _SENTENCES if self._desk.room < _AMPLE else 2 * _SENTENCES
        question = self._asking.section(title or self._question, notes, passages, named, most)
        found = await self._stages.ask(question, WRITING)
        section = await checker.section(title, answers.sentences_of(found, list(named)), list(self._library))
        if section.sentences:
            return section
        return msgspec.structs.replace(section, sentences=checker.verbatim(notes, "item"))

    # ------------------------------------------------------------------ the report

    async def report(self, plan: Plan, known: Known, sections: Sequence[Section]) -> Report:
        """All pieces of the output, as they will be written."""
        charts = await self._stages.once("charts", Charts, lambda: self._charted(known.notes), told.charts)

        async def work() -> Report:
            said = any(section.sentences for section in sections)
            closing = sections[0].closing if said else ""
            stopped = _STOPPED.get(self._stages.stopped, "") if said else _NOTHING
            ending = Ending(
                [lead.question for lead in plan.leads if lead.question not in known.answered], stopped, closing
            )
            return report(plan, sections, charts.charts, self._library, ending)

        return await self._stages.once("report", Report, work, told.report)

    async def _charted(self, notes: Sequence[Note]) -> Charts:
        figures = [note for note in notes if any(sign.isdecimal() for sign in note.text)]
        wanted = self.config.visualization != "off" and self._desk.offers("code_execution")
        if not wanted or len(figures) < _FIGURES or self._stages.slow:
            return Charts()
        kept = noted.closest(figures, self._question, self._room)
        named = noted.by_number(kept)
        found = await self._stages.ask(self._asking.charts(kept, named, self._budget.charts), WRITING)
        return Charts(charts_of(found, list(named), self._library, self._budget.charts))

    async def give_out(self, whole: Report) -> None:
        """Write the pieces that are not written yet."""
        for piece in whole.pieces[self._desk.written :]:
            if piece.chart is None:
                await self._desk.write(piece.text, piece.annotations)
            elif figures := (await self._desk.use("code_execution", {"code": code(piece.chart)})).figures:
                await self._desk.show(figures[:1])
            else:
                await self._desk.write(table(piece.chart))


async def _now(urls: list[str]) -> list[str]:
    return urls
