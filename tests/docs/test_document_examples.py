"""The programs that send documents and images, against a server whose model reads neither itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from serving import Server

SCRIPT = r"""
modalities = ["text"]
[[turns]]
when = "Total:"
recall = 'Total: (\d+) EUR'
text = "The total is {0} EUR."
[[turns]]
when = "Platform"
recall = '(Platform \d+)'
text = "From {0}."
"""
PRINTS = {
    "document.py": r"The total is 1234 EUR\. \| \['processing_call', 'processing_result', 'model_output'\]\n"
    r"The total is 1234 EUR\.",
    "document.mjs": r"The total is 1234 EUR\.\nThe total is 1234 EUR\.",
    "image.py": r"From Platform 9\. \| \['processing_call', 'processing_result', 'model_output'\]",
    "image.mjs": r"From Platform 9\.",
}


def report() -> bytes:
    """A PDF of two pages, whose table of objects is left for the reader to rebuild."""
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        "<< /Type /Pages /Kids [4 0 R 6 0 R] /Count 2 >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(("Report of the year", "Total: 1234 EUR")):
        content = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        objects += [
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>",
            f"<< /Length {len(content)} >>\nstream\n{content}\nendstream",
        ]
    written = "".join(f"{number} 0 obj\n{one}\nendobj\n" for number, one in enumerate(objects, 1))
    return f"%PDF-1.4\n{written}trailer\n<< /Root 1 0 R >>\n%%EOF\n".encode("latin-1")


@pytest.fixture(scope="module")
def reading_server(session_server: Callable[..., Server]) -> Server:
    return session_server(SCRIPT)


@pytest.mark.sdk
@pytest.mark.parametrize("name", PRINTS)
def test_a_program_that_sends_a_document_or_an_image_prints_what_its_page_promises(
    run_example: Callable[..., str], reading_server: Server, tmp_path: Path, name: str
) -> None:
    (tmp_path / "report.pdf").write_bytes(report())
    sign = Image.new("RGB", (400, 120), "white")
    ImageDraw.Draw(sign).text((30, 30), "Platform 9", fill="black", font_size=48)
    sign.save(tmp_path / "sign.png")
    printed = run_example(name, server=reading_server)
    assert re.fullmatch(PRINTS[name], printed.strip(), re.DOTALL), printed
