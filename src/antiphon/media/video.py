"""Video made readable: frames as pictures for models that see, and what is said in it."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import Literal

from antiphon import wire
from antiphon.media.hearing import Hearing, as_heard, clock, cut_of, span_of, transcript
from antiphon.media.video_frames import Film, Shots
from antiphon.ports import Digest, Digester, Medium, Unreadable, Wanted

Layer = Literal["frames", "audio", "transcript"]
Part = wire.TextContent | wire.ImageContent | wire.AudioContent

_MOST = 16  # frames
_ABOUT = re.compile(r"\[image, .*\]")  # the line that says what a frame is: it is known
_FASTEST = 60.0  # frames a second
_SIDES = {"low": 256, "medium": 512, "high": 768, "ultra_high": 1024}  # pixels


class DigestVideo:
    """Video as texts and pictures: `ports.Digester`.

    `hearing` decodes it and hears what is said. For models that see nothing, `pictures` may read what is written in the
    frames. At most `most` frames are taken.
    """

    def __init__(self, hearing: Hearing, *, pictures: Digester | None = None, most: int = _MOST) -> None:
        self._hearing = hearing
        self._pictures = pictures
        self._most = most

    async def __call__(self, medium: Medium, wanted: Wanted) -> Digest:
        """Frames with their times, then what is said. Raises Unreadable, in words for the user; ApiError."""
        layers = _layers(medium)
        shots = self._shots(medium)
        film = await self._film(medium, shots)
        if isinstance(film, Unreadable) and layers == {"frames"}:
            raise film
        parts: list[Part] = []
        done: list[str] = []
        if "frames" in layers:
            parts += await self._seen(film, shots, medium, wanted, done)
        if layers != {"frames"}:
            parts += await self._heard(film, medium, wanted, layers, done)
        return Digest(parts=tuple(parts), how=f"video: {', '.join(done)}")

    async def aclose(self) -> None:
        """End the processes."""
        await self._hearing.aclose()

    async def _film(self, medium: Medium, shots: Shots) -> Film | Unreadable:
        try:
            return await self._hearing.frames(medium.body, shots)
        except Unreadable as error:
            return error

    def _shots(self, medium: Medium) -> Shots:
        start, end = span_of(medium)
        fps = getattr(getattr(medium.content, "processing", None), "fps", None)
        if fps is not None and not 0 < fps <= _FASTEST:
            raise Unreadable(
                f"`processing.fps` is {fps:g}; frames a second are greater than 0, and at most {_FASTEST:g}."
            )
        side = _SIDES.get(getattr(medium.content, "resolution", None) or "medium", _SIDES["medium"])
        return Shots(start=start, end=end, fps=fps or 1.0, most=self._most, side=side)

    async def _seen(
        self, film: Film | Unreadable, shots: Shots, medium: Medium, wanted: Wanted, done: list[str]
    ) -> list[Part]:
        """The frames, each behind its time; for a model that sees nothing what is written in them, or that they are lost."""
        if isinstance(film, Unreadable):
            return [_text(f"[video; its frames cannot be shown. {film}]")]
        begin = f"[video, {_length(film, shots)}, {film.width} x {film.height} pixels; "
        count = len(film.shots)
        done.append(f"{count} frame{'s' * (count > 1)} ({film.format})")
        if "image" in wanted.modalities:
            follow = f"{count} frame{'s' * (count > 1)} of it follow{'s' * (count == 1)}, each behind its time]"
            parts: list[Part] = [_text(begin + follow)]
            for shot in film.shots:
                parts.append(_text(f"[{clock(shot.at)}.{int(shot.at * 10) % 10}]"))
                parts.append(wire.ImageContent(data=b64encode(shot.jpeg).decode(), mime_type="image/jpeg"))
            return parts
        written = await self._written(film, medium, wanted) if self._pictures is not None else None
        if written is None:
            return [_text(f"{begin}this model sees no pictures, so that its frames cannot be shown]")]
        lines = "\n".join(f"[{clock(at)}] {text}" for at, text in written) or "[Nothing is written in them.]"
        return [
            _text(f"{begin}this model sees no pictures; what is written in its frames follows]\n{lines}"[: wanted.room])
        ]

    async def _written(self, film: Film, medium: Medium, wanted: Wanted) -> list[tuple[float, str]] | None:
        """What is written in the frames, where it is not what was written in the one before; None if none can be read."""
        assert self._pictures is not None, "asked before"
        found: list[tuple[float, str]] = []
        read = False
        for shot in film.shots:
            picture = Medium(
                kind="image",
                body=shot.jpeg,
                mime_type="image/jpeg",
                content=wire.ImageContent(mime_type="image/jpeg"),
                path=medium.path,
            )
            try:
                digest = await self._pictures(picture, wanted)
            except Unreadable:
                continue
            read = True
            lines = "\n".join(part.text for part in digest.parts if isinstance(part, wire.TextContent)).split("\n")
            text = " ".join(line for line in lines if not _ABOUT.fullmatch(line)).strip()
            if text and (not found or found[-1][1] != text):
                found.append((shot.at, text))
        return found if read else None

    async def _heard(
        self, film: Film | Unreadable, medium: Medium, wanted: Wanted, layers: set[Layer], done: list[str]
    ) -> list[Part]:
        """What is said, or the sound itself. What can be seen is shown even where nothing can be heard."""
        seen = "frames" in layers and not isinstance(film, Unreadable)
        if isinstance(film, Film) and not film.sound:
            if seen:
                return [_text("[It has no sound.]")]
            raise Unreadable("It holds no sound, and `processing.content_layers` asks for nothing else.")
        try:
            if "audio" in wanted.modalities and "transcript" not in layers:
                digest = await as_heard(self._hearing, medium, cut_of(medium, self._hearing.longest))
                done.append(digest.how)
                return [_text("[its sound:]"), *digest.parts]
            sound = await self._hearing.decode(medium.body, cut_of(medium, self._hearing.longest))
            text, language = await transcript(self._hearing, sound, "the sound of the video", wanted.room)
        except Unreadable as error:
            if not seen:
                raise (film if isinstance(film, Unreadable) else error) from None
            done.append("its sound could not be written down")
            return [_text(f"[Its sound could not be written down. {error}]")]
        done.append(f"{sound.seconds:.1f} s of sound written down ({language or 'no speech'})")
        return [_text(text)]


def _layers(medium: Medium) -> set[Layer]:
    processing = getattr(medium.content, "processing", None)
    if processing == "agentic":
        raise Unreadable("`processing`: 'agentic' is not available here; 'static' is, with offsets, `fps` and layers.")
    given = getattr(processing, "content_layers", None)
    return set(given) if given else {"frames", "audio"}


def _length(film: Film, shots: Shots) -> str:
    if not shots.start and shots.end is None:
        length = f"{film.seconds:.1f} s"
    else:
        end = film.seconds if shots.end is None else min(shots.end, film.seconds)
        length = f"from {shots.start:g} s to {end:.1f} s of {film.seconds:.1f} s"
    return f"{length} (parts of it are broken)" if film.broken else length


def _text(text: str) -> wire.TextContent:
    return wire.TextContent(text=text)
