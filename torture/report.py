"""What came of it: figures as text, and as JSON."""

from __future__ import annotations

import json
import statistics
from typing import Any

from torture.campaign import Tally


def as_json(tally: Tally) -> str:
    """Everything that was counted."""
    fields: dict[str, Any] = vars(tally) | {
        "places": len(tally.places),
        "takeovers": figures(tally.takeovers),
        "pauses": figures(tally.pauses),
    }
    return json.dumps(fields, indent=2)


def figures(seconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Of each fault: how many runs, and their seconds."""
    return {
        name: {"runs": len(times), "p50": round(statistics.median(times), 3), "max": round(max(times), 3)}
        for name, times in sorted(seconds.items())
    }


def as_text(tally: Tally) -> str:
    """For reading."""
    lines = [
        f"seed {tally.seed}, {tally.topology}: {tally.rounds} rounds in {tally.seconds:.0f} s",
        f"  runs         {tally.runs} ({', '.join(f'{count} {name}' for name, count in tally.statuses.most_common())})",
        f"  events       {tally.events} seen by clients over {tally.connections} streams; {tally.resumes} resumes checked",
        f"  faults       {sum(tally.faults.values())} of {len(tally.faults)} kinds at {len(tally.places)} different places",
        f"  servers      started again {tally.restarts} times; tools begun {tally.effects} times",
        f"  gone         {tally.gone} runs, with the one server that had them in memory",
        f"  broken off   {tally.empty} streams before their first event",
        f"  strays       {tally.strays} (requests whose answer was lost on the way, each checked too)",
        f"  findings     {len(tally.findings)}",
        "",
        "                                               taken up by another after          longest pause of a run",
        "  faults                                 times    runs   p50 s   max s          runs   p50 s   max s",
    ]
    taken, paused = figures(tally.takeovers), figures(tally.pauses)
    for name, count in sorted(tally.faults.items()):
        lines.append(f"    {name:36} {count:5} {_columns(taken.get(name))}       {_columns(paused.get(name))}".rstrip())
    lines += [f"  note: {note}" for note in tally.notes]
    lines += [f"  FINDING {finding}" for finding in tally.findings]
    return "\n".join(lines)


def _columns(found: dict[str, float] | None) -> str:
    return f"{found['runs']:7} {found['p50']:7.2f} {found['max']:7.2f}" if found else f"{0:7}{'':16}"
