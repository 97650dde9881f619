"""Documents and images made readable for a model: with their structure, as far as they are asked for, and nothing unsaid."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Coroutine, Iterator
from typing import Any

import hostile
import pytest
from hostile import docx, drawn, odf, package, paragraph, pdf, pptx, xlsx
from PIL import Image

from antiphon import wire
from antiphon.media.digest import DigestPages
from antiphon.media.grid import moved
from antiphon.media.layout import Word, text_of
from antiphon.ports import Digest, Medium, Unreadable, Wanted

SEES = Wanted(modalities=frozenset({"text", "image"}))


class Digesting:
    """One digester for all tests here, in one event loop: its workers start once."""

    def __init__(self) -> None:
        self.loop = asyncio.Runner()
        self.digests = DigestPages()

    def run(self, test: Coroutine[Any, Any, Digest]) -> Digest:
        async def limited() -> Digest:
            async with asyncio.timeout(120):
                return await test

        return self.loop.run(limited())

    def document(self, body: bytes, wanted: Wanted = Wanted(), name: str | None = None, **asked: Any) -> Digest:  # noqa: B008
        """`asked` are page_options or spreadsheet_options."""
        options: dict[str, Any] = {}
        if "page_options" in asked:
            options["page_options"] = wire.PageOptions(**asked["page_options"])
        if "spreadsheet_options" in asked:
            options["spreadsheet_options"] = wire.SpreadsheetOptions(**asked["spreadsheet_options"])
        processing = wire.DocumentStaticProcessing(**options) if options else None
        content = wire.DocumentContent(processing=processing, resolution=asked.get("resolution"))
        medium = Medium(kind="document", body=body, mime_type=asked.get("mime_type"), content=content, name=name)
        return self.run(self.digests(medium, wanted))

    def image(self, body: bytes, wanted: Wanted = Wanted(), resolution: Any = None) -> Digest:  # noqa: B008
        content = wire.ImageContent(resolution=resolution)
        return self.run(self.digests(Medium(kind="image", body=body, mime_type=None, content=content), wanted))

    def text(self, body: bytes, *rest: Any, **asked: Any) -> str:
        """The one text that comes of a document."""
        (part,) = self.document(body, *rest, **asked).parts
        assert isinstance(part, wire.TextContent)
        return part.text

    def fault(self, body: bytes, *rest: Any, **asked: Any) -> str:
        with pytest.raises(Unreadable) as caught:
            self.document(body, *rest, **asked)
        return str(caught.value)


@pytest.fixture(scope="module")
def digest() -> Iterator[Digesting]:
    digesting = Digesting()
    yield digesting
    digesting.loop.run(digesting.digests.aclose())
    digesting.loop.close()


def shown(part: Any) -> Image.Image:
    assert isinstance(part, wire.ImageContent) and part.data is not None
    return Image.open(io.BytesIO(base64.b64decode(part.data)))


# ---------------------------------------------------------------------------------------------------- pages


def test_a_pdf_is_its_pages_with_their_numbers(digest: Digesting) -> None:
    body = pdf(["First", "", "Third"])
    assert digest.text(body, name="report.pdf") == (
        "[document report.pdf, PDF, 3 pages]\n[page 1]\nFirst\n[page 2, empty]\n[page 3]\nThird"
    )
    chosen = digest.text(body, name="a [b]\n.pdf", page_options={"start_page": 2, "end_page": 9})
    assert chosen == "[document a b .pdf, PDF, pages 2 to 3 of 3]\n[page 2, empty]\n[page 3]\nThird"


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"start_page": 4}, "3 pages"),
        ({"start_page": 0}, "at least 1"),
        ({"start_page": 3, "end_page": 2}, "no less than start_page"),
        ({"content_layers": ["page_image"]}, "does not look at images"),
    ],
)
def test_pages_that_cannot_be_had_are_refused(digest: Digesting, options: dict[str, Any], words: str) -> None:
    assert words in digest.fault(pdf(["a", "b", "c"]), page_options=options)


def test_a_model_that_sees_is_shown_the_pages_it_asks_for(digest: Digesting) -> None:
    body = pdf(["First", "Second"])
    found = digest.document(body, SEES, page_options={"content_layers": ["page_text", "page_image"]}, resolution="low")
    assert [type(part) for part in found.parts] == [wire.TextContent, wire.ImageContent] * 2
    assert isinstance(found.parts[2], wire.TextContent) and found.parts[2].text == "[page 2]\nSecond"
    assert max(shown(found.parts[1]).size) == 512
    only = digest.document(body, SEES, page_options={"content_layers": ["page_image"], "end_page": 1})
    assert isinstance(only.parts[0], wire.TextContent) and "First" not in only.parts[0].text


def test_a_page_without_text_is_shown_to_who_sees_and_read_for_who_does_not(digest: Digesting) -> None:
    scan = drawn("PDF", (400, 200))
    found = digest.document(scan, SEES)
    assert max(shown(found.parts[1]).size) == 1536
    read = digest.text(scan)
    assert "[page 1, a picture; its text as read by OCR]\nAntiphon 1741" in read
    assert "Antiphon 1741" in digest.text(scan, SEES, page_options={"content_layers": ["page_text"]})


def test_more_text_than_there_is_room_for_is_refused_with_what_to_do(digest: Digesting) -> None:
    fault = digest.fault(pdf(["x" * 60, "y" * 60]), Wanted(room=100))
    assert "120 characters" in fault and "room for 100" in fault
    assert all(word in fault for word in ("page_options", "file_search", "larger context"))
    assert "spreadsheet_options" in digest.fault(b"a,b\n" * 50, Wanted(room=100), mime_type="text/csv")
    assert "page_options" not in digest.fault(b"a" * 101, Wanted(room=100))


def test_tables_of_a_pdf_are_markdown(digest: Digesting) -> None:
    lines = "".join(f"50 {y} m 350 {y} l S " for y in (600, 640, 680)) + "".join(
        f"{x} 600 m {x} 680 l S " for x in (50, 200, 350)
    )
    cells = {(60, 655): "Name", (210, 655): "Price", (60, 615): "Lute", (210, 615): "12"}
    texts = "".join(f"BT /F1 12 Tf {x} {y} Td ({text}) Tj ET " for (x, y), text in cells.items())
    before, after = "BT /F1 12 Tf 50 720 Td (Before) Tj ET ", "BT /F1 12 Tf 50 550 Td (After) Tj ET"
    body = pdf(["-"], content=lines + before + texts + after)
    text = digest.text(body)
    assert "| Name | Price |\n| --- | --- |\n| Lute | 12 |" in text
    assert text.index("Before") < text.index("| Name") < text.index("After")


# ---------------------------------------------------------------------------------------------------- Office, ODF


TABLE = "".join(
    f"<w:tr>{''.join(f'<w:tc>{paragraph(cell)}</w:tc>' for cell in row)}</w:tr>" for row in (("a|b", "c"), ("d", "e"))
)


def test_word_has_pages_where_its_program_left_marks_and_tables(digest: Digesting) -> None:
    mark = "<w:p><w:r><w:lastRenderedPageBreak/><w:t>Two</w:t></w:r></w:p>"
    body = docx(f"{paragraph('One')}<w:tbl>{TABLE}</w:tbl><w:tbl>{TABLE}</w:tbl>{mark}")
    text = digest.text(body, name="a.docx")
    assert text.startswith(
        "[document a.docx, Word, 2 pages]\n[page 1]\nOne\n\n| a\\|b | c |\n| --- | --- |\n| d | e |\n\n| a"
    )
    assert text.endswith("[page 2]\nTwo")
    assert digest.text(body, page_options={"start_page": 2}).endswith("page 2 of 2]\n[page 2]\nTwo")
    assert "where its pages begin" in digest.fault(docx(paragraph("One")), page_options={"start_page": 2})
    assert "only the pages of PDF" in digest.fault(body, SEES, page_options={"content_layers": ["page_image"]})
    assert "are for spreadsheets" in digest.fault(body, spreadsheet_options={"sheet_index": 1})


def test_slides_have_numbers_titles_and_pictures(digest: Digesting) -> None:
    title = '<p:sp><p:nvPr><p:ph type="title"/></p:nvPr><a:p><a:r><a:t>Title</a:t></a:r></a:p></p:sp>'
    picture = '<p:pic><p:cNvPr descr="a lute"/><a:blip/></p:pic><a:p><a:r><a:t>Point</a:t></a:r></a:p>'
    body = pptx([title, picture])
    assert digest.text(body) == (
        "[document, PowerPoint, 2 slides]\n[slide 1]\n# Title\n[slide 2]\n[picture: a lute]\n\nPoint"
    )
    assert digest.text(body, page_options={"end_page": 1}).startswith("[document, PowerPoint, slide 1 of 2]")


def test_open_document_text_has_pages_and_tables(digest: Digesting) -> None:
    style = '<style:style style:name="P1"><style:paragraph-properties fo:break-before="page"/></style:style>'
    row = "<table:table-row><table:table-cell><text:p>a</text:p></table:table-cell></table:table-row>"
    body = odf(
        "text", f'{style}<text:p>One</text:p><table:table>{row}</table:table><text:p text:style-name="P1">Two</text:p>'
    )
    assert digest.text(body) == "[document, OpenDocument text, 2 pages]\n[page 1]\nOne\n\n| a |\n| --- |\n[page 2]\nTwo"


CELLS = (
    '<row r="1"><c r="A1" t="inlineStr"><is><t>Item</t></is></c><c r="B1" t="inlineStr"><is><t>Price</t></is></c></row>'
    '<row r="2"><c r="A2" t="inlineStr"><is><t>Lute</t></is></c><c r="B2"><v>12.5</v></c></row>'
    '<row r="3"><c r="B3"><f t="shared" si="0">SUM(B$1:B2)</f><v>12.5</v></c></row>'
    '<row r="4"><c r="B4"><f t="shared" si="0"/><v>25</v></c></row>'
)


def test_a_sheet_is_a_table_and_formulas_are_shown_where_they_are_asked_for(digest: Digesting) -> None:
    body = xlsx(CELLS)
    head = "[document, Excel, 1 sheet]\n[sheet 1: Costs]\n"
    assert digest.text(body) == head + "| Item | Price |\n| --- | --- |\n| Lute | 12.5 |\n|  | 12.5 |\n|  | 25 |"
    both = digest.text(body, spreadsheet_options={"content_layers": ["data", "formulas"]})
    assert "|  | A | B |\n" in both and "| 4 |  | 25 (=SUM(B$1:B3)) |" in both
    assert "| 4 |  | =SUM(B$1:B3) |" in digest.text(body, spreadsheet_options={"content_layers": ["formulas"]})
    some = digest.text(body, spreadsheet_options={"sheet_index": 1, "visible_cells": "A2:B2"})
    assert some.endswith("[sheet 1: Costs, cells A2:B2]\n|  | A | B |\n| --- | --- | --- |\n| 2 | Lute | 12.5 |")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"spreadsheet_options": {"sheet_index": 2}}, "1 sheet (Costs)"),
        ({"spreadsheet_options": {"visible_cells": "all"}}, "A1:D20"),
        ({"spreadsheet_options": {"visible_cells": "B2:A1"}}, "top left"),
        ({"spreadsheet_options": {"content_layers": ["visual"]}}, "not drawn"),
        ({"page_options": {"start_page": 1}}, "use spreadsheet_options"),
    ],
)
def test_sheets_that_cannot_be_had_are_refused(digest: Digesting, options: dict[str, Any], words: str) -> None:
    assert words in digest.fault(xlsx(CELLS), **options)


def test_sheets_of_open_document_and_csv(digest: Digesting) -> None:
    cell = '<table:table-cell table:formula="of:=[.A1]+[$Other.B2]"><text:p>3</text:p></table:table-cell>'
    body = odf("spreadsheet", f'<table:table table:name="S"><table:table-row>{cell}</table:table-row></table:table>')
    assert "3 (=A1+Other!B2)" in digest.text(body, spreadsheet_options={"content_layers": ["data", "formulas"]})
    assert (
        digest.text(b"a;b\n1;2\n", mime_type="text/csv")
        == "[document, CSV, 1 sheet]\n| a | b |\n| --- | --- |\n| 1 | 2 |"
    )


def test_a_formula_that_is_copied_refers_to_what_is_beside_it() -> None:
    assert moved('IF(A1>"A1",$A1,A$1)+LOG10(B2)+AA10', 2, 1) == 'IF(B3>"A1",$A3,B$1)+LOG10(C4)+AB12'


def test_what_is_locked_old_or_no_document_is_said(digest: Digesting) -> None:
    assert "password" in digest.fault(hostile.OLD + "EncryptedPackage".encode("utf-16-le"))
    assert "save it as DOCX" in digest.fault(hostile.OLD + bytes(600))
    assert "type image" in digest.fault(drawn("PNG"))
    assert "archive" in digest.fault(package({"a": "b"}))


# ---------------------------------------------------------------------------------------------------- images


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "HEIF"])
def test_an_image_of_any_kind_is_shown_to_a_model_that_sees(digest: Digesting, kind: str) -> None:
    (part,) = digest.image(drawn(kind, (2000, 1000)), SEES, "medium").parts
    picture = shown(part)
    assert picture.size == (1024, 512) and picture.format in ("PNG", "JPEG")


@pytest.mark.parametrize(("resolution", "side"), [("low", 512), ("high", 1536), (None, 1536), ("ultra_high", 3072)])
def test_resolution_bounds_the_longer_side(digest: Digesting, resolution: str | None, side: int) -> None:
    (part,) = digest.image(drawn("PNG", (3200, 100)), SEES, resolution).parts
    assert shown(part).width == side


def test_the_first_of_several_pictures_is_said_to_be_that(digest: Digesting) -> None:
    frames = [Image.new("RGB", (40, 40), color) for color in ("red", "blue")]
    target = io.BytesIO()
    frames[0].save(target, "TIFF", save_all=True, append_images=frames[1:])
    first, _ = digest.image(target.getvalue(), SEES).parts
    assert isinstance(first, wire.TextContent) and first.text == "[image: the first of 2 pictures in it]"


def test_the_words_in_an_image_are_read_however_it_is_turned(digest: Digesting) -> None:
    upright = Image.open(io.BytesIO(drawn("PNG", (260, 80))))
    for turn in (0, 180):
        target = io.BytesIO()
        upright.rotate(turn, expand=True).save(target, "PNG")
        (part,) = digest.image(target.getvalue()).parts
        assert isinstance(part, wire.TextContent)
        assert part.text == "[image, 260 x 80 pixels, its text as read by OCR]\nAntiphon 1741"


def test_an_image_without_words_is_said_to_have_none(digest: Digesting) -> None:
    target = io.BytesIO()
    Image.new("RGB", (800, 600), "green").save(target, "PNG")
    (part,) = digest.image(target.getvalue()).parts
    assert isinstance(part, wire.TextContent) and part.text == "[image, 800 x 600 pixels, no text found]"


# ---------------------------------------------------------------------------------------------------- layout


def test_columns_of_running_text_are_read_one_after_the_other() -> None:
    left = [Word(f"left {number}", 0, 20 * number, 180, 20 * number + 14) for number in range(6)]
    right = [Word(f"right {number}", 220, 20 * number + 3, 400, 20 * number + 17) for number in range(6)]
    title = Word("Title", 0, -40, 400, -26)
    read = text_of([*right, title, *left]).split("\n")
    assert read == ["Title", *(word.text for word in left), *(word.text for word in right)]


def test_cells_that_stand_far_apart_stay_in_their_line() -> None:
    rows = [(Word(f"a{n}", 0, 20 * n, 30, 20 * n + 14), Word(f"b{n}", 200, 20 * n, 230, 20 * n + 14)) for n in range(6)]
    assert text_of([word for row in rows for word in row]).split("\n") == [f"a{n}\tb{n}" for n in range(6)]
