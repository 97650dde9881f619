"""The embedded model's process: llama.cpp's own server on a loopback port that only its parent knows how to use.

A process of its own, since a fault in native code ends the process it happens in. The configuration comes as one line
of JSON on stdin, the address goes out as one line of JSON on stdout. It ends with its parent: when stdin closes and, on
Linux, by the kernel's hand, which also works while native code holds the interpreter.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import signal
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO

import msgspec

_PR_SET_PDEATHSIG = 1


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What the parent decides. `context` is tokens for each of the `slots`, `cache_mib` the memory for idle conversations.

    `api_key` is made anew for each start: other users of the machine can reach the port, but not use it.
    """

    path: str
    api_key: str
    parent: int
    context: int
    slots: int
    threads: int
    cache_mib: int
    gpu_layers: int = -1
    repeatable: bool = False
    projector: str | None = None


def main() -> None:
    """Serve until the parent goes away."""
    faulthandler.enable()
    config = msgspec.json.decode(sys.stdin.buffer.readline(), type=Config)
    _end_with(config.parent)
    # Native code writes to stdout as it likes; what it writes must not be taken for the address.
    report = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    address = _serve(config)
    _tell(report, address)
    while sys.stdin.buffer.read(4096):
        pass
    # The native server's destructor waits for running answers, which nobody will read.
    os._exit(0)


def _end_with(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)  # it went before the kernel was told


def _serve(config: Config) -> str:
    # Only this process pays for loading the native library, and only when a model is really used.
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = config.path
    params.n_ctx = config.context * config.slots
    params.n_parallel = config.slots
    params.cpuparams.n_threads = config.threads
    params.cpuparams_batch.n_threads = config.threads
    params.n_gpu_layers = config.gpu_layers
    if config.projector is not None:
        params.mmproj.path = config.projector
    on_processor = config.gpu_layers == 0 or all(map(_is_processor, xllamacpp.get_device_info()))
    if on_processor and not config.repeatable:
        # What was read is attended to as matrices that the processor multiplies fast. With 3,000 tokens read, 38 more took
        # 1.7 s as flash attention on f16, 1.5 s without it, and 1.2 s so; keys in f32 gained nothing. But words that are
        # read one by one and many at a time round differently: one answer in ten is another once its question was read.
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.cache_type_k = xllamacpp.ggml_type.GGML_TYPE_Q8_0
        params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    # A conversation whose slot another one took is kept in memory and put back for its next turn: slots are chosen by
    # the longest common beginning, so no conversation has to be tied to one.
    params.cache_ram_mib = config.cache_mib
    params.ctx_shift = False  # forgetting the beginning silently would be worse than saying that it is too long
    params.hostnames = ["127.0.0.1"]
    params.port = 0
    params.api_keys = [config.api_key]
    params.n_threads_http = config.slots + 32
    params.ui = False
    params.endpoint_slots = False
    params.endpoint_props = False
    params.verbosity = 2
    _serve.server = xllamacpp.Server(params)  # type: ignore[attr-defined] # kept alive for the process's life
    return str(_serve.server.listening_address)  # type: ignore[attr-defined]


def _is_processor(device: Mapping[str, Any]) -> bool:
    return bool(device["type"].name.endswith("_CPU"))


def _tell(report: BinaryIO, address: str) -> None:
    report.write(msgspec.json.encode({"address": address}) + b"\n")


if __name__ == "__main__":
    main()
