"""Programs as users copy them, each with every version of the official clients. Only a URL and a key are set."""

from __future__ import annotations

import pytest
from sdk_versions import JAVASCRIPT, PYTHON

pytestmark = pytest.mark.sdk

CLIENTS = [
    *(pytest.param(version, ".py", id=f"python-{version}") for version in PYTHON),
    *(pytest.param(version, "_async.py", id=f"python-{version}-async") for version in PYTHON),
    *(pytest.param(version, ".mjs", id=f"javascript-{version}") for version in JAVASCRIPT),
]
every_client = pytest.mark.parametrize(("version", "ending"), CLIENTS)
JOKE = "Why do programmers prefer dark mode? Because light attracts bugs."


@every_client
def test_the_quick_start_prints_the_answer(run_program, version, ending):
    assert run_program(version, f"quick_start{ending}") == JOKE + "\n"


@every_client
def test_a_conversation_is_remembered(run_program, version, ending):
    said = run_program(version, f"conversation{ending}")
    assert said == "Model: Nice to meet you!\nModel: Your name is Phil.\n"


@every_client
@pytest.mark.parametrize("program", ["stream_event_type", "stream_type"])
def test_a_stream_is_read_by_either_name_of_its_events(run_program, version, ending, program):
    said = run_program(version, f"{program}{ending}")
    assert said == f"{JOKE}\ncompleted: 17 tokens\n"


@every_client
def test_a_background_run_is_polled_until_it_completes(run_program, version, ending):
    assert run_program(version, f"polling{ending}", "A joke about programming, please.") == JOKE + "\n"


@every_client
def test_a_background_run_is_polled_until_it_fails_and_says_why(run_program, version, ending):
    said = run_program(version, f"polling{ending}", "Please fail half-way.")
    assert said.startswith("Failed: {") and "service_unavailable" in said and "The model has left." in said


@every_client
def test_a_wrong_key_is_refused_in_the_servers_words(failing_program, server_with_keys, version, ending):
    said = failing_program(version, f"quick_start{ending}", server=server_with_keys)
    assert "AuthenticationError" in said and "This API key is not known here." in said
