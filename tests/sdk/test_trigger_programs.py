"""Triggers as the official clients call them. Google's 2.0.0 has none."""

from __future__ import annotations

import pytest
from sdk_versions import JAVASCRIPT

pytestmark = pytest.mark.sdk
JOKE = "Why do programmers prefer dark mode? Because light attracts bugs."


@pytest.mark.parametrize("version", ["2.34.0", "3.4.0"])
def test_the_python_client_makes_lists_pauses_runs_and_deletes(run_program, version):
    assert run_program(version, "triggers.py").splitlines() == [
        "jokes active 0 9 * * 1-5 Europe/Paris True",
        "60 3 0",
        "[True, False]",
        "True True None",
        "paused paused jokes None None",
        "True in_progress",
        "completed True None",
        JOKE,
        "active True True",
        "True",
        "400 '61 * * * *' at 'schedule' is no cron expression: Bad minute.",
        "400 'Mars/Phobos' at 'time_zone' is no time zone known here.",
        "404 In 'interaction': Agent 'none' is not served here. Agents: 'deep-research-preview-04-2026', "
        "'deep-research-max-preview-04-2026', 'deep-research-pro-preview-12-2025'.",
        "400 The value 'spoon' is not supported for 'type' at 'interaction.tools[0]'.",
        "1 None",
        "404",
    ]


@pytest.mark.parametrize("version", JAVASCRIPT)
def test_the_javascript_client_makes_lists_pauses_runs_and_deletes(run_program, version):
    assert run_program(version, "triggers.mjs").splitlines() == [
        "jokes active 0 9 * * 1-5 Europe/Paris 3",
        "true true undefined",
        "paused paused jokes undefined",
        "completed true",
        JOKE,
        "active true",
        "true",
        "400 true",
        "undefined",
    ]
