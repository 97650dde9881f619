"""Everything that the official clients can ask, checked in their own words: see programs/conformance.*"""

from __future__ import annotations

import json

import pytest
from sdk_versions import JAVASCRIPT, PYTHON

pytestmark = pytest.mark.sdk


@pytest.mark.parametrize("style", ["sync", "async"])
@pytest.mark.parametrize("version", PYTHON)
def test_the_python_client_finds_no_fault(run_program, version, style):
    report = json.loads(run_program(version, "conformance.py", style))
    assert report["version"] == version and report["checks"] >= 24
    assert not report["faults"], "\n".join(report["faults"].values())


@pytest.mark.parametrize("version", JAVASCRIPT)
def test_the_javascript_client_finds_no_fault(run_program, version):
    report = json.loads(run_program(version, "conformance.mjs"))
    assert report["version"] == version and report["checks"] >= 13
    assert not report["faults"], "\n".join(report["faults"].values())
