"""When a cron expression comes due, and what clocks going forward and back do to it."""

import itertools
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon import wire
from antiphon.triggers import schedule

BERLIN = "Europe/Berlin"  # 2026: forward on 29 March at 01:00 UTC, back on 25 October at 01:00 UTC


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def ticks(expression: str, zone: str, since: str) -> Iterator[str]:
    now = at(since)
    while True:
        now = schedule.after(expression, zone, now)
        yield datetime.fromtimestamp(now, UTC).strftime("%m-%d %H:%M")


def first(count: int, expression: str, zone: str, since: str) -> list[str]:
    return list(itertools.islice(ticks(expression, zone, since), count))


def test_a_schedule_is_read_in_its_time_zone():
    assert first(2, "0 9 * * *", "America/Argentina/Buenos_Aires", "2026-05-01") == ["05-01 12:00", "05-02 12:00"]
    assert first(3, "0 9 * * MON-FRI", BERLIN, "2026-01-02") == ["01-02 08:00", "01-05 08:00", "01-06 08:00"]
    assert first(2, "*/20 * * * *", "Asia/Kolkata", "2026-05-01") == ["05-01 00:10", "05-01 00:30"]


def test_a_tick_in_an_hour_that_is_left_out_comes_once_when_the_hour_is_over():
    found = first(4, "30 2 * * *", BERLIN, "2026-03-27T12:00")
    assert found == ["03-28 01:30", "03-29 01:00", "03-30 00:30", "03-31 00:30"]  # 03:00 on the 29th, else 02:30


def test_a_tick_in_an_hour_that_comes_twice_comes_once():
    found = first(4, "30 2 * * *", BERLIN, "2026-10-23T12:00")
    assert found == ["10-24 00:30", "10-25 00:30", "10-26 01:30", "10-27 01:30"]


@pytest.mark.parametrize("minute", range(0, 60, 5))
def test_whoever_asks_within_the_second_of_the_two_hours_is_told_of_no_tick_in_the_past(minute):
    now = at(f"2026-10-25T01:{minute:02}")  # 02:xx for the second time
    assert schedule.after("30 2 * * *", BERLIN, now) == at("2026-10-26T01:30")
    assert schedule.latest("30 2 * * *", BERLIN, now) == at("2026-10-25T00:30")


def test_a_tick_of_every_hour_comes_in_every_hour_that_passes():
    assert first(3, "30 * * * *", BERLIN, "2026-03-29T00:00") == ["03-29 00:30", "03-29 01:30", "03-29 02:30"]
    assert first(4, "30 * * * *", BERLIN, "2026-10-25T00:00") == [
        "10-25 00:30",
        "10-25 01:30",
        "10-25 02:30",
        "10-25 03:30",
    ]


@given(
    st.sampled_from(["30 2 * * *", "*/7 * * * *", "0 */3 * * *", "15,45 1-3 * * *", "0 0 1 * *", "59 23 * * SUN"]),
    st.sampled_from(["UTC", BERLIN, "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata", "America/St_Johns"]),
    st.integers(1_767_225_600, 1_767_225_600 + 365 * 86400),  # 2026
)
def test_the_latest_tick_is_the_one_that_came_last(expression, zone, now):
    following = schedule.after(expression, zone, now)
    assert following > now
    assert schedule.latest(expression, zone, following) == following
    before = schedule.latest(expression, zone, following - 1)
    assert before is not None and before <= now
    assert schedule.after(expression, zone, before) == following


@pytest.mark.parametrize(
    ("expression", "says"),
    [
        ("", "five fields"),
        ("* * * *", "five fields"),
        ("0 * * * * *", "five fields"),
        ("@daily", "five fields"),
        ("60 * * * *", "Bad minute"),
        ("* * * * MONDAY", "Bad day-of-week"),
        ("0 0 30 2 *", "Bad day-of-month"),
        ("x" * 400, "five fields"),
    ],
)
def test_what_is_no_schedule_is_refused_at_its_place(expression, says):
    with pytest.raises(wire.InvalidRequest, match=says) as refused:
        schedule.check(expression, "UTC")
    assert "at 'schedule'" in refused.value.message


@pytest.mark.parametrize("name", ["", "Mars/Phobos", "America", "../etc/passwd", "/etc/passwd", "a\0b", "x" * 300])
def test_what_is_no_time_zone_is_refused_at_its_place(name):
    with pytest.raises(wire.InvalidRequest, match="at 'time_zone'"):
        schedule.check("* * * * *", name)
