"""The examples of docs/files.md, against a server whose model is shown the text of what it is sent."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from serving import ServerFactory

SCRIPT = """
modalities = ["text"]
[[turns]]
when = "pear"
recall = 'pear\\W+([\\d.]+)'
text = "A pear costs {0}."
"""
PRINTS = {
    "files.py": r"files/\w{12} ACTIVE 33 bytes until 20\d\d-.*\nTrue\nA pear costs 0.95.\n\['Prices'\]\npear,0.95",
    "files.mjs": r"files/\w{12} ACTIVE 33\nA pear costs 0.95.\nPrices",
    "files.sh": r"recording\{\}",
}


@pytest.mark.sdk
@pytest.mark.parametrize("name", PRINTS)
def test_an_example_prints_what_its_page_promises(
    server: ServerFactory, run_example: Callable[..., str], name: str
) -> None:
    assert re.fullmatch(PRINTS[name], run_example(name, server=server(SCRIPT)).strip(), re.DOTALL)
