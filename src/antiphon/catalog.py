"""Model names: which configured model answers to a name, and what GET /models says about it.

A program that asks for a Gemini or Gemma model is answered by the operator's model under the name it asked for. Pure:
this module knows names and nothing of how a model is run or where its weights are.
"""

import base64
import binascii
import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypedDict

from antiphon.wire.errors import InvalidRequest, ModelNotFound

WITHDRAWN_SERVED_AS = "gemini-3-flash-preview"
METHODS = ("createInteraction",)  # what this server does with a model, in the resource's own vocabulary
DEFAULT_PAGE_SIZE, LARGEST_PAGE = 50, 1000  # models.list of the API


@dataclass(frozen=True, slots=True)
class Served:
    """A model that the operator configured."""

    description: str = ""
    context_length: int | None = None
    output_limit: int | None = None


@dataclass(frozen=True, slots=True)
class Resolution:
    """Where a request goes, and the names its answer carries."""

    target: str
    served_as: str
    substituted_for: str | None = None


class ModelResource(TypedDict):
    """One entry of GET /models."""

    name: str
    version: str
    displayName: str
    description: str
    inputTokenLimit: int
    outputTokenLimit: int
    supportedGenerationMethods: list[str]
    temperature: float
    topP: float
    topK: int
    maxTemperature: float


class ModelPage(TypedDict, total=False):
    """The answer of GET /models; the token is absent on the last page."""

    models: list[ModelResource]
    nextPageToken: str


@dataclass(frozen=True, slots=True)
class _Limits:
    input: int
    output: int


_LARGE = _Limits(1_048_576, 65_536)
_GEMMA = _Limits(131_072, 8_192)
_SMALL_GEMMA = _Limits(32_768, 8_192)
_PICTURES = _Limits(65_536, 32_768)
_SPEECH = _Limits(8_192, 16_384)
_UNSTATED = _Limits(131_072, 8_192)


@dataclass(frozen=True, slots=True)
class _Name:
    title: str
    about: str
    limits: _Limits = _LARGE


# The names are those that google-genai 3.4.0 lists, then the Gemma 3 family; the words about them are ours.
API_NAMES: Mapping[str, _Name] = {
    "gemini-flash-latest": _Name("Gemini Flash Latest", "Whichever Gemini Flash is newest"),
    "gemini-flash-lite-latest": _Name("Gemini Flash-Lite Latest", "Whichever Gemini Flash-Lite is newest"),
    "gemini-pro-latest": _Name("Gemini Pro Latest", "Whichever Gemini Pro is newest"),
    "gemini-2.5-flash": _Name("Gemini 2.5 Flash", "Quick model that can think first"),
    "gemini-2.5-flash-lite": _Name("Gemini 2.5 Flash-Lite", "Small model for large volumes"),
    "gemini-2.5-pro": _Name("Gemini 2.5 Pro", "Thorough model for code and reasoning"),
    "gemini-2.5-flash-image": _Name("Gemini 2.5 Flash Image", "Draws and edits pictures", _PICTURES),
    "gemini-3-flash-preview": _Name("Gemini 3 Flash Preview", "Quick general model"),
    "gemini-3-pro-image": _Name("Gemini 3 Pro Image", "Draws and edits pictures with care", _PICTURES),
    "gemini-3.1-pro-preview": _Name("Gemini 3.1 Pro Preview", "Thorough model for long reasoning"),
    "gemini-3.1-pro-preview-customtools": _Name("Gemini 3.1 Pro Preview Custom Tools", "The same, for one's own tools"),
    "gemini-3.1-flash-lite": _Name("Gemini 3.1 Flash-Lite", "Small model for agents and translation"),
    "gemini-3.1-flash-lite-image": _Name("Gemini 3.1 Flash-Lite Image", "Draws pictures cheaply", _PICTURES),
    "gemini-3.1-flash-image": _Name("Gemini 3.1 Flash Image", "Draws pictures quickly", _PICTURES),
    "gemini-3.1-flash-tts-preview": _Name("Gemini 3.1 Flash TTS Preview", "Speaks text", _SPEECH),
    "gemini-3.5-flash": _Name("Gemini 3.5 Flash", "Quick model for routine work"),
    "gemini-3.5-flash-lite": _Name("Gemini 3.5 Flash-Lite", "Quickest model of its line"),
    "gemini-3.5-transcribe": _Name("Gemini 3.5 Transcribe", "Writes down speech"),
    "gemini-3.6-flash": _Name("Gemini 3.6 Flash", "Quick model for everyday agents"),
    "gemini-3.7-flash": _Name("Gemini 3.7 Flash", "Quick model for code and tools"),
    "gemini-3.8-flash": _Name("Gemini 3.8 Flash", "Quick model for long agent runs"),
    "gemini-3.8-flash-tts": _Name("Gemini 3.8 Flash TTS", "Speaks text with directed voices", _SPEECH),
    "gemini-3.8-flash-lite-tts": _Name("Gemini 3.8 Flash-Lite TTS", "Speaks text at volume", _SPEECH),
    "gemini-4-argon": _Name("Gemini 4 Argon", "Frontier model for the hardest work"),
    "gemini-4-carbon": _Name("Gemini 4 Carbon", "Reasoning model for long agent runs"),
    "gemini-4-hydrogen": _Name("Gemini 4 Hydrogen", "Frontier model made for speed"),
    "gemini-nano-banana-2.1": _Name("Gemini Nano Banana 2.1", "Draws and edits pictures", _PICTURES),
    "nano-banana-pro-preview": _Name("Nano Banana Pro Preview", "Draws and edits pictures", _PICTURES),
    "gemini-omni-flash-preview": _Name("Gemini Omni Flash Preview", "Makes and edits video in conversation"),
    "gemini-omni-1.1-flash": _Name("Gemini Omni 1.1 Flash", "Makes and edits video in conversation"),
    "gemini-omni-1.2-flash": _Name("Gemini Omni 1.2 Flash", "Makes and edits video in conversation"),
    "gemini-robotics-er-1.6-preview": _Name("Gemini Robotics-ER 1.6 Preview", "Reasons about places and things"),
    "gemini-robotics-er-2-preview": _Name("Gemini Robotics-ER 2 Preview", "Reasons about places and things"),
    "lyria-3-clip-preview": _Name("Lyria 3 Clip Preview", "Composes short clips"),
    "lyria-3-pro-preview": _Name("Lyria 3 Pro Preview", "Composes whole songs"),
    "lyria-3.5": _Name("Lyria 3.5", "Composes whole songs"),
    "gemma-4-26b-a4b-it": _Name("Gemma 4 26B A4B IT", "Open model, mixture of experts", _GEMMA),
    "gemma-4-31b-it": _Name("Gemma 4 31B IT", "Open model, dense", _GEMMA),
    "gemma-3-270m-it": _Name("Gemma 3 270M", "Open model, tiny", _SMALL_GEMMA),
    "gemma-3-1b-it": _Name("Gemma 3 1B", "Open model, text only", _SMALL_GEMMA),
    "gemma-3-4b-it": _Name("Gemma 3 4B", "Open model that also sees", _GEMMA),
    "gemma-3-12b-it": _Name("Gemma 3 12B", "Open model that also sees", _GEMMA),
    "gemma-3-27b-it": _Name("Gemma 3 27B", "Open model that also sees", _GEMMA),
    "gemma-3n-e2b-it": _Name("Gemma 3n E2B", "Open model for small devices", _SMALL_GEMMA),
    "gemma-3n-e4b-it": _Name("Gemma 3n E4B", "Open model for small devices", _SMALL_GEMMA),
}

_WITHDRAWN = re.compile(r"gemini-(?:1\.0|1\.5|2\.0)(?:-.+)?|gemini-pro|gemini-pro-vision")
_ROOTS = re.compile(r"^(?:projects/[^/]+/(?:locations/[^/]+/)?)?(?:publishers/[^/]+/)?models/")

# A name newer than this list is taken when it is made of the families' own words; a slip of the pen is not.
_WORDS = {word for name in API_NAMES for word in name.split("-")} | {
    *("exp", "experimental", "thinking", "live", "native", "audio", "ultra", "computer", "use", "pt", "text", "vision"),
}
_LONGEST_NAME = 128
_NUMBER = re.compile(r"\d+(?:\.\d+)*n?|[ae]?\d+[bm]")


def gives(name: str) -> str:
    """What a name of the API promises to answer with: `audio`, `image`, `transcription`, else `text`."""
    words = set(name.split("-"))
    if words & {"tts"}:
        return "audio"
    if "transcribe" in words:
        return "transcription"
    return "image" if words & {"image", "banana"} else "text"


class Catalog:
    """The names this server answers to. `agents` work with the default model, or with what an alias of theirs points at.

    `others` answer, by what they give (see `gives`), to names of the API that promise it.
    """

    def __init__(
        self,
        models: Mapping[str, Served],
        default: str,
        aliases: Mapping[str, str] | None = None,
        agents: Iterable[str] = (),
        others: Mapping[str, str] | None = None,
    ) -> None:
        if default not in models:
            raise ValueError(f"the default model {default!r} is not configured; there are: {_listed(models)}")
        for alias, target in (aliases or {}).items():
            if target not in models:
                raise ValueError(f"the alias {alias!r} points at {target!r}; configured are: {_listed(models)}")
        self._models = dict(models)
        self._default = default
        self._agents = frozenset(agents)
        self._others = dict(others or {})
        self._aliases = {_short(alias): target for alias, target in (aliases or {}).items()}

    @property
    def default(self) -> str:
        """The configured model that answers to every name of the API."""
        return self._default

    def resolve(self, requested: str) -> Resolution:
        """Which configured model answers to a name, and what the answer calls itself."""
        name = _short(requested)
        if target := self._configured(name):
            return Resolution(target, served_as=name)
        if _WITHDRAWN.fullmatch(name):
            successor = self._configured(WITHDRAWN_SERVED_AS) or self._default
            return Resolution(successor, served_as=WITHDRAWN_SERVED_AS, substituted_for=name)
        if name in API_NAMES or name in self._agents or _could_be_of_the_api(name):
            return Resolution(self._others.get(gives(name), self._default), served_as=name)
        raise ModelNotFound(self._unknown(name))

    def describe(self) -> list[ModelResource]:
        """Every name as a model resource: the operator's own first, then the API's."""
        names = dict.fromkeys([*self._models, *self._aliases, *API_NAMES])
        names = dict.fromkeys(name for name in names if name not in self._agents)
        return [self._resource(self.resolve(name)) for name in names]

    def describe_one(self, name: str) -> ModelResource:
        """One name as a model resource; a withdrawn name is described by what is served for it."""
        return self._resource(self.resolve(name))

    def page(self, size: int | None = None, token: str | None = None) -> ModelPage:
        """One page of `describe`. No size is the API's own page size, and a larger one than it allows is cut."""
        if size is not None and size < 0:
            raise InvalidRequest("pageSize must not be negative")
        resources = self.describe()
        start = _start_of_page(token, len(resources)) if token else 0
        end = start + min(size or DEFAULT_PAGE_SIZE, LARGEST_PAGE)
        page = ModelPage(models=resources[start:end])
        if end < len(resources):
            page["nextPageToken"] = base64.urlsafe_b64encode(f"models:{end}".encode()).decode()
        return page

    def _configured(self, name: str) -> str | None:
        return name if name in self._models else self._aliases.get(name)

    def _unknown(self, name: str) -> str:
        known = [*self._models, *self._aliases, *API_NAMES]
        name = name[:_LONGEST_NAME]
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        hint = f"Did you mean {' or '.join(near)}?" if near else f"Configured here: {_listed(self._models)}."
        return f"There is no model {name!r}. {hint}"

    def _resource(self, resolution: Resolution) -> ModelResource:
        name, model = resolution.served_as, self._models.get(resolution.target, Served())
        listed = API_NAMES.get(name, _Name(name, "", _UNSTATED))
        about = model.description if name == resolution.target else _about_stand_in(listed, resolution.target)
        # What the model that answers can hold is the truth; the API's figure stands in where the operator gave none.
        window = model.context_length or listed.limits.input
        return ModelResource(
            name=f"models/{name}",
            version="001",
            displayName=listed.title,
            description=about,
            inputTokenLimit=window,
            outputTokenLimit=min(model.output_limit or listed.limits.output, window),
            supportedGenerationMethods=list(METHODS),
            temperature=1.0,
            topP=0.95,
            topK=64,
            maxTemperature=2.0,
        )


def _short(requested: str) -> str:
    """The bare name, without the collection that `models/…`, `publishers/…` and `projects/…` put in front."""
    return _ROOTS.sub("", requested.strip(), count=1)


def _could_be_of_the_api(name: str) -> bool:
    if len(name) > _LONGEST_NAME:
        return False  # it would stand in each record and each event
    family, *words = name.split("-")
    return family in ("gemini", "gemma") and bool(words) and all(w in _WORDS or _NUMBER.fullmatch(w) for w in words)


def _about_stand_in(listed: _Name, target: str) -> str:
    return f"{listed.about}. Answered here by {target}." if listed.about else f"Answered here by {target}."


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"


def _start_of_page(token: str, end: int) -> int:
    try:
        kind, _, start = base64.urlsafe_b64decode(token).decode().partition(":")
        if kind == "models" and 0 < int(start) < end:
            return int(start)
    except (binascii.Error, ValueError):
        pass
    raise InvalidRequest("pageToken is not one that this list gave out")
