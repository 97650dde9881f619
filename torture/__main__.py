"""The torture suite on the command line.

python -m torture                                  one server with SQLite, 20 rounds
python -m torture --topology cluster --minutes 30  two api servers, two workers, PostgreSQL, NATS
python -m torture --sweep                          every fault at every event of a run
python -m torture --seed 7 --fault "kill a worker" the same rounds again, of one fault
python -m torture --url URL --url URL              a deployment of yours (docs/torture.md)
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from torture import campaign, jobs, report
from torture.campaign import Campaign, Tally
from torture.deployed import Deployed, commanded
from torture.faults import FAULTS, Fault
from torture.topology import THERE, TOPOLOGIES, Topology


def say(text: str) -> None:
    """Progress, beside the report."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def options() -> argparse.Namespace:
    """What is asked for."""
    parser = argparse.ArgumentParser(prog="torture", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    add = parser.add_argument
    add("--topology", choices=TOPOLOGIES, default="sqlite", help="what to start (default: %(default)s)")
    add("--rounds", type=int, help="how many (default: 20, where no --minutes are given)")
    add("--minutes", type=float, help="how long")
    add("--jobs", type=int, default=6, help="runs at once in a round (default: %(default)s)")
    add("--seed", type=int, default=random.SystemRandom().randrange(10**6), help="(default: by chance)")
    add("--fault", action="append", default=[], choices=FAULTS, metavar="NAME", help="only this; repeat")
    add("--faults", action="store_true", help="list the faults, and end")
    add("--plan", action="store_true", help="say what would be done, and end")
    add("--sweep", action="store_true", help="every fault at every event, once each")
    add("--pace", type=float, default=15, help="words a second that the model says (default: %(default)s)")
    add(
        "--bound", type=float, default=45, help="seconds in which a run must end after the fault (default: %(default)s)"
    )
    add("--big-disk", action="store_true", help="no small disk in memory; the disk cannot be filled then")
    add("--stop", action="store_true", help="stop at the first round with a finding")
    add("--json", type=Path, metavar="FILE", help="write the figures there too")
    add("--keep", type=Path, metavar="FOLDER", help="copy the servers' logs there")
    yours = parser.add_argument_group("a deployment of yours")
    add = yours.add_argument
    add("--scripts", type=Path, metavar="FOLDER", help="write the scripts there, print servers' arguments, and end")
    add("--url", action="append", default=[], help="one of its servers; repeat")
    add("--key", default="any", help="an API key of it")
    add("--strike", metavar="COMMAND", help="do this to it")
    add("--mend", metavar="COMMAND", default="", help="and undo it so")
    add("--after", type=float, default=5, metavar="SECONDS", help="so much later (default: %(default)s)")
    return parser.parse_args()


def faults_of(chosen: argparse.Namespace) -> list[Fault]:
    """Those asked for; none for all there are."""
    if chosen.strike:
        return [commanded(chosen.strike, chosen.mend, chosen.after)]
    return [FAULTS[name] for name in chosen.fault]


def topology_of(chosen: argparse.Namespace) -> Topology:
    """What is to be tortured."""
    if chosen.url:
        return Deployed(chosen.url)
    return Topology(chosen.topology, tokens_per_second=chosen.pace, small_disk=not chosen.big_disk)


async def torture(chosen: argparse.Namespace, faults: Sequence[Fault]) -> Tally:
    """Start everything, play, and stop everything."""
    until = time.monotonic() + chosen.minutes * 60 if chosen.minutes else None
    most = chosen.rounds if chosen.rounds is not None else None if until or chosen.sweep else 20

    def enough(tally: Tally) -> bool:
        late = until is not None and time.monotonic() > until
        return late or tally.rounds == most or (chosen.stop and bool(tally.findings))

    async with topology_of(chosen) as topology:
        say(f"seed {chosen.seed}, {topology.name}: {', '.join(server.name for server in topology.servers)} are up")
        playing = Campaign(topology, chosen.seed, chosen.bound, say, chosen.key)
        rounds = campaign.planned(topology.there, chosen.seed, chosen.jobs, faults, sweep=chosen.sweep)
        try:
            return await playing.play(rounds, enough)
        except asyncio.CancelledError:
            say("interrupted: what there is so far")
            return playing.tally
        finally:
            if chosen.keep is not None and not chosen.url:
                topology.keep_logs(chosen.keep)


def tell(chosen: argparse.Namespace) -> bool:
    """What is only asked for, and not done; whether that was all."""
    if chosen.faults:
        for fault in FAULTS.values():
            print(f"{fault.name:40} needs {fault.needs}, lasts {fault.lasts[0]:g} to {fault.lasts[1]:g} s")
    elif chosen.plan:
        there = THERE[chosen.topology]
        rounds = campaign.planned(there, chosen.seed, chosen.jobs, faults_of(chosen), sweep=chosen.sweep)
        for planned in itertools.islice(rounds, chosen.rounds or 20):
            print(f"round {planned.number:4} {len(planned.jobs)} runs: {campaign.title(planned)}")
    elif chosen.scripts is not None:
        chosen.scripts.mkdir(parents=True, exist_ok=True)
        print(" ".join(jobs.write_scripts(chosen.scripts.resolve(), chosen.pace)))
    else:
        return False
    return True


def main() -> None:
    """The exit status is 1 where anything was found."""
    chosen = options()
    if tell(chosen):
        return
    tally = asyncio.run(torture(chosen, faults_of(chosen)))
    print(report.as_text(tally))
    if chosen.json is not None:
        chosen.json.write_text(report.as_json(tally), encoding="utf-8")
    sys.exit(bool(tally.findings))


if __name__ == "__main__":
    main()
