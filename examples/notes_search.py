"""google_search over a handful of notes. antiphon serve --tool google_search=notes_search:NotesSearch"""

from antiphon import wire

NOTES = {"Antiphon": "A sung response.", "Canon": "One voice follows another."}


class NotesSearch:
    type = "google_search"
    rerunnable = True  # a crash cut it short: it may simply be run again

    def functions(self, declared):
        """What the model is told it can call."""
        queries = {"type": "array", "items": {"type": "string"}}
        parameters = {"type": "object", "properties": {"queries": queries}, "required": ["queries"]}
        return (wire.Function(name="google_search", description="Search the notes.", parameters=parameters),)

    def call(self, id, name, arguments):
        """The model's call, as the step that clients see."""
        return wire.GoogleSearchCallStep(id=id, arguments=wire.QueryArguments(queries=arguments.get("queries")))

    async def run(self, call):
        """The result. What goes wrong is one too, with is_error: the model sees it."""
        words = " ".join(call.arguments.queries or ()).lower() if call.arguments else ""
        found = [
            wire.GoogleSearchItem(title=title, snippet=note) for title, note in NOTES.items() if title.lower() in words
        ]
        return wire.GoogleSearchResultStep(call_id=call.id, result=found, is_error=False)
