"""Which voices there are, and which of them speaks where the service's names are asked for. Pure, but for reading a folder.

The service's thirty names are no voices that anybody else has. Here each stands for a local voice: with a pitch and a
tempo of its own where there are fewer voices than names, so that two speakers can be told apart. The same name sounds
the same each time.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from antiphon import wire
from antiphon.ports import Voice

PATH = "generation_config.speech_config"

# The service's names, each with the pitch (times a voice's own) and the tempo that it has where voices are fewer than
# names. Those that the service has as women's voices are higher.
PREBUILT: Mapping[str, tuple[float, float]] = {
    "Zephyr": (1.22, 1.04),
    "Puck": (1.06, 1.08),
    "Charon": (1.00, 1.00),
    "Kore": (1.18, 1.00),
    "Fenrir": (1.02, 1.10),
    "Leda": (1.26, 1.04),
    "Orus": (0.94, 1.00),
    "Aoede": (1.22, 1.00),
    "Callirrhoe": (1.18, 0.94),
    "Autonoe": (1.26, 1.00),
    "Enceladus": (0.90, 0.94),
    "Iapetus": (0.98, 1.04),
    "Umbriel": (0.94, 0.94),
    "Algieba": (0.90, 1.00),
    "Despina": (1.14, 1.00),
    "Erinome": (1.14, 1.04),
    "Algenib": (0.84, 0.98),
    "Rasalgethi": (0.98, 0.96),
    "Laomedeia": (1.18, 1.08),
    "Achernar": (1.22, 0.94),
    "Alnilam": (0.94, 1.06),
    "Schedar": (0.98, 1.00),
    "Gacrux": (1.10, 0.94),
    "Pulcherrima": (1.18, 1.04),
    "Achird": (1.06, 1.00),
    "Zubenelgenubi": (0.87, 1.02),
    "Vindemiatrix": (1.14, 0.94),
    "Sadachbia": (1.06, 1.04),
    "Sadaltager": (1.02, 0.96),
    "Sulafat": (1.10, 1.00),
}
_ORDER = tuple(PREBUILT)
_UNNAMED = ("Charon", "Kore", "Puck", "Aoede")  # who speaks for speakers without a voice, in turn


class Local(msgspec.Struct, frozen=True, kw_only=True):
    """A voice of this machine: a model, or one speaker of it. `rate` in samples a second, `language` like en-US."""

    id: str
    model: Path
    config: Path
    rate: int
    language: str
    speaker: int | None = None
    length: float = 1.0  # what its makers set: the larger, the slower
    sha256: str | None = None


class Manner(msgspec.Struct, frozen=True):
    """A local voice, and how it speaks: `pitch` and `tempo` as multiples of its own."""

    voice: Local
    pitch: float = 1.0
    tempo: float = 1.0


class _Language(msgspec.Struct):
    code: str = ""


class _Audio(msgspec.Struct):
    sample_rate: int = 22050


class _Inference(msgspec.Struct):
    length_scale: float = 1.0


class _Espeak(msgspec.Struct):
    voice: str = ""


class _Config(msgspec.Struct):
    """What a voice's file of settings says that matters here."""

    audio: _Audio = msgspec.field(default_factory=_Audio)
    espeak: _Espeak = msgspec.field(default_factory=_Espeak)
    language: _Language = msgspec.field(default_factory=_Language)
    inference: _Inference = msgspec.field(default_factory=_Inference)
    num_speakers: int = 1
    speaker_id_map: dict[str, int] = {}


def found_in(folder: Path) -> list[Local]:
    """The voices in a folder: each `NAME.onnx` with its `NAME.onnx.json`. Raises ValueError for what is none."""
    if not folder.is_dir():
        raise ValueError(f"there is no folder of voices {folder}")
    return [local for model in sorted(folder.glob("*.onnx")) for local in read(model, model.with_suffix(".onnx.json"))]


def read(model: Path, config: Path, sha256: str | None = None) -> list[Local]:
    """A voice from its files; one for each speaker where it has several. Raises ValueError."""
    try:
        said = msgspec.json.decode(config.read_bytes(), type=_Config)
    except (OSError, msgspec.MsgspecError) as error:
        raise ValueError(f"the voice {model.name} needs its settings in {config.name}: {error}") from None
    only = Local(
        id=model.stem,
        model=model,
        config=config,
        rate=said.audio.sample_rate,
        language=_tag(said.language.code or said.espeak.voice or "und"),
        length=said.inference.length_scale,
        sha256=sha256,
    )
    if said.num_speakers < 2:
        return [only]
    named = said.speaker_id_map or {str(number): number for number in range(said.num_speakers)}
    return [
        msgspec.structs.replace(only, id=f"{only.id}/{name}", speaker=number)
        for name, number in sorted(named.items(), key=lambda item: item[1])
    ]


def _tag(code: str) -> str:
    """A language as the API writes it: en_US, en-us and EN-us are en-US."""
    family, _, region = code.replace("_", "-").partition("-")
    return f"{family.lower()}-{region.upper()}" if region else family.lower()


class Catalogue:
    """The voices of this machine, and what they are called. `default` speaks where nothing is asked.

    `names` says who else speaks for a name: `{"Kore": "en_GB-alba-medium"}`. Raises ValueError for names of no voice.
    """

    def __init__(self, voices: Sequence[Local], default: str = "", names: Mapping[str, str] | None = None) -> None:
        self._voices = {voice.id: voice for voice in voices}
        self._names = {name.casefold(): (name, voice) for name, voice in (names or {}).items()}
        if unknown := {default, *(names or {}).values()} - {"", *self._voices}:
            raise ValueError(f"there is no voice {', '.join(sorted(unknown))}; there are {', '.join(self._voices)}")
        if not voices:
            raise ValueError("there is no voice")
        self._default = self._voices[default] if default else voices[0]

    def cast(self, asked: Sequence[wire.SpeechConfig]) -> list[Manner]:
        """Who speaks for whom, in order; who speaks where nobody is asked. Raises InvalidRequest."""
        check_speakers(asked)
        if not asked:
            return [Manner(self._default)]
        return [self._one(config, f"{PATH}[{place}]", place) for place, config in enumerate(asked)]

    def listed(self) -> list[Voice]:
        """All of them: the machine's own by their names, then the names that stand for them."""
        own = [
            Voice(
                id=voice.id, language_code=voice.language, display_name=voice.id, description="A voice of this machine."
            )
            for voice in self._voices.values()
        ]
        names = {**dict.fromkeys(_ORDER), **{name: None for name, _ in self._names.values()}}
        return own + [self._listed(name) for name in names]

    def _listed(self, name: str) -> Voice:
        manner = self._named(name, self._of_language(self._default.language))
        assert manner is not None, "it is one of the names"
        how = "" if (manner.pitch, manner.tempo) == (1, 1) else f", pitch × {manner.pitch:g}, tempo × {manner.tempo:g}"
        told = f"Spoken by {manner.voice.id}{how}."
        return Voice(id=name, language_code=manner.voice.language, display_name=name, description=told)

    def _one(self, asked: wire.SpeechConfig, path: str, place: int) -> Manner:
        speaking = self._voices.values() if asked.language is None else self._speaking(asked.language, path)
        if not asked.voice:
            language = speaking[0].language if isinstance(speaking, list) else self._default.language
            if asked.speaker is None and language == self._default.language:
                return Manner(self._default)
            manner = self._named(_UNNAMED[place % len(_UNNAMED)], self._of_language(language))
            assert manner is not None, "it is one of the names"
            return manner
        local = self._voices.get(asked.voice)
        if local is None:
            known = list(speaking) if asked.language is not None else self._of_language(self._default.language)
            manner = self._named(asked.voice, known)
            if manner is None:
                listed = ", ".join(dict.fromkeys([*list(self._voices)[:50], *_ORDER]))
                raise wire.InvalidRequest(
                    f"There is no voice '{asked.voice[:100]}' at '{path}.voice'. There are: {listed}."
                )
            local = manner.voice
        else:
            manner = Manner(local)
        if local not in speaking:
            raise wire.InvalidRequest(
                f"The voice '{asked.voice}' does not speak {asked.language} at '{path}.language' but {local.language}."
            )
        return manner

    def _named(self, name: str, voices: Sequence[Local]) -> Manner | None:
        """Who speaks for a name: the settings' choice, or one of these voices."""
        if setting := self._names.get(name.casefold()):
            return Manner(self._voices[setting[1]])
        known = name.capitalize()
        if known not in PREBUILT:
            return None
        place = _ORDER.index(known)
        voice = voices[place % len(voices)]
        return Manner(voice) if len(voices) > 1 and place < len(voices) else Manner(voice, *PREBUILT[known])

    def _of_language(self, language: str) -> list[Local]:
        return [voice for voice in self._voices.values() if voice.language == language]

    def _speaking(self, language: str, path: str) -> list[Local]:
        """The voices of a language: of its region where there are such, else of any; the default first."""
        wanted = _tag(language)
        family = [
            voice for voice in self._voices.values() if voice.language.partition("-")[0] == wanted.partition("-")[0]
        ]
        exact = [voice for voice in family if voice.language == wanted]
        if not family:
            spoken = ", ".join(dict.fromkeys(voice.language for voice in self._voices.values()))
            raise wire.InvalidRequest(
                f"No voice here speaks '{language[:50]}' at '{path}.language', only {spoken}. "
                "More voices are a setting of the server."
            )
        return sorted(exact or family, key=lambda voice: voice != self._default)


def check_speakers(asked: Sequence[wire.SpeechConfig]) -> None:
    """Several voices need speakers, each its own. Raises InvalidRequest."""
    seen: set[str] = set()
    for place, config in enumerate(asked):
        if len(asked) > 1 and not config.speaker:
            raise wire.InvalidRequest(
                f"'{PATH}[{place}].speaker' is missing: of several voices each says whose lines of the text it speaks."
            )
        name = (config.speaker or "").casefold()
        if name and name in seen:
            raise wire.InvalidRequest(f"'{config.speaker}' at '{PATH}[{place}].speaker' has a voice already.")
        seen.add(name)
