"""Any OpenAI-compatible server as a model: vLLM, SGLang, llama-server, Ollama, LM Studio, and what speaks like them.

Only here is it known how those servers differ; the dialect they share is in `chat.py`, the connection in
`chat_http.py`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any, Literal

from msgspec import structs

from antiphon import wire
from antiphon.chat import Dialect, ThoughtText, request
from antiphon.chat_answer import answer
from antiphon.chat_http import ChatServer
from antiphon.judging import Weighed, weighed
from antiphon.ports import Delta, Turn

Server = Literal["generic", "vllm", "sglang", "llama-server", "ollama", "lmstudio", "openai"]

_DIALECTS: dict[Server, Dialect] = {
    "generic": Dialect(),
    # vLLM renamed the field; its older releases know only the older name.
    "vllm": Dialect(reasoning=("reasoning", "reasoning_content")),
    "sglang": Dialect(),
    # Its `required` leaves some templates free to write text; a schema for the whole answer does not.
    "llama-server": Dialect(force="schema"),
    # It has a word for off, knows no template arguments, and takes no notice of `tool_choice`.
    "ollama": Dialect(
        force="schema",
        template_kwargs=False,
        reasoning=("reasoning",),
        efforts={"minimal": "none", "low": "low", "medium": "medium", "high": "high", "xhigh": "high"},
    ),
    "lmstudio": Dialect(template_kwargs=False),
    "openai": Dialect(
        template_kwargs=False,
        reasoning=(),
        max_tokens="max_completion_tokens",
        efforts={"minimal": "minimal", "low": "low", "medium": "medium", "high": "high", "xhigh": "xhigh"},
    ),
}


class OpenAIChat:
    """The model that `url` serves as `model` (None: by the name each turn gives).

    `server` says what kind of server it is, `modalities` what the model reads, `thought_text` gives back the reasoning
    that a thought step seals, `extra` goes into every request's body, and `silence` is in seconds.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        api_key: str | None = None,
        *,
        server: Server = "generic",
        modalities: Collection[str] = ("text",),
        thought_text: ThoughtText = lambda step: "",
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
        silence: float = 600.0,
        room: int = 24_000,
    ) -> None:
        if server not in _DIALECTS:
            raise wire.InvalidRequest(f"No server kind {server!r}; there are {', '.join(_DIALECTS)}.")
        self.modalities = frozenset(modalities)
        self._dialect = structs.replace(_DIALECTS[server], modalities=self.modalities, extra=dict(extra or {}))
        self.room = room  # characters of one tool's result that it is given to read
        self._model = model
        self._thought_text = thought_text
        self._server = ChatServer(url, api_key=api_key, headers=headers, silence=silence)

    def stream(self, turn: Turn) -> AsyncIterator[Delta]:
        """Yield the answer to `turn`, in one piece where nobody follows it."""
        return answer(turn, self._dialect, self._thought_text, self._server.ask, model=self._model)

    async def weigh(self, turn: Turn, options: Sequence[str]) -> Weighed:
        """How likely each option is as the answer's first token, as far as the server tells. Raises ApiError."""
        body = request(turn, self._dialect, self._thought_text, model=self._model)
        body |= {"logprobs": True, "top_logprobs": 20}  # more are refused by some
        return weighed(await self._server.completion(body), options)

    async def aclose(self) -> None:
        """Close the connections to the server."""
        await self._server.aclose()
