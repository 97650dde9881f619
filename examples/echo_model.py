"""The smallest back-end there can be: it says what it was told, in capitals."""

from antiphon import wire
from antiphon.ports import Finish, Text, Tokens


class Echo:
    modalities = frozenset({"text"})  # what it can read

    async def stream(self, turn):
        """Yield the answer piece by piece, Finish last."""
        last = next(step for step in reversed(turn.steps) if isinstance(step, wire.UserInputStep))
        for part in last.content:
            yield Text(part.text.upper())
        yield Finish("stop", Tokens(input=1, output=1))

    async def aclose(self):
        """Free what it holds."""
