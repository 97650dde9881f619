"""After a fault: what every server now says of a run, held against what its client saw and against the script."""

from __future__ import annotations

import asyncio
import json
import random
from typing import Any

import aiohttp

from torture import invariants, jobs
from torture.clients import Finding, Outcome, whole_stream
from torture.processes import Server
from torture.topology import Topology

_EVERY = 80  # a log of so many events at most is resumed from each of them
_SOME = 8  # any other from so many
_SETTLES = 20.0  # seconds for a server to answer again after everything was mended


class Checks:
    """The checks of one deployment. `known` are the marks of requests, by the ids of what they made."""

    def __init__(self, topology: Topology, session: aiohttp.ClientSession, chance: random.Random) -> None:
        self._topology = topology
        self._session = session
        self._chance = chance
        self.known: dict[str, str] = {}
        self.resumes = 0

    async def settled(self) -> None:
        """Wait until every server answers. Raises Finding."""
        for server in self._topology.apis:
            try:
                async with asyncio.timeout(_SETTLES):
                    while not await self._lists(server):  # noqa: ASYNC110 - another process: nothing here could tell
                        await asyncio.sleep(0.05)
            except TimeoutError:
                raise Finding(f"{server.name} does not answer {_SETTLES:g} s after everything was mended") from None

    async def _lists(self, server: Server) -> bool:
        try:
            async with self._session.get(f"{server.url}/v1beta/interactions?page_size=1") as response:
                await response.read()
                return response.status == 200
        except (aiohttp.ClientError, OSError):
            return False

    async def of(self, saw: Outcome) -> list[str]:
        """All that is wrong with one run."""
        if saw.refused or saw.gone:
            return saw.findings
        if saw.id is None:
            return saw.findings or ["nothing was begun"]
        self.known[saw.id] = saw.job.mark
        try:
            return saw.findings + await self._of_log(saw)
        except (Finding, aiohttp.ClientError, OSError, TimeoutError) as finding:
            return [*saw.findings, f"{type(finding).__name__}: {finding}"]

    async def _of_log(self, saw: Outcome) -> list[str]:
        assert saw.id is not None
        found: list[str] = []
        whole = saw.frames
        for server in self._topology.apis:
            stored = await whole_stream(self._session, server, saw.id)
            found += invariants.same(whole, stored, server.name)
        found += invariants.numbering(whole) + invariants.moves(whole) + invariants.ending(whole, saw.job.ends)
        status = invariants.status(whole)
        partly = saw.job.kind == "broken" or status == "cancelled" or (saw.job.may_fall and status == "failed")
        if saw.job.kind != "poison":
            found += invariants.script(whole, saw.job.turns, whole=not partly)
        begun = self._topology.effects()
        found += invariants.effects(whole, begun, jobs.ONCE) if begun is not None else []
        resource = await self._resource(saw.id)
        found += invariants.shown(whole, resource)
        if not found:
            found += await self._resumed(saw.id, whole)
        return found

    async def _resource(self, id: str, *, whole: bool = False) -> dict[str, Any]:
        server = self._chance.choice(self._topology.apis)
        query = {"include_input": "true"} if whole else {}
        async with self._session.get(f"{server.url}/v1beta/interactions/{id}", params=query) as response:
            said: dict[str, Any] = await response.json()
            if response.status != 200:
                raise Finding(f"GET {id} at {server.name}: {response.status} {said}")
            return said

    async def _resumed(self, id: str, whole: list[bytes]) -> list[str]:
        """Resume from every event, each time at any server."""
        places = list(range(1, len(whole)))  # after the last there is nothing but the end
        if len(whole) > _EVERY:
            places = self._chance.sample(places, _SOME)

        async def one(after: int) -> list[str]:
            server = self._chance.choice(self._topology.apis)
            self.resumes += 1
            rest = await whole_stream(self._session, server, id, after)
            return invariants.resumed(whole, after, rest, server.name)

        return [finding for findings in await asyncio.gather(*map(one, places)) for finding in findings]

    # ------------------------------------------------------------------ what nobody knows of

    async def strays(self, saws: list[Outcome], bound: float) -> tuple[list[str], int]:
        """Requests whose answer was lost on the way: what they made has ended too. And how many there were.

        With a key a request that is sent again makes nothing new; without one that cannot be promised.
        """
        marks = [saw.job.mark for saw in saws]
        keyed = {saw.job.mark for saw in saws if saw.job.keyed}
        made = [(mark, id) for id, mark in self.known.items() if mark in marks]
        found, strays = [], 0
        for id in await self._newest(4 * len(marks) + 20):
            if id in self.known:
                continue
            resource = await self._resource(id, whole=True)
            said = json.dumps([step for step in resource.get("steps") or () if step["type"] == "user_input"])
            mark = next((mark for mark in marks if mark in said), "")
            if not mark:
                continue  # of an earlier round
            strays += 1
            made.append((mark, id))
            self.known[id] = mark
            if not await self._ends(id, bound):
                found.append(f"{id}, made by a request ({mark}) whose answer was lost, has not ended")
        return found + invariants.once((mark, id) for mark, id in made if mark in keyed), strays

    async def _newest(self, size: int) -> list[str]:
        server = self._chance.choice(self._topology.apis)
        async with self._session.get(f"{server.url}/v1beta/interactions?page_size={min(size, 1000)}") as response:
            said = await response.json()
        return [interaction["id"] for interaction in said.get("interactions") or ()]

    async def _ends(self, id: str, bound: float) -> bool:
        try:
            async with asyncio.timeout(bound):
                while (await self._resource(id))["status"] not in invariants.ENDS:  # noqa: ASYNC110 - the same
                    await asyncio.sleep(0.1)
        except TimeoutError:
            return False
        return True
