"""A text model that also draws: where a picture is asked for, it is drawn beside the model's words.

Otherwise it is the model itself. Who draws is a `Draw`; without one the model does, as vector pictures.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import aclosing
from typing import Any

from msgspec import structs

from antiphon import wire
from antiphon.drawing.sources import source_of
from antiphon.drawing.studio import Studio
from antiphon.drawing.vector import VectorDraw
from antiphon.ports import Call, Delta, Draw, Finish, Made, Model, Text, Tokens, Turn, gives_of, media_key

_SHORTEST_DRAWING, _USUAL_DRAWING, _LONGEST_DRAWING = 1_500, 4_000, 8_000  # tokens of a vector picture
_LONGEST_BESIDE = 1_000  # tokens of the words beside a picture, where the request sets no limit
_DRAWN_IN_WORDS = ("<svg", "```")  # where a small model writes a picture of its own instead of words
_BEFORE = 4  # things said before, that whoever draws is told
_LONGEST_SAID = 500  # characters of each of them
_BESIDE = (
    "A picture of what the user asks for is being drawn beside your answer, and will be shown below it. Say in one or two "
    "sentences what it shows, unless the user asks for more. Use plain words, no code and no picture of your own. Never say "
    "that you cannot draw."
)
_A_PICTURE = "[A picture is here, which you cannot see. Whoever draws can.]"


class Drawing:
    """`model`, and who draws for it: `draw`, or the model itself where that is None."""

    def __init__(self, model: Model, draw: Draw | None = None) -> None:
        self._model = model
        self._draw = draw
        self._studio = Studio()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._model, name)  # context, room, start, ready: whatever the model has

    @property
    def modalities(self) -> frozenset[str]:
        """What the model reads."""
        return self._model.modalities

    @property
    def gives(self) -> frozenset[str]:
        """What it answers with: what the model does, and pictures."""
        return gives_of(self._model) | {"image"}

    def stream(self, turn: Turn) -> AsyncIterator[Delta]:
        """Yield the model's answer; where a picture is asked for, its words and then the picture."""
        # Itself where nothing is to be drawn: what stands between costs every token.
        return self._model.stream(turn) if turn.image is None else self._with_picture(turn)

    async def _with_picture(self, turn: Turn) -> AsyncGenerator[Delta, None]:
        spent = _Spent()
        said: list[str] = []
        if turn.text or turn.functions:
            async with aclosing(self._model.stream(_worded(turn, self.modalities))) as deltas:  # type: ignore[type-var]
                async for delta in deltas:
                    if spent.takes(delta, said, shown=turn.text):
                        yield delta
        if not spent.calls:  # else it is drawn when their results are in
            content = await self._drawn(turn, "".join(said), spent)
            if turn.text and self._draw is None:
                between = "\n\n" if said else ""
                yield Text(f"{between}(Drawn as a vector picture by {turn.model}.)")
            yield Made(content)
        # Cut off by our own limit, an answer is whole as far as its user knows.
        yield Finish(spent.reason if turn.max_output_tokens else "stop", spent.tokens)

    async def aclose(self) -> None:
        """Free what the model and the drawer hold."""
        await self._model.aclose()
        if self._draw is not None:
            await self._draw.aclose()

    async def _drawn(self, turn: Turn, said: str, spent: _Spent) -> wire.ImageContent:
        assert turn.image is not None
        given, former = _pictures(turn)
        if self._draw is not None:
            edits = getattr(self._draw, "edits", True)
            pictures = [*(former if edits and not given else ()), *given]
            return await self._draw(_prompt(turn, said), turn.image, pictures)
        pictures = [*(picture for picture in former if source_of(picture)), *given]

        async def ask(instruction: str, question: str) -> str:
            return await self._written(turn, instruction, question, spent)

        # A change writes the whole picture again; its source has some two characters to a token.
        draw = VectorDraw(ask, self._studio, longest=2 * self._longest())
        return await draw(_prompt(turn, said), turn.image, pictures)

    def _longest(self) -> int:
        """How many tokens a vector picture may have: three eighths of the model's context, within bounds."""
        context = getattr(self._model, "context", None)
        fitting = context * 3 // 8 if isinstance(context, int) else _USUAL_DRAWING
        return max(_SHORTEST_DRAWING, min(_LONGEST_DRAWING, fitting))

    async def _written(self, turn: Turn, instruction: str, question: str, spent: _Spent) -> str:
        """The model's answer to a question beside the conversation."""
        asked = Turn(
            model=turn.model,
            steps=[wire.UserInputStep(content=[wire.TextContent(text=question)])],
            conversation=f"{turn.conversation}/drawing",
            system_instruction=instruction,
            temperature=turn.temperature,
            top_p=turn.top_p,
            seed=turn.seed,
            max_output_tokens=min(self._longest(), turn.max_output_tokens or _LONGEST_DRAWING),
            thinking_level=turn.thinking_level,
            stop_sequences=("</svg>",),
        )
        text = []
        async with aclosing(self._model.stream(asked)) as deltas:  # type: ignore[type-var]
            async for delta in deltas:
                if isinstance(delta, Text):
                    text.append(delta.text)
                elif isinstance(delta, Finish):
                    spent.adds(delta.tokens, drawn=True)
        return "".join(text) + "</svg>"


class _Spent:
    """What the questions of one turn have used, and how the first of them ended."""

    def __init__(self) -> None:
        self.tokens = Tokens()
        self.reason: Any = "stop"
        self.calls = False

    def takes(self, delta: Delta, said: list[str], *, shown: bool) -> bool:
        """Note one delta of the words, and text in `said`; whether it is passed on: not the end, text only where `shown`."""
        self.calls = self.calls or isinstance(delta, Call)
        if isinstance(delta, Finish):
            self.reason = delta.reason
            self.adds(delta.tokens)
            return False
        if isinstance(delta, Text):
            said.append(delta.text)
            return shown
        return True

    def adds(self, more: Tokens, *, drawn: bool = False) -> None:
        """Count one more question; of one that was `drawn`, what was written is a picture."""
        known = self.tokens
        picture = sum(count for _, count in known.made) + (more.output if drawn else 0)
        self.tokens = structs.replace(
            known,
            input=known.input + more.input,
            output=known.output + more.output,
            thought=known.thought + more.thought,
            cached=known.cached + more.cached,
            media=known.media or more.media,
            made=(("image", picture),) if picture else (),
        )


def _worded(turn: Turn, modalities: frozenset[str]) -> Turn:
    """The question for the words beside the picture. Of pictures that the model cannot see, it is told."""
    steps = list(turn.steps)
    if "image" not in modalities:
        steps = [_told(step, turn) if isinstance(step, wire.UserInputStep) else step for step in steps]
    instruction = f"{turn.system_instruction}\n\n{_BESIDE}" if turn.system_instruction else _BESIDE
    return structs.replace(
        turn,
        image=None,
        text=True,
        steps=steps,
        system_instruction=instruction,
        max_output_tokens=turn.max_output_tokens or _LONGEST_BESIDE,
        stop_sequences=(*turn.stop_sequences, *_DRAWN_IN_WORDS)[:16],
    )


def _told(step: wire.UserInputStep, turn: Turn) -> wire.UserInputStep:
    if not isinstance(step.content, list):
        return step
    content: list[Any] = [
        wire.TextContent(text=_A_PICTURE)
        if isinstance(part, wire.ImageContent) and media_key(part) not in turn.digests
        else part
        for part in step.content
    ]
    return structs.replace(step, content=content)


def _prompt(turn: Turn, said: str) -> str:
    """What is to be drawn: the user's last words, after what was said before them."""
    spoken = list(_spoken(turn.steps))
    last = max((place for place, (who, _) in enumerate(spoken) if who == "User"), default=-1)
    wanted = spoken[last][1] if last >= 0 else ""
    before = [f"{who}: {text[:_LONGEST_SAID]}" for who, text in spoken[max(0, last - _BEFORE) : max(0, last)]]
    parts = [wanted or "What the pictures show, drawn anew."]
    if said and turn.readings:  # a tool found out what there is to be drawn
        parts.append(f"The words beside the picture: {said[:_LONGEST_SAID]}")
    if before:
        parts.append("What was said before it:\n" + "\n".join(before))
    return "\n\n".join(parts)


def _spoken(steps: Sequence[wire.Step]) -> Iterator[tuple[str, str]]:
    for step in steps:
        if isinstance(step, wire.UserInputStep | wire.ModelOutputStep) and step.error is None:
            content = step.content
            texts = [content] if isinstance(content, str) else [_text(part) for part in content or ()]
            if text := "\n".join(filter(None, texts)).strip():
                yield "User" if isinstance(step, wire.UserInputStep) else "Assistant", text


def _text(part: Any) -> str:
    return part.text if isinstance(part, wire.TextContent) else ""


def _pictures(turn: Turn) -> tuple[list[bytes], list[bytes]]:
    """The pictures of the user's last input, and those that the model gave last before it. Raises InvalidRequest."""
    steps = list(turn.steps)
    last = max((place for place, step in enumerate(steps) if isinstance(step, wire.UserInputStep)), default=-1)
    if last < 0:
        return [], []
    given = list(_images(steps[last]))
    before = reversed(steps[:last])
    former: list[bytes] = next((found for step in before if (found := list(_images(step, model=True)))), [])
    return given, former[-1:]


def _images(step: wire.Step, *, model: bool = False) -> Iterator[bytes]:
    kind = wire.ModelOutputStep if model else wire.UserInputStep
    content = step.content if isinstance(step, kind) else None
    for part in content if isinstance(content, list) else ():
        if isinstance(part, wire.ImageContent) and part.data is not None:
            try:
                yield base64.b64decode(part.data, validate=True)
            except (binascii.Error, ValueError):
                raise wire.InvalidRequest("A picture's 'data' is no base64.") from None
