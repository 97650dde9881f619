"""Sounds and films made for tests: tones, moving pictures, and a transcription server that hears what a test says."""

from __future__ import annotations

import io
import json
import re
import threading
import wave
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

RATE = 16_000


def samples(seconds: float, *, rate: int = RATE, hertz: float = 440.0) -> array[int]:
    """A tone that swells and fades, so that its places differ."""
    import numpy as np

    at = 2 * np.pi * np.arange(round(seconds * rate)) / rate
    return array("h", (9000 * np.sin(hertz * at) * (1 + np.sin(at / 2))).astype(np.int16).tobytes())


def tone(seconds: float, **options: Any) -> bytes:
    """A tone as WAV, one channel."""
    return wav(samples(seconds, **options), options.get("rate", RATE))


def wav(given: array[int], rate: int = RATE) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as target:
        target.setnchannels(1)
        target.setsampwidth(2)
        target.setframerate(rate)
        target.writeframes(given.tobytes())
    return file.getvalue()


def coded(seconds: float, container: str, codec: str, rate: int = 44_100, layout: str = "stereo") -> bytes:
    """The tone in any container and codec that PyAV writes."""
    import av
    import numpy as np

    file = io.BytesIO()
    with av.open(file, "w", format=container) as target:
        stream = target.add_stream(codec, rate=rate, layout=layout, bit_rate=64_000)
        given = np.repeat(np.array(samples(seconds, rate=rate), np.int16), 2 if layout == "stereo" else 1)
        _mix(target, stream, given.reshape(1, -1), layout)
    return file.getvalue()


def _mix(target: Any, stream: Any, given: Any, layout: str) -> None:
    import av

    rate = stream.codec_context.sample_rate
    frame = av.AudioFrame.from_ndarray(given, format="s16", layout=layout)
    frame.rate, frame.pts = rate, 0
    size = stream.codec_context.frame_size or 1024
    shaped = av.AudioResampler(stream.codec_context.format, layout, rate, frame_size=size)
    for part in [*shaped.resample(frame), *shaped.resample(None), None]:
        target.mux(stream.encode(part))


def film(
    seconds: float,
    container: str = "mp4",
    codec: str = "mpeg4",
    *,
    size: tuple[int, int] = (160, 120),
    fps: int = 10,
    sound: str | None = None,
) -> bytes:
    """A film that grows brighter from second to second; with `sound`, the codec of a tone beside it."""
    import av
    import numpy as np

    file = io.BytesIO()
    with av.open(file, "w", format=container) as target:
        stream = target.add_stream(codec, rate=fps, width=size[0], height=size[1], pix_fmt="yuv420p")
        rate = 48_000 if sound == "libopus" else 44_100
        beside = target.add_stream(sound, rate=rate, layout="mono", bit_rate=64_000) if sound else None
        for number in range(round(seconds * fps)):
            picture = np.full((size[1], size[0], 3), min(250, 20 * (number // fps)), np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
        if beside is not None:
            _mix(target, beside, np.array(samples(seconds, rate=rate), np.int16).reshape(1, -1), "mono")
    return file.getvalue()


class Ear:
    """A transcription server: what it was sent, and what it says it heard (a body, or one for each call)."""

    def __init__(self, said: list[Any]) -> None:
        self.said = said
        self.forms: list[dict[str, list[str]]] = []
        self.sounds: list[bytes] = []
        self.keys: list[str | None] = []
        self.url = ""


def heard(text: str, *, seconds: float = 1.0, language: str = "english") -> dict[str, Any]:
    """An answer of such a server: the words share the time evenly."""
    words = text.split()
    step = seconds / max(1, len(words))
    timed = [
        {"word": word, "start": round(at * step, 3), "end": round((at + 1) * step, 3)} for at, word in enumerate(words)
    ]
    segments = [{"text": f" {text}", "start": 0.0, "end": seconds}] if text else []
    return {"text": text, "language": language, "duration": seconds, "segments": segments, "words": timed}


@contextmanager
def ear(*said: Any) -> Iterator[Ear]:
    """A transcription server on this machine; the last answer is given again and again. A number is a refusal's status."""
    here = Ear(list(said))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        answers: ClassVar[Ear] = here

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/audio/transcriptions"
            form, sound = _read(body, self.headers["content-type"])
            here.forms.append(form)
            here.sounds.append(sound)
            here.keys.append(self.headers["authorization"])
            answer = here.said.pop(0) if len(here.said) > 1 else here.said[0]
            status = answer if isinstance(answer, int) else 200
            raw = json.dumps({"error": {"message": "no"}} if isinstance(answer, int) else answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    here.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield here
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _read(body: bytes, kind: str) -> tuple[dict[str, list[str]], bytes]:
    boundary = kind.partition("boundary=")[2].encode()
    form: dict[str, list[str]] = {}
    sound = b""
    for part in body.split(b"--" + boundary)[1:-1]:
        head, _, value = part.removeprefix(b"\r\n").removesuffix(b"\r\n").partition(b"\r\n\r\n")
        found = re.search(rb'name="([^"]+)"', head)
        assert found is not None
        if b"filename" in head:
            sound = value
        else:
            form.setdefault(found[1].decode(), []).append(value.decode())
    return form, sound
