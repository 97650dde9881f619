"""What was decided, done: the model is asked, a tool is run, and what comes of it is appended to the log."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from antiphon import ids, intake, wire
from antiphon.citations import cite
from antiphon.ports import Finish, Keep, Model, Store, Tokens, Turn, Wanted, media_key
from antiphon.processing import Processing, begun, kind_of, media, reads
from antiphon.readings import seal_digest
from antiphon.run import Limits, Run, Said, Silence, Writer
from antiphon.toolsteps import bare, payload, result_of, tool_type
from antiphon.tooltext import result_words
from antiphon.watchers import Watchers

_CHARACTERS = 4  # about so many are a token
_IMAGE = 258  # tokens that a picture counts as, where the model says nothing (the service's figure)
_ROOM = 200_000  # characters that one medium may become, for a model that does not say how much it reads
_encode = msgspec.json.Encoder().encode


class Performer:
    """Asks `models` and runs the tools of a run; `watchers` are told of each.

    `processing` makes media readable, `keep` keeps what was made and is to be fetched.
    """

    def __init__(
        self,
        *,
        store: Store,
        models: Mapping[str, Model],
        watchers: Watchers,
        limits: Limits,
        key: bytes,
        processing: Processing,
        keep: Keep | None,
    ) -> None:
        self._processing = processing
        self._keep = keep
        self._store = store
        self._models = models
        self._watchers = watchers
        self._limits = limits
        self._key = key

    def room(self, run: Run) -> int:
        """How many characters one tool's result may give the model to read."""
        return int(getattr(self._models[run.turn.model], "room", self._limits.room))

    async def listen(
        self,
        run: Run,
        turn: Turn,
        take: Callable[[Said], Awaitable[None]],
        count: Callable[[Tokens], None],
    ) -> Finish:
        """Ask a model, hand on what it says, and `count` what that took, also where it was cut off. Raises ApiError."""
        heard = 0
        finish: Finish | None = None
        with self._watchers.around(run.record, "chat", turn.model) as told:
            began = time.perf_counter()
            try:
                with Silence(self._limits.silence) as silence:
                    async for delta in self._models[turn.model].stream(turn):
                        silence.broken()
                        if isinstance(delta, Finish):
                            finish = delta
                        else:
                            if not heard:
                                told["first_chunk"] = time.perf_counter() - began
                            heard += 1
                            await take(delta)
                if finish is None:
                    raise wire.Internal("The model's answer broke off.")
            except BaseException as error:
                # How much it was is then only known about: a piece is about a token. A limit must not be got round so.
                if finish is not None:
                    count(finish.tokens)
                elif heard or not isinstance(error, wire.ApiError):
                    count(Tokens(input=_weight(turn), output=heard))
                if isinstance(error, TimeoutError):
                    raise wire.DeadlineExceeded(f"The model said nothing for {self._limits.silence:g} s.") from None
                raise
            tokens = finish.tokens
            count(tokens)
            told.update(finish_reason=finish.reason, input_tokens=tokens.input, output_tokens=tokens.output)
        return finish

    async def call_model(self, run: Run) -> bool:
        """Let the model go on; True when a token limit cut it short."""
        if run.tools is not None:
            run.turn = await run.tools.open(run.record, run.turn, self.room(run))
        turn = run.question(self.room(run))
        config = run.record.request.generation_config
        summaries = config is not None and config.thinking_summaries == "auto"
        passages = tuple(run.readings.passages)
        sources = partial(cite, passages=passages) if passages and not (turn.schema or turn.json_object) else None
        keep = partial(self._kept, run) if self._keep is not None else None
        writer = Writer(run, self._store, self._key, summaries=summaries, cite=sources, keep=keep)

        def count(tokens: Tokens) -> None:
            run.usage = run.usage.then(tokens if tokens.media or run.usage.input else _by_kind(run, turn, tokens))

        finish = await self.listen(run, turn, writer.take, count)
        await writer.end(run.usage)
        cut = finish.reason == "length"
        if turn.schema is not None and not cut:
            intake.check_answer(run.state.steps, turn.schema)
        return cut

    async def _kept(self, run: Run, body: bytes, mime_type: str) -> str:
        assert self._keep is not None
        name = f"{run.record.id}.{mime_type.partition('/')[2]}"
        return await self._keep(run.record.project, body, mime_type, name)

    async def process(self, run: Run) -> None:
        """Make readable what the model cannot take as it is: each medium a pair of steps, before the model is asked.

        Raises InvalidRequest for one that cannot be read.
        """
        model = self._models[run.turn.model]
        modalities = reads(model, run.turn)
        past = run.turn.steps[: -len(run.record.input)]
        unread = self._processing.unread(past, run.record, modalities, run.readings.digests)
        if not unread:
            return
        room = 2 * context if (context := getattr(model, "context", None)) else _ROOM
        wanted = Wanted(modalities=modalities, room=room)
        project = run.record.project
        work = begun(unread, lambda path, part: self._processing.digest(project, path, part, wanted))
        try:
            for _, part, digest in work:
                await self._show_processing(run, part, digest)
        finally:
            for _, _, digest in work:
                digest.cancel()
            await asyncio.gather(*(digest for _, _, digest in work), return_exceptions=True)

    async def _show_processing(self, run: Run, part: Any, digest: Awaitable[Any]) -> None:
        index = len(run.state.steps)
        call = wire.ProcessingCallStep(id=ids.call_id())
        await run.append(self._store, wire.StepStart(index=index, step=bare(call)))
        await run.append(self._store, wire.StepStop(index=index), hold=True)
        await run.append(self._store, wire.StepStart(index=index + 1, step=result_of(call)))
        await run.flush(self._store)  # the work is seen to have begun
        with self._watchers.around(run.record, "execute_tool", "processing") as told:
            try:
                made = await digest
            except wire.InvalidRequest:
                told["error"] = "error"
                result = result_of(call, is_error=True)
                await run.append(self._store, wire.StepDelta(index=index + 1, delta=payload(result)), hold=True)
                raise
        result = seal_digest(self._key, result_of(call), part, made)
        await run.append(self._store, wire.StepDelta(index=index + 1, delta=payload(result)))
        await run.append(self._store, wire.StepStop(index=index + 1), hold=True)
        run.readings.add(run.state.steps[index + 1])

    async def run_tool(self, run: Run, call: wire.ToolCallStep) -> None:
        """Run a call that the model made, and append its result."""
        assert run.tools is not None
        index = len(run.state.steps)
        await run.append(self._store, wire.StepStart(index=index, step=result_of(call)))
        await run.flush(self._store)  # what may have effects has left its trace before it begins
        run.turn = await run.tools.open(run.record, run.turn, self.room(run))
        with self._watchers.around(run.record, "execute_tool", tool_type(call)) as told:
            result, figures = await run.tools.run(call)
            told["error"] = "error" if getattr(result, "is_error", None) else None
        await run.append(self._store, wire.StepDelta(index=index, delta=payload(result)), hold=bool(figures))
        await run.append(self._store, wire.StepStop(index=index), hold=True)
        run.readings.add(run.state.steps[index])
        if figures:
            await self.show(run, figures, hold=True)

    async def show(self, run: Run, figures: Sequence[wire.ImageContent], *, hold: bool) -> None:
        """Pictures, as output of the model.

        What a tool drew is held back, so that it is written in one piece with the result: a log that breaks off has all
        of it or none.
        """
        index = len(run.state.steps)
        await run.append(self._store, wire.StepStart(index=index, step=wire.ModelOutputStep()), hold=True)
        for figure in figures:
            shown = wire.ImageDelta(data=figure.data, mime_type=figure.mime_type)
            await run.append(self._store, wire.StepDelta(index=index, delta=shown), hold=True)
        await run.append(self._store, wire.StepStop(index=index), hold=hold)


def _by_kind(run: Run, turn: Turn, tokens: Tokens) -> Tokens:
    """The counts with what the media came to, about: a back-end tells the whole alone."""
    counts: dict[str, int] = {}
    for _, part in media(run.record.input):
        made = turn.digests.get(media_key(part)) if turn.digests else None
        shown = (part,) if made is None else made
        words = sum(len(one.text) for one in shown if isinstance(one, wire.TextContent))
        pictures = sum(isinstance(one, wire.ImageContent) for one in shown)
        kind = str(kind_of(part))
        counts[kind] = counts.get(kind, 0) + words // _CHARACTERS + _IMAGE * pictures
    left = tokens.input
    found = []
    for kind, count in counts.items():
        found.append((kind, min(count, left)))
        left -= found[-1][1]
    return msgspec.structs.replace(tokens, media=tuple(pair for pair in found if pair[1]))


def _weight(turn: Turn) -> int:
    """About how many tokens a question has: its words, as the model reads them. Pictures and the like count for nothing."""
    return (len(turn.system_instruction or "") + sum(map(partial(_read, turn), turn.steps))) // _CHARACTERS


def _read(turn: Turn, step: Any) -> int:
    """How many characters of a step the model reads."""
    content = getattr(step, "content", None) or ()
    words = (
        len(content) if isinstance(content, str) else sum(len(getattr(part, "text", None) or "") for part in content)
    )
    if call_id := getattr(step, "call_id", None):
        return words + len(turn.readings.get(call_id) or result_words(step))
    return words + (len(_encode(step.arguments)) if getattr(step, "arguments", None) else 0)
