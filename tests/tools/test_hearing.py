"""Audio and video from outside: decoded in a process apart, cut, written down, shown; and what is broken refused."""

from __future__ import annotations

import asyncio
import base64
import io
import random
import wave
from array import array
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from PIL import Image

from antiphon import wire
from antiphon.media.hearing import DigestAudio, Hearing
from antiphon.media.sound import RATE, Cut
from antiphon.media.video import DigestVideo
from antiphon.media.video_frames import times
from antiphon.ports import Digest, Medium, Unreadable, Wanted
from serving import PATIENCE
from sounds import coded, ear, film, heard, samples, tone, wav

SEES = Wanted(modalities=frozenset({"text", "image"}))
HEARS = Wanted(modalities=frozenset({"text", "audio"}))


def with_hearing(part: Callable[[Hearing], Awaitable[Any]], **options: Any) -> Any:
    async def whole() -> Any:
        hearing = Hearing(**options)
        try:
            async with asyncio.timeout(PATIENCE):
                return await part(hearing)
        finally:
            await hearing.aclose()

    return asyncio.run(whole())


def audio(body: bytes, mime_type: str | None = None, **fields: Any) -> Medium:
    return Medium(kind="audio", body=body, mime_type=mime_type, content=wire.AudioContent(**fields))


def video(body: bytes, processing: Any = None, **fields: Any) -> Medium:
    content = wire.VideoContent(processing=processing, **fields)
    return Medium(kind="video", body=body, mime_type="video/mp4", content=content)


def static(**fields: Any) -> wire.VideoStaticProcessing:
    return wire.VideoStaticProcessing(**fields)


def texts(digest: Digest) -> str:
    return "\n".join(part.text for part in digest.parts if isinstance(part, wire.TextContent))


def pictures(digest: Digest) -> list[Image.Image]:
    found = [part for part in digest.parts if isinstance(part, wire.ImageContent)]
    return [Image.open(io.BytesIO(base64.b64decode(part.data or ""))) for part in found]


def refused(medium: Medium, kind: type[Any] = DigestAudio, wanted: Wanted = Wanted()) -> str:  # noqa: B008 - frozen
    with pytest.raises(Unreadable) as caught:
        with_hearing(lambda hearing: kind(hearing)(medium, wanted))
    return str(caught.value)


# ------------------------------------------------------------------------------------------------- audio


FORMATS = {
    "audio/wav": ("wav", "pcm_s16le", 44_100, "stereo"),
    "audio/mp3": ("mp3", "libmp3lame", 44_100, "stereo"),
    "audio/mpeg": ("mp3", "libmp3lame", 22_050, "mono"),
    "audio/aiff": ("aiff", "pcm_s16be", 22_050, "stereo"),
    "audio/aac": ("adts", "aac", 44_100, "stereo"),
    "audio/ogg": ("ogg", "libopus", 48_000, "stereo"),
    "audio/opus": ("ogg", "libopus", 48_000, "mono"),
    "audio/flac": ("flac", "flac", 44_100, "stereo"),
    "audio/m4a": ("ipod", "aac", 44_100, "stereo"),
    "audio/webm": ("webm", "libopus", 48_000, "stereo"),
    "audio/alaw": ("alaw", "pcm_alaw", 8_000, "mono"),
    "audio/mulaw": ("mulaw", "pcm_mulaw", 8_000, "mono"),
    "audio/l16": ("s16le", "pcm_s16le", 24_000, "mono"),
    "audio/l16;rate=24000;channels=1": ("s16be", "pcm_s16be", 24_000, "mono"),
}


def test_every_format_of_the_api_is_decoded_and_cut_to_its_segment():
    async def every(hearing: Hearing) -> None:
        for mime_type, (container, codec, rate, layout) in FORMATS.items():
            body = coded(3.0, container, codec, rate, layout)
            raw = rate if mime_type == "audio/l16" else None
            whole = await hearing.decode(body, Cut(mime_type=mime_type, sample_rate=raw))
            assert whole.seconds == pytest.approx(3.0, abs=0.1), mime_type
            part = await hearing.decode(body, Cut(mime_type=mime_type, sample_rate=raw, start=1.0, end=2.5))
            assert part.seconds == pytest.approx(1.5, abs=0.001), mime_type
            assert part.samples == whole.samples[2 * RATE : 5 * RATE], mime_type

    with_hearing(every)


def test_a_place_far_on_in_a_long_file_is_the_right_one():
    body = coded(90.0, "flac", "flac", RATE, "mono")

    async def far(hearing: Hearing) -> None:
        whole = await hearing.decode(body, Cut())
        part = await hearing.decode(body, Cut(start=75.0, end=76.0))
        assert part.samples == whole.samples[75 * 2 * RATE : 76 * 2 * RATE]

    with_hearing(far)


def test_long_sound_is_taken_apart_where_it_is_quiet():
    silence = array("h", [0] * (RATE // 2))
    given = samples(22.0) + silence + samples(22.0) + silence + samples(10.0)

    async def cut(hearing: Hearing) -> list[tuple[float, int]]:
        sound = await hearing.decode(wav(given), Cut())
        return [(start, len(piece)) for start, piece in sound.pieces()]

    pieces = with_hearing(cut)
    assert [round(start, 1) for start, _ in pieces] == pytest.approx([0.0, 22.3, 44.8], abs=0.3)
    assert sum(size for _, size in pieces) == 2 * len(given)


def test_what_is_longer_than_allowed_is_refused_with_a_way_out():
    async def long(hearing: Hearing) -> None:
        with pytest.raises(Unreadable, match=r"longer than 0.1 minutes.*start_offset, end_offset"):
            await DigestAudio(hearing)(audio(tone(7.0)), Wanted())

    with_hearing(long, longest=6.0)


def test_raw_samples_say_how_fast_they_are():
    assert "set `sample_rate`" in refused(audio(samples(1.0).tobytes(), "audio/l16"))
    assert "cannot be listened to" in refused(audio(b"\0" * 4000, "audio/l16", sample_rate=5))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"start_offset": "1"}, 'such as "1.5s"'),
        ({"start_offset": "-1s"}, 'such as "1.5s"'),
        ({"start_offset": "2s", "end_offset": "2s"}, "must be greater"),
        ({"start_offset": "5s"}, "It is 3.0 s long: there is nothing behind 5 s."),
    ],
)
def test_segments_that_cannot_be_are_refused(fields, words):
    processing = wire.AudioStaticProcessing(**fields)
    assert words in refused(audio(tone(3.0), processing=processing))


def test_where_nothing_listens_it_says_what_to_install():
    assert "pip install 'antiphon[hearing]'" in refused(audio(tone(1.0)))


def test_a_model_that_hears_gets_wav_and_mp3_as_they_are_and_all_else_as_wav():
    async def every(hearing: Hearing) -> None:
        digest = DigestAudio(hearing)
        body = tone(1.0)
        (part,) = (await digest(audio(body, "audio/wav"), HEARS)).parts
        assert part == wire.AudioContent(data=base64.b64encode(body).decode(), mime_type="audio/wav")
        (part,) = (await digest(audio(coded(1.0, "mp3", "libmp3lame"), "audio/mp3"), HEARS)).parts
        assert isinstance(part, wire.AudioContent) and part.mime_type == "audio/mp3"
        (part,) = (await digest(audio(coded(1.0, "flac", "flac"), "audio/flac"), HEARS)).parts
        assert isinstance(part, wire.AudioContent)
        assert (part.mime_type, part.sample_rate) == ("audio/wav", RATE)
        cut = wire.AudioStaticProcessing(start_offset="0.25s", end_offset="0.75s")
        (part,) = (await digest(audio(body, processing=cut), HEARS)).parts
        assert isinstance(part, wire.AudioContent)
        with wave.open(io.BytesIO(base64.b64decode(part.data or ""))) as file:
            assert (file.getframerate(), file.getnframes()) == (RATE, RATE // 2)

    with_hearing(every)


# ------------------------------------------------------------------------------------------------- what is said


def test_speech_becomes_text_with_its_language_and_times():
    with ear(heard("Guten Tag allerseits.", seconds=2.0, language="german")) as server:
        medium = audio(tone(3.0))
        digest = with_hearing(lambda hearing: DigestAudio(hearing)(medium, Wanted()), url=server.url, api_key="k")
    assert texts(digest) == "[audio, 3.0 s, German]\n[0:00] Guten Tag allerseits."
    assert digest.how == "3.0 s of audio (wav) written down; German"
    assert server.keys == ["Bearer k"]
    assert server.forms[0]["response_format"] == ["verbose_json"]
    assert server.forms[0]["timestamp_granularities[]"] == ["segment", "word"]
    assert server.sounds[0].startswith(b"RIFF")


def test_times_are_those_of_the_whole_recording():
    with ear(heard("Later.")) as server:
        processing = wire.AudioStaticProcessing(start_offset="65s", end_offset="67s")
        medium = audio(coded(70.0, "mp3", "libmp3lame", RATE, "mono"), processing=processing)
        digest = with_hearing(lambda hearing: DigestAudio(hearing)(medium, Wanted()), url=server.url)
    assert texts(digest) == "[audio, from 65 s to 67.0 s, English]\n[1:05] Later."


def test_a_transcript_that_is_too_long_ends_and_says_how_to_go_on():
    with ear(heard("Word " * 20, seconds=20.0)) as server:
        medium = audio(tone(120.0))
        wanted = Wanted(room=150)
        digest = with_hearing(lambda hearing: DigestAudio(hearing)(medium, wanted), url=server.url)
    assert len(server.sounds) == 2
    assert 'start_offset: "' in texts(digest)


def test_silence_is_called_so():
    with ear(heard("")) as server:
        digest = with_hearing(lambda hearing: DigestAudio(hearing)(audio(tone(1.0)), Wanted()), url=server.url)
    assert texts(digest) == "[audio, 1.0 s, no speech in it]"


@pytest.mark.parametrize(("status", "error"), [(401, wire.Internal), (429, wire.RateLimited), (503, wire.Unavailable)])
def test_a_server_that_refuses_is_no_fault_of_the_medium(status, error):
    with ear(status) as server, pytest.raises(error):
        with_hearing(lambda hearing: DigestAudio(hearing)(audio(tone(1.0)), Wanted()), url=server.url)


def test_a_server_that_gives_only_text_is_enough():
    with ear({"text": "Only text."}) as server:
        digest = with_hearing(lambda hearing: DigestAudio(hearing)(audio(tone(1.0)), Wanted()), url=server.url)
    assert "[0:00] Only text." in texts(digest)


# ------------------------------------------------------------------------------------------------- video


VIDEOS = {
    "mp4": ("mp4", "libx264", "aac"),
    "mov": ("mov", "mpeg4", "aac"),
    "webm": ("webm", "libvpx", "libopus"),
    "avi": ("avi", "mpeg4", "libmp3lame"),
    "mpeg": ("mpeg", "mpeg1video", "mp2"),
    "flv": ("flv", "flv1", "libmp3lame"),
    "wmv": ("asf", "wmv2", "wmav2"),
    "3gpp": ("3gp", "mpeg4", "aac"),
}


def test_every_format_of_the_api_is_seen_and_heard():
    async def every(hearing: Hearing) -> None:
        for name, (container, codec, sound) in VIDEOS.items():
            fps = 25 if container == "mpeg" else 10
            body = film(4.0, container, codec, fps=fps, sound=sound)
            digest = await DigestVideo(hearing)(video(body), SEES)
            shown = pictures(digest)
            assert len(shown) in (4, 5), name
            light = [picture.convert("L").resize((1, 1)).getpixel((0, 0)) for picture in shown]
            assert light == sorted(light) and light[0] < light[-1], name
            assert "[0:01." in texts(digest) and "Over and out." in texts(digest), (name, texts(digest))

    with ear(heard("Over and out.")) as server:
        with_hearing(every, url=server.url)


def test_frames_are_spread_over_a_long_film_and_made_small():
    body = film(40.0, codec="mpeg4", size=(640, 360), fps=5)
    digest = with_hearing(lambda hearing: DigestVideo(hearing)(video(body, resolution="low"), SEES))
    assert [picture.size for picture in pictures(digest)] == [(256, 144)] * 16
    assert texts(digest).startswith(
        "[video, 40.0 s, 640 x 360 pixels; 16 frames of it follow, each behind its time]\n[0:01."
    )
    assert texts(digest).endswith("[It has no sound.]")


def test_the_segment_the_rate_and_the_layers_are_as_asked():
    body = film(6.0, fps=10, sound="aac")

    async def every(hearing: Hearing) -> None:
        digest = DigestVideo(hearing)
        cut = static(start_offset="2s", end_offset="4s", fps=2.0, content_layers=["frames"])
        found = await digest(video(body, cut), SEES)
        assert "[video, from 2 s to 4.0 s of 6.0 s, 160 x 120 pixels; 4 frames" in texts(found)
        assert [text for text in texts(found).split("\n")[1:]] == ["[0:02.0]", "[0:02.5]", "[0:03.0]", "[0:03.5]"]
        found = await digest(video(body, static(content_layers=["transcript"])), SEES)
        assert pictures(found) == []
        assert texts(found) == "[the sound of the video, 6.0 s, English]\n[0:00] Hello."
        found = await digest(video(body, static(content_layers=["audio"])), HEARS)
        assert isinstance(found.parts[-1], wire.AudioContent)

    with ear(heard("Hello.")) as server:
        with_hearing(every, url=server.url)


def test_a_blind_model_is_told_and_gets_what_is_said_and_written():
    class Reads:
        async def __call__(self, medium: Medium, wanted: Wanted) -> Digest:
            return Digest(parts=(wire.TextContent(text="[image, 160 x 120 pixels, its text as read by OCR]\nEXIT"),))

        async def aclose(self) -> None:
            pass

    class ReadsNothing(Reads):
        async def __call__(self, medium: Medium, wanted: Wanted) -> Digest:
            raise Unreadable("OCR is not installed.")

    async def every(hearing: Hearing) -> list[str]:
        medium = video(film(3.0, sound="aac"))
        ways = [
            DigestVideo(hearing),
            DigestVideo(hearing, pictures=ReadsNothing()),
            DigestVideo(hearing, pictures=Reads()),
        ]
        return [texts(await way(medium, Wanted())) for way in ways]

    with ear(heard("Hello.")) as server:
        plain, unread, read = with_hearing(every, url=server.url)
    assert unread == plain
    assert "this model sees no pictures, so that its frames cannot be shown]\n[the sound" in plain
    assert "[0:00] Hello." in plain
    assert "what is written in its frames follows]\n[0:00] EXIT\n[the sound" in read


def test_what_can_be_seen_is_shown_where_nothing_listens():
    digest = with_hearing(lambda hearing: DigestVideo(hearing)(video(film(2.0, sound="aac")), SEES))
    assert len(pictures(digest)) == 2
    assert "[Its sound could not be written down. Nothing here listens to speech: pip install" in texts(digest)


@pytest.mark.parametrize(
    ("processing", "words"),
    [
        ("agentic", "'agentic' is not available here"),
        (static(fps=0.0), "`processing.fps` is 0"),
        (static(start_offset="9s"), "there is nothing behind 9 s"),
        (static(content_layers=["audio"]), "It holds no sound"),
    ],
)
def test_videos_that_cannot_be_shown_as_asked_are_refused(processing, words):
    assert words in refused(video(film(2.0), processing), DigestVideo, SEES)


def test_frames_are_taken_at_the_asked_rate_or_spread():
    assert times(0.0, 3.0, 1.0, 16) == [0.0, 1.0, 2.0]
    assert times(2.0, 3.0, 2.0, 16) == [2.0, 2.5]
    assert times(0.0, 100.0, 1.0, 4) == [12.5, 37.5, 62.5, 87.5]
    assert times(0.0, 0.0, 1.0, 16) == [0.0]


# ------------------------------------------------------------------------------------------------- what is broken


def hostile() -> dict[str, bytes]:
    """Files that no decoder should fall over, made of real ones."""
    chance = random.Random(6)
    real = {
        "wav": tone(2.0),
        "mp3": coded(2.0, "mp3", "libmp3lame"),
        "flac": coded(2.0, "flac", "flac"),
        "ogg": coded(2.0, "ogg", "libopus", 48_000),
        "m4a": coded(2.0, "ipod", "aac"),
        "webm": film(2.0, "webm", "libvpx", sound="libopus"),
        "mp4": film(2.0, sound="aac"),
        "avi": film(2.0, "avi", sound="libmp3lame"),
        "mpeg": film(2.0, "mpeg", "mpeg1video", fps=25),
    }
    made: dict[str, bytes] = {}
    for name, body in real.items():
        made[f"{name} cut off"] = body[: len(body) // 3]
        made[f"{name} head only"] = body[:60]
        torn = bytearray(body)
        for _ in range(len(body) // 50):
            torn[chance.randrange(len(body))] = chance.randrange(256)
        made[f"{name} torn"] = bytes(torn)
        beheaded = bytearray(body)
        beheaded[4:64] = chance.randbytes(60)
        made[f"{name} with another head"] = bytes(beheaded)
    wave_ = bytearray(real["wav"])
    wave_[24:28] = (2**32 - 1).to_bytes(4, "little")
    made["4 billion samples a second"] = bytes(wave_)
    wave_ = bytearray(real["wav"])
    wave_[22:24] = (65_535).to_bytes(2, "little")
    made["65535 channels"] = bytes(wave_)
    made["film of no known codec"] = real["avi"].replace(b"FMP4", b"ZZZZ")
    made["sound of no known codec"] = real["wav"][:20] + b"\x77\x77" + real["wav"][22:]
    made["nothing"] = b""
    made["noise"] = chance.randbytes(100_000)
    made["text"] = b"This is no sound at all. " * 100
    made["a playlist"] = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    made["a list of parts"] = b"ffconcat version 1.0\nfile '/etc/passwd'\n"
    made["a session"] = b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 9 RTP/AVP 0\n"
    made["a picture"] = b"\x89PNG\r\n\x1a\n" + chance.randbytes(500)
    huge = bytearray(film(1.0, "avi", "rawvideo", fps=2))
    at = huge.find(b"strf") + 12
    huge[at : at + 8] = (60_000).to_bytes(4, "little") * 2
    made["frames of 3600 megapixels"] = bytes(huge)
    return made


def test_broken_and_hostile_files_are_read_as_far_as_they_go_or_refused():
    files = hostile()
    assert len(files) >= 40

    async def every(hearing: Hearing) -> dict[str, str]:
        ends: dict[str, str] = {}
        for name, body in files.items():
            for kind in ("listen", "look"):
                try:
                    if kind == "listen":
                        await hearing.decode(body, Cut())
                    else:
                        await DigestVideo(hearing)(video(body), SEES)
                    ends[f"{name}, {kind}"] = "read"
                except Unreadable as error:
                    ends[f"{name}, {kind}"] = str(error)
        return ends

    ends = with_hearing(every, seconds=20)
    assert len(ends) == 2 * len(files)
    for name in ("noise", "text", "a playlist", "a list of parts", "a session", "a picture", "nothing"):
        assert ends[f"{name}, listen"] != "read", name
        assert ends[f"{name}, look"] != "read", name
    assert "codec that is not known" in ends["film of no known codec, look"]
    assert "codec that is not known" in ends["sound of no known codec, listen"]
    assert "pixels" in ends["frames of 3600 megapixels, look"]
    fell = ("too long", "ends its reader", "its reader does not know")
    assert [name for name, end in ends.items() if any(words in end for words in fell)] == []
