"""Tools that leave a trace whenever they begin: what happened can be counted, whoever died meanwhile.

`antiphon serve --tool code_execution=torture.effects:Execution` plays the tool; the traces are lines of the file that
the variable TORTURE_EFFECTS names.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path

from antiphon import wire
from antiphon.ports import Outcome, Session, Use
from antiphon.tools.scripted import ScriptedSession, ScriptedTool, ToolScript

VARIABLE = "TORTURE_EFFECTS"


class _Session(ScriptedSession):
    async def run(self, call: wire.ToolCallStep) -> Outcome:
        """Leave the trace, then play the script."""
        line = {"call": call.id, "process": os.getpid(), "at": time.time()}
        # One write to the end of a file is whole, whoever else writes; what a killed process wrote stays.
        file = os.open(os.environ[VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, json.dumps(line).encode() + b"\n")
        finally:
            os.close(file)
        return await super().run(call)


class _Traced(ScriptedTool):
    def __init__(self, type: str, script: ToolScript) -> None:
        super().__init__(type, script)
        self._played = script

    async def open(self, use: Use) -> Session:
        """A session that leaves traces."""
        return _Session(self.type, self._played)


class Search(_Traced):
    """A search: it may be made again."""

    def __init__(self) -> None:
        result = [{"title": "T", "url": "https://a.example/"}]
        super().__init__("google_search", ToolScript(result=result, delay=0.2))


class Execution(_Traced):
    """Code: what it does must not be done twice."""

    def __init__(self) -> None:
        super().__init__("code_execution", ToolScript(result="42\n", delay=0.4, rerunnable=False))


def count(file: Path) -> Counter[str]:
    """How often each call was begun."""
    if not file.exists():
        return Counter()
    return Counter(json.loads(line)["call"] for line in file.read_text(encoding="utf-8").splitlines())
