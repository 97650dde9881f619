"""A model that writes down what is said: what names such as `gemini-3.5-transcribe` reach."""

from __future__ import annotations

from base64 import b64decode
from binascii import Error
from collections.abc import AsyncIterator, Iterator, Sequence

from msgspec import structs

from antiphon import wire
from antiphon.media.hearing import Asked, Hearing, cut_of, span_of
from antiphon.media.hearing_languages import code_of
from antiphon.media.hearing_process import Segment
from antiphon.ports import Delta, Finish, Medium, Noted, Text, Tokens, Turn, Unreadable
from antiphon.ports.media import Kind, media_key

_PATH = "generation_config.transcription_config"
_RATE = 32  # tokens that a second of audio counts


class Transcriber:
    """Writes down the audio, and the sound of the videos, of the last user input. It reads no instructions."""

    modalities = frozenset({"text", "audio", "video"})
    gives = frozenset({"text", "transcription"})

    def __init__(self, hearing: Hearing) -> None:
        self._hearing = hearing

    async def stream(self, turn: Turn) -> AsyncIterator[Delta]:
        """What is said, half a minute at a time; behind each piece of text the times of its words, if they are asked for.

        Raises InvalidRequest for what it cannot do.
        """
        asked, times = asked_of(turn.transcription or wire.TranscriptionConfig())
        _refuse(turn)
        media = list(_media(turn))  # all of them, before the first is listened to
        if not media:
            raise wire.InvalidRequest("This model writes down speech, and there is no audio at 'input'.")
        answer = _Answer(turn.max_output_tokens, times)
        seconds = 0.0
        for medium, begins in media:
            try:
                sound = await self._hearing.decode(medium.body, cut_of(medium, self._hearing.longest))
                sound = structs.replace(sound, start=sound.start + begins)
                seconds += sound.seconds
                async for said in self._hearing.transcribe(sound, asked):
                    for delta in answer.say(said.segments):
                        yield delta
                    if answer.full:
                        break
            except Unreadable as error:
                raise wire.InvalidRequest(f"`{medium.path}`: {error}") from None
            answer.end_medium()
        yield Finish("length" if answer.full else "stop", Tokens(input=round(seconds * _RATE), output=answer.words))

    async def aclose(self) -> None:
        """End the processes."""
        await self._hearing.aclose()


class _Answer:
    """The text so far. `words` are counted as its tokens; `full` says that there may be no more."""

    def __init__(self, most: int | None, times: bool) -> None:
        self.words = 0
        self.full = False
        self._most = most
        self._times = times
        self._size = 0  # bytes of UTF-8
        self._pause = ""  # what comes before the next segment

    def say(self, segments: Sequence[Segment]) -> Iterator[Delta]:
        """A segment's text, and where its words are in the whole."""
        for segment in segments:
            # Its words are what it is made of: so the places of the words are those in the text.
            text = "".join(word.text for word in segment.words) or segment.text
            text = self._pause + text.lstrip() if self._pause or not self._size else text
            count = len(text.split())
            if self._most is not None and self.words + count > self._most:
                text = " ".join(text.split()[: self._most - self.words])
                count, self.full = len(text.split()), True
            if text.strip():
                yield Text(text)
                if self._times and (notes := tuple(self._places(text, segment))):
                    yield Noted(notes)
            self._size += len(text.encode())
            self._pause = ""
            self.words += count
            if self.full:
                return

    def end_medium(self) -> None:
        """What follows is another sound's."""
        if self._size:
            self._pause = "\n\n"

    def _places(self, text: str, segment: Segment) -> Iterator[wire.WordInfo]:
        place = 0
        for word in segment.words:
            said = word.text.strip()
            found = text.find(said, place) if said else -1
            if found < 0:
                continue
            begin = self._size + len(text[:found].encode())
            place = found + len(said)
            yield wire.WordInfo(
                text=said,
                start_offset=_offset(word.start),
                end_offset=_offset(word.end),
                start_index=begin,
                end_index=begin + len(said.encode()),
            )


def asked_of(config: wire.TranscriptionConfig) -> tuple[Asked, bool]:
    """What a request asks for, and whether it wants the times of the words.

    Raises InvalidRequest for what cannot be done, with its path.
    """
    mode = config.mode
    name = mode if isinstance(mode, str) else "smart" if isinstance(mode, wire.SmartMode) else "verbatim"
    if name == "smart":
        raise wire.InvalidRequest(
            f"`{_PATH}.mode`: 'smart' is not available here: the transcript is what is said, word for word (verbatim). "
            "Have a chat model rewrite it."
        )
    within = mode if isinstance(mode, wire.VerbatimMode) else wire.VerbatimMode()
    for place, diarization in ((".mode", within.diarization_mode), ("", config.diarization_mode)):
        if diarization is not None:
            raise wire.InvalidRequest(
                f"`{_PATH}{place}.diarization_mode`: who speaks is not told apart here; leave it out."
            )
    vocabulary = [*(config.custom_vocabulary or ()), *(config.adaptation_phrases or ())]
    return Asked(languages=tuple(_languages(config)), vocabulary=", ".join(vocabulary)), bool(_times(config, within))


def _times(config: wire.TranscriptionConfig, within: wire.VerbatimMode) -> list[str]:
    times: list[str] = []
    for place, given in ((".mode", within.timestamp_granularities), ("", config.timestamp_granularities)):
        for number, one in enumerate(given or ()):
            if one != "word":
                raise wire.InvalidRequest(
                    f"`{_PATH}{place}.timestamp_granularities[{number}]`: there are times of each 'word', not of {one!r}."
                )
        times += given or ()
    return times


def _languages(config: wire.TranscriptionConfig) -> Iterator[str]:
    for name, given in (("language_codes", config.language_codes), ("language_hints", config.language_hints)):
        for number, one in enumerate(given or ()):
            if not (code := code_of(one)):
                raise wire.InvalidRequest(f"`{_PATH}.{name}[{number}]`: no language {one!r} is known here.")
            yield code


def _refuse(turn: Turn) -> None:
    if turn.functions:
        raise wire.InvalidRequest("`tools`: this model writes down speech, and calls no functions.")
    if turn.schema is not None or turn.json_object:
        raise wire.InvalidRequest("`response_format`: this model writes down speech as plain text.")


def _media(turn: Turn) -> Iterator[tuple[Medium, float]]:
    """What is to be heard, from the last step in which the user said something, and at what time its bytes begin.

    What stands in a medium's place has been cut already.
    """
    step = next((step for step in reversed(turn.steps) if isinstance(step, wire.UserInputStep)), None)
    for place, part in enumerate((step.content if step else None) or ()):
        if not isinstance(part, wire.AudioContent | wire.VideoContent):
            continue
        path = f"input[{place}]"
        found = next(
            (one for one in (part, *turn.digests.get(media_key(part), ())) if getattr(one, "data", None)), None
        )
        if not isinstance(found, wire.AudioContent | wire.VideoContent) or found.data is None:
            raise wire.InvalidRequest(f"`{path}`: there is no `data` to be heard.")
        try:
            body = b64decode(found.data, validate=True)
        except (Error, ValueError):
            raise wire.InvalidRequest(f"`{path}.data` is not base64.") from None
        kind: Kind = "audio" if isinstance(found, wire.AudioContent) else "video"
        medium = Medium(kind=kind, body=body, mime_type=found.mime_type, content=found, path=path)
        yield medium, 0.0 if found is part else _begins(part, path)


def _begins(part: wire.AudioContent | wire.VideoContent, path: str) -> float:
    try:
        return span_of(Medium(kind="audio", body=b"", mime_type=None, content=part))[0]
    except Unreadable as error:
        raise wire.InvalidRequest(f"`{path}`: {error}") from None


def _offset(seconds: float) -> str:
    return f"{max(0.0, seconds):.2f}".rstrip("0").rstrip(".") + "s"
