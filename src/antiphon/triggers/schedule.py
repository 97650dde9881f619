"""When a cron expression comes due in a time zone. Times are seconds since 1970; no clock is read here.

Where clocks go forward or back it is as Debian's cron has it: a tick at a fixed hour comes once, on a day that skips the
hour as soon as the hour is over, on a day that has it twice the first time; a tick of every hour comes in every hour
that passes.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from zoneinfo import ZoneInfo

from antiphon import wire

CLOSEST = 60.0  # seconds between two ticks
# Clocks are set back by less than this: an hour that comes twice is looked at from before its first time.
_TWICE = 3 * 3600.0


def check(schedule: str, time_zone: str) -> None:
    """Refuse a time zone that there is none of, and a schedule that is none or never comes. Raises InvalidRequest."""
    zone(time_zone)
    if len(schedule.split()) != 5:
        raise wire.InvalidRequest(
            f"{schedule[:100]!r} at 'schedule' is no cron expression of five fields: "
            "minute, hour, day of the month, month, day of the week."
        )
    after(schedule, time_zone, 0.0)


@lru_cache(maxsize=256)
def zone(name: str) -> ZoneInfo:
    """A time zone by its name in the IANA data base. Raises InvalidRequest."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # a name that is none, no path of ours, or a folder of zones
        raise wire.InvalidRequest(f"{name[:100]!r} at 'time_zone' is no time zone known here.") from None


def after(schedule: str, time_zone: str, seconds: float) -> float:
    """The first tick later than a time. Raises InvalidRequest."""
    for tick in _ticks(schedule, time_zone, seconds):
        if tick > seconds:  # within an hour that comes twice, the first is still in its past
            return tick
    raise wire.InvalidRequest(f"{schedule!r} at 'schedule' never comes.")


def latest(schedule: str, time_zone: str, seconds: float) -> float | None:
    """The last tick not later than a time."""
    return next((tick for tick in _ticks(schedule, time_zone, seconds + _TWICE, back=True) if tick <= seconds), None)


def _ticks(schedule: str, time_zone: str, seconds: float, *, back: bool = False) -> Iterator[float]:
    """Ticks from a time on, in this direction or in the other; some hundred at most."""
    try:
        from cronsim import CronSim, CronSimError
    except ImportError:
        why = "Triggers need the package 'cronsim': install 'antiphon[triggers]' where the server runs."
        raise wire.FailedPrecondition(why) from None
    start = datetime.fromtimestamp(seconds, UTC).astimezone(zone(time_zone))
    try:
        for tick in islice(CronSim(schedule, start, reverse=back), 500):
            yield tick.timestamp()
    except (CronSimError, OverflowError) as error:
        raise wire.InvalidRequest(f"{schedule[:100]!r} at 'schedule' is no cron expression: {error}.") from None
