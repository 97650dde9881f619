"""The embedded Whisper, as this server holds it: a process that starts with the first sound, and stays."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from antiphon import wire
from antiphon.media.hearing_process import LENGTH, Config, Piece, Said
from antiphon.media.workers import end, start
from antiphon.weights import WeightsError

logger = logging.getLogger("antiphon.hearing")

Weights = Callable[[], Path | str]

_START = 120.0  # seconds for loading the weights, on a busy machine
_LONGEST = 180.0  # seconds for half a minute of sound: many times what a slow processor needs
_BROKEN = (OSError, EOFError, msgspec.DecodeError)  # TimeoutError and IncompleteReadError are among them


class Whisper:
    """Whisper with the weights in the folder that `weights` gives; it is asked in a thread, when the process starts.

    One piece is listened to at a time: those of several sounds take turns.
    """

    def __init__(self, weights: Weights, *, threads: int | None = None, device: str = "cpu") -> None:
        self._weights = weights
        self._threads = threads or min(8, len(os.sched_getaffinity(0)))
        self._device = device
        self._turn = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        """The process's id, when there is one."""
        return self._process.pid if self._process is not None and self._process.returncode is None else None

    async def hear(self, piece: Piece) -> Said:
        """What is said in a piece. Raises Unavailable."""
        async with self._turn:
            try:
                return await self._exchange(piece)
            except _BROKEN:  # the process died; of something else, perhaps: once more
                try:
                    return await self._exchange(piece)
                except _BROKEN:
                    raise wire.Unavailable("The process that listens to speech ended over this sound.") from None

    async def aclose(self) -> None:
        """End the process; the next sound starts a new one."""
        process, self._process = self._process, None
        if process is not None:
            await end(process)

    async def _exchange(self, piece: Piece) -> Said:
        whole = False
        try:
            if self.pid is None:
                await self._start()
            said = await self._ask(msgspec.msgpack.encode(piece), _LONGEST)
            whole = True
        finally:
            if not whole:  # also when nobody wants the answer any more: it would be taken for that to the next piece
                await self.aclose()
        if said.fault:
            raise wire.Unavailable(f"Whisper could not listen to this sound: {said.fault}")
        return said

    async def _start(self) -> None:
        try:
            folder = await asyncio.to_thread(self._weights)
        except WeightsError as error:  # it tells of places that are the operator's
            logger.warning("Whisper's weights cannot be had: %s", error)
            raise wire.Unavailable("The weights of Whisper cannot be had here; the server's log says why.") from None
        self._process = await start("antiphon.media.hearing_process", "CUDA_VISIBLE_DEVICES")
        config = Config(folder=str(folder), parent=os.getpid(), device=self._device, threads=self._threads)
        try:
            said = await self._ask(msgspec.msgpack.encode(config), _START)
        except _BROKEN:
            raise wire.Unavailable("The process that listens to speech does not start.") from None
        if said.fault:
            logger.warning("Whisper cannot be loaded from %s: %s", folder, said.fault)
            raise wire.Unavailable("Whisper cannot be loaded here; the server's log says why.")

    async def _ask(self, message: bytes, seconds: float) -> Said:
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None, "it was started so"
        async with asyncio.timeout(seconds):
            process.stdin.write(LENGTH.pack(len(message)) + message)
            await process.stdin.drain()
            header = await process.stdout.readexactly(LENGTH.size)
            return msgspec.msgpack.decode(await process.stdout.readexactly(LENGTH.unpack(header)[0]), type=Said)
