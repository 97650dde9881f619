"""Video made readable: frames as pictures for models that see, and what is said in it."""

from __future__ import annotations

from base64 import b64encode
from typing import Literal

from antiphon import wire
from antiphon.media.hearing import Hearing, as_heard, clock, cut_of, span_of, transcript
from antiphon.media.video_frames import Film, Shots
from antiphon.ports import Digest, Digester, Medium, Unreadable, Wanted

Layer = Literal["frames", "audio", "transcript"]

_MOST = 16  # frames
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
        film: Film | None = None
        try:
            film = await self._hearing.frames(medium.body, shots)
        except Unreadable as error:
            if layers == {"frames"}:
                raise
            unseen = str(error)
        if film is not None and not film.sound and layers <= {"audio", "transcript"}:
            raise Unreadable("It holds no sound, and `processing.content_layers` asks for nothing else.")
        parts: list[wire.TextContent | wire.ImageContent | wire.AudioContent] = []
        if "frames" in layers:
            parts += (
                await self._seen(film, shots, medium, wanted) if film is not None else [_text(f"[video: {unseen}]")]
            )
        done = [f"{len(film.shots)} frames" if film is not None and "frames" in layers else ""]
        if layers != {"frames"} and (film is None or film.sound):
            parts += await self._heard(medium, wanted, layers, done, seen=film is not None and "frames" in layers)
        elif "frames" in layers and film is not None and not film.sound:
            parts.append(_text("[It has no sound.]"))
        how = ", ".join(filter(None, done))
        return Digest(parts=tuple(parts), how=f"video ({film.format if film else 'not seen'}): {how}")

    async def aclose(self) -> None:
        """End the processes."""
        await self._hearing.aclose()

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
        self, film: Film, shots: Shots, medium: Medium, wanted: Wanted
    ) -> list[wire.TextContent | wire.ImageContent | wire.AudioContent]:
        """The frames, each behind its time; for a model that sees nothing what is written in them, or that they are lost."""
        begin = f"[video, {_length(film, shots)}, {film.width} x {film.height} pixels; "
        if "image" in wanted.modalities:
            count = len(film.shots)
            parts: list[wire.TextContent | wire.ImageContent | wire.AudioContent]
            parts = [
                _text(
                    f"{begin}{count} frame{'s' * (count > 1)} of it follow{'s' * (count == 1)}, each behind its time]"
                )
            ]
            for shot in film.shots:
                parts.append(_text(f"[{clock(shot.at)}.{int(shot.at * 10) % 10}]"))
                parts.append(wire.ImageContent(data=b64encode(shot.jpeg).decode(), mime_type="image/jpeg"))
            return parts
        if self._pictures is None:
            return [_text(f"{begin}this model sees no pictures, so that its frames cannot be shown]")]
        written = await self._written(film, medium, wanted)
        lines = "\n".join(f"[{clock(at)}] {text}" for at, text in written) or "[Nothing is written in it.]"
        return [
            _text(f"{begin}this model sees no pictures; what is written in its frames follows]\n{lines}"[: wanted.room])
        ]

    async def _written(self, film: Film, medium: Medium, wanted: Wanted) -> list[tuple[float, str]]:
        """What is written in the frames, where it is not what was written in the one before."""
        assert self._pictures is not None, "asked before"
        found: list[tuple[float, str]] = []
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
            text = " ".join(part.text for part in digest.parts if isinstance(part, wire.TextContent)).strip()
            if text and (not found or found[-1][1] != text):
                found.append((shot.at, text))
        return found

    async def _heard(
        self, medium: Medium, wanted: Wanted, layers: set[Layer], done: list[str], *, seen: bool
    ) -> list[wire.TextContent | wire.ImageContent | wire.AudioContent]:
        """What is said, or the sound itself. What can be seen is shown even where nothing can be heard."""
        cut = cut_of(medium, self._hearing.longest)
        try:
            if "audio" in wanted.modalities and "transcript" not in layers:
                digest = await as_heard(self._hearing, medium, cut)
                done.append(digest.how)
                return [_text("[its sound:]"), *digest.parts]
            sound = await self._hearing.decode(medium.body, cut)
            text, language = await transcript(self._hearing, sound, "the sound of the video", wanted.room)
        except Unreadable as error:
            if not seen:
                raise
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
