"""google_search over a handful of notes. antiphon serve --tool google_search=notes_search:NotesSearch"""

from antiphon import wire
from antiphon.ports import Outcome, Passage

NOTES = {"Antiphon": "A sung response.", "Canon": "One voice follows another."}
QUERIES = {"type": "array", "items": {"type": "string"}}
PARAMETERS = {"type": "object", "properties": {"queries": QUERIES}, "required": ["queries"]}


class NotesSearch:
    type = "google_search"
    rerunnable = True  # a crash cut it short: it may simply be run again

    # What the model is told: the functions it can call, and words beside them.
    functions = (wire.Function(name="google_search", description="Search the notes.", parameters=PARAMETERS),)
    instructions = ""

    async def check(self, declared, project, path):
        """Refuse a declaration that makes no sense here, with wire.InvalidRequest."""

    async def open(self, use):
        """An interaction begins to use it. One that keeps nothing for an interaction is its own session."""
        return self

    def call(self, id, name, arguments):
        """The model's call, as the step that clients see."""
        return wire.GoogleSearchCallStep(id=id, arguments=wire.QueryArguments(queries=arguments.get("queries")))

    def owns(self, call):
        """Whether a call of its type is this session's."""
        return True

    async def run(self, call):
        """What comes of it: a step for clients, passages for the model to read and cite. Failures are results too."""
        words = " ".join(call.arguments.queries or ()).lower() if call.arguments else ""
        found = {title: note for title, note in NOTES.items() if title.lower() in words}
        items = [wire.GoogleSearchItem(title=title, snippet=note) for title, note in found.items()]
        step = wire.GoogleSearchResultStep(call_id=call.id, result=items, is_error=False)
        passages = tuple(Passage(note, wire.UrlCitation(title=title)) for title, note in found.items())
        return Outcome(step=step, passages=passages)

    async def aclose(self):
        """The interaction has ended."""
