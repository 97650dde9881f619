"""Broken and hostile files, made from whole ones with a fixed seed: documents and images, each with a name for it."""

from __future__ import annotations

import io
import random
import struct
import zipfile
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import pillow_heif
from PIL import Image, ImageDraw

SEED = 20261124
OLD = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"


class File(NamedTuple):
    """A file as it is sent: its name, whether as `document` or `image`, its bytes and what is said of them."""

    name: str
    kind: str
    body: bytes
    mime_type: str | None


def drawn(kind: str, size: tuple[int, int] = (200, 80), **options: object) -> bytes:
    """A picture with a line of text, of a kind that Pillow writes."""
    pillow_heif.register_heif_opener()
    picture = Image.new("RGB", size, "white")
    ImageDraw.Draw(picture).text((10, 20), "Antiphon 1741", fill="black", font_size=24)
    target = io.BytesIO()
    picture.save(target, kind, **options)
    return target.getvalue()


def package(members: dict[str, str | bytes]) -> bytes:
    """A zip archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def rels(**targets: str) -> str:
    inner = "".join(f'<Relationship Id="{id}" Type="t" Target="{target}"/>' for id, target in targets.items())
    return f'<Relationships xmlns="r">{inner}</Relationships>'


def docx(body: str) -> bytes:
    document = f'<w:document xmlns:w="w"><w:body>{body}</w:body></w:document>'
    return package({"_rels/.rels": rels(a="word/document.xml"), "word/document.xml": document})


def xlsx(rows: str, strings: str = "") -> bytes:
    return package(
        {
            "_rels/.rels": rels(a="xl/workbook.xml"),
            "xl/workbook.xml": '<workbook xmlns:r="r"><sheets><sheet name="Costs" r:id="s1"/></sheets></workbook>',
            "xl/_rels/workbook.xml.rels": rels(s1="worksheets/sheet1.xml"),
            "xl/worksheets/sheet1.xml": f"<worksheet><sheetData>{rows}</sheetData></worksheet>",
            "xl/sharedStrings.xml": f"<sst>{strings}</sst>",
        }
    )


def pptx(slides: list[str]) -> bytes:
    ids = "".join(f'<p:sldId r:id="s{number}"/>' for number in range(len(slides)))
    members: dict[str, str | bytes] = {
        "_rels/.rels": rels(a="ppt/presentation.xml"),
        "ppt/presentation.xml": f'<p:presentation xmlns:p="p" xmlns:r="r">{ids}</p:presentation>',
        "ppt/_rels/presentation.xml.rels": rels(**{f"s{n}": f"slides/slide{n}.xml" for n in range(len(slides))}),
    }
    for number, slide in enumerate(slides):
        members[f"ppt/slides/slide{number}.xml"] = f'<p:sld xmlns:p="p" xmlns:a="a">{slide}</p:sld>'
    return package(members)


def odf(kind: str, content: str, **members: str) -> bytes:
    namespaces = " ".join(
        f'xmlns:{name}="{name}"' for name in ("office", "text", "table", "draw", "style", "fo", "svg")
    )
    document = f"<office:document-content {namespaces}>{content}</office:document-content>"
    return package({"mimetype": f"application/vnd.oasis.opendocument.{kind}", "content.xml": document, **members})


def pdf(pages: list[str], kids: str = "", trailer: str = "", content: str | None = None) -> bytes:
    """A PDF with a line of text per page, or with `content` on each."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>"]
    named = kids or " ".join(f"{4 + 2 * number} 0 R" for number in range(len(pages)))
    objects.append(f"<< /Type /Pages /Kids [{named}] /Count {len(pages)} >>")
    objects.append("<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
    for number, text in enumerate(pages):
        drawing = content if content is not None else f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET" if text else ""
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {5 + 2 * number} 0 R"
            " /Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(drawing)} >>\nstream\n{drawing}\nendstream")
    written = "".join(f"{number} 0 obj\n{one}\nendobj\n" for number, one in enumerate(objects, 1))
    return f"%PDF-1.4\n{written}trailer\n<< /Root 1 0 R {trailer} >>\n%%EOF\n".encode("latin-1")


def paragraph(text: str) -> str:
    return f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p>"


def whole() -> list[File]:
    """Files that are as they should be, one of each kind."""
    cells = "".join(f'<row r="{r}"><c r="A{r}"><v>{r}</v></c><c r="B{r}"><f>A{r}*2</f></c></row>' for r in range(1, 30))
    sheet = "<table:table table:name='S'><table:table-row><table:table-cell><text:p>1</text:p></table:table-cell>"
    slide = "<a:p><a:r><a:t>Point</a:t></a:r></a:p>"
    odt = "<office:text><text:h>Title</text:h><text:p>Some words.</text:p></office:text>"
    documents = {
        "a.pdf": pdf(["First page", "Second page"]),
        "scan.pdf": drawn("PDF"),
        "a.docx": docx("".join(paragraph(f"Paragraph {number}") for number in range(20))),
        "a.xlsx": xlsx(cells),
        "a.pptx": pptx([slide, slide]),
        "a.odt": odf("text", odt),
        "a.ods": odf("spreadsheet", f"{sheet}</table:table-row></table:table>"),
        "a.csv": b"name,price\nlute,12\nharp,30\n" * 20,
        "a.html": b"<html><head><title>T</title></head><body><p>Some words here.</p></body></html>",
        "a.rtf": rb"{\rtf1\ansi Some words \b here\b0 .\par More.}",
        "a.txt": "Größe – some words.\n".encode() * 20,
    }
    kinds = ("PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "HEIF")
    found = [File(name, "document", body, None) for name, body in documents.items()]
    return [*found, *(File(f"a.{kind.lower()}", "image", drawn(kind), None) for kind in kinds)]


def broken() -> Iterator[File]:
    """Each whole file cut off, with bits turned, with a piece doubled or lost, and under another's name."""
    dice = random.Random(SEED)
    files = whole()
    for file in files:
        size = len(file.body)
        for share in (0.02, 0.3, 0.7, 0.97):
            yield file._replace(name=f"cut to {share} {file.name}", body=file.body[: int(size * share)])
        for flips in (1, 10, 100):
            body = bytearray(file.body)
            for _ in range(flips):
                body[dice.randrange(size)] ^= 1 << dice.randrange(8)
            yield file._replace(name=f"{flips} bits {file.name}", body=bytes(body))
        at, length = dice.randrange(size), dice.randrange(1, 200)
        yield file._replace(name=f"doubled {file.name}", body=file.body[:at] + file.body[max(0, at - length) :])
        yield file._replace(name=f"lost {file.name}", body=file.body[:at] + file.body[at + length :])
        other = dice.choice(files)
        kind = "image" if file.kind == "document" else "document"
        yield file._replace(name=f"as {kind} {file.name}", kind=kind, mime_type="application/pdf")
        yield file._replace(name=f"{file.name} in {other.name}", body=other.body[:64] + file.body[64:])


def png(width: int, height: int, data: bytes = b"") -> bytes:
    """A PNG that claims this size, whatever it holds."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def hostile() -> Iterator[File]:
    """Made to harm."""
    zeros = zlib.compress(bytes(50 * 2**20), 9)
    entities = '<!DOCTYPE w [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    document = '<w:document xmlns:w="w"><w:p><w:r><w:t>&b;</w:t></w:r></w:p></w:document>'
    first = {"_rels/.rels": rels(a="word/document.xml")}
    far = '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'
    diagonal = "".join(f'<row r="{n}"><c r="{chr(65 + n % 26)}{n * 37}"><v>{n}</v></c></row>' for n in range(1, 3000))
    repeated = '<table:table-row table:number-rows-repeated="99999999"><table:table-cell table:number-columns-repeated='
    sheet = f'<table:table table:name="S">{repeated}"99999999"><text:p>x</text:p></table:table-cell></table:table-row>'
    script = (
        b'<svg xmlns="http://www.w3.org/2000/svg"><script>while(1);</script><image href="file:///etc/passwd"/></svg>'
    )
    gif = bytearray(drawn("GIF"))
    gif[6:10] = struct.pack("<HH", 65535, 65535)
    found = {
        "page tree that is its own child.pdf": pdf(["x"], kids="2 0 R"),
        "pages without end.pdf": pdf(["x"] * 3, kids="2 0 R 4 0 R 2 0 R"),
        "six thousand kids.pdf": pdf(["x"], kids="4 0 R " * 6000).replace(b"/Count 1", b"/Count 6000"),
        "locked.pdf": pdf(["x"], trailer="/Encrypt << /Filter /Standard /V 2 /R 3 /O (x) /U (y) /P -4 >>"),
        "no pages.pdf": pdf([]),
        "a page of no size.pdf": pdf(["x"]).replace(b"[0 0 612 792]", b"[0 0 0 0]"),
        "a page of any size.pdf": pdf([""], content="0 0 9e9 9e9 re f").replace(b"[0 0 612 792]", b"[0 0 9e9 9e9]"),
        "deep arrays.pdf": pdf(["x"]).replace(b"/Type /Catalog", b"/Type /Catalog /X " + b"[" * 100_000),
        "deep drawing.pdf": pdf(["x"], content="q " * 200_000),
        "many lines.pdf": pdf(["x"], content="0 0 m 100 100 l S " * 40_000),
        "a broken font.pdf": pdf(["x"]).replace(b"/Subtype /Type1", b"/Subtype /TrueType /FontDescriptor 1 0 R"),
        "flate bomb.pdf": pdf(["x"], content="Z").replace(
            b"<< /Length 1 >>\nstream\nZ", b"<< /Length %d /Filter /FlateDecode >>\nstream\n" % len(zeros) + zeros
        ),
        "only its mark.pdf": b"%PDF-1.7\n",
        "zip bomb.docx": docx(paragraph("a" * (60 * 2**20))),
        "bomb of bombs.docx": package({**first, "word/document.xml": package({"x": bytes(2**20)})}),
        "entities.docx": package({**first, "word/document.xml": entities + document}),
        "external entity.docx": package(
            {**first, "word/document.xml": '<!DOCTYPE w [<!ENTITY b SYSTEM "file:///etc/passwd">]>' + document}
        ),
        "deep.docx": docx("<w:tbl><w:tr><w:tc>" * 5000),
        "deep within bounds.docx": docx("<w:tbl><w:tr><w:tc>" * 90 + paragraph("x") + "</w:tc></w:tr></w:tbl>" * 90),
        "paths.docx": package({"_rels/.rels": rels(a="../../../etc/passwd"), "../../etc/passwd": "x"}),
        "itself.docx": package({"_rels/.rels": rels(a="_rels/.rels")}),
        "thirty thousand files.zip": package({str(number): "" for number in range(21_000)}),
        "locked.docx": OLD + "EncryptedPackage".encode("utf-16-le"),
        "old.doc": OLD + bytes(512),
        "far cell.xlsx": xlsx(far),
        "far cells.xlsx": xlsx(diagonal),
        "strings that are not there.xlsx": xlsx('<row><c t="s"><v>99999999999</v></c><c t="s"><v>-1</v></c></row>'),
        "a row below none.xlsx": xlsx(
            '<row r="0"><c r="A0"><v>1</v></c></row><row r="-5"><c r="ZZZZ1"><v>2</v></c></row>'
        ),
        "formula without end.xlsx": xlsx(f'<row r="1"><c r="A1"><f>{"(" * 200_000}</f></c></row>'),
        "dates.xlsx": xlsx('<row r="1"><c r="A1" s="0"><v>1e308</v></c><c r="B1"><v>nan</v></c></row>'),
        "repeated.ods": odf("spreadsheet", f"{sheet}</table:table>"),
        "spaces.odt": odf("text", '<text:p><text:s text:c="999999999"/>x</text:p>'),
        "locked.odt": odf("text", "", **{"META-INF/manifest.xml": "<manifest:encryption-data/>"}),
        "no slides.pptx": pptx([]),
        "deep.html": b"<div>" * 200_000,
        "one long line.csv": b"," * 500_000,
        "quotes.csv": b'"' * 300_001,
        "deep.json": b"[" * 200_000,
        "deep.rtf": rb"{\rtf1" + b"{" * 50_000,
        "drawing.svg": script,
        "nothing.pdf": b"",
        "zeros.pdf": bytes(10_000),
    }
    for name, body in found.items():
        yield File(name, "document", body, None)
    heads = {
        "as it says": png(30_000, 30_000),
        "flat": png(100_000, 1),
        "two thousand million": png(2**31 - 1, 2**31 - 1),
    }
    images = {
        **heads,
        "100 megapixels": png(10_000, 10_000, zlib.compress(bytes(1000))),
        "decompression bomb": png(7000, 7000, zeros),
        "more than it says": png(8, 8, zeros),
        "a film's first picture": bytes(gif),
        "drawing": script,
        "pdf": pdf(["x"]),
        "no size": png(0, 0),
        "nothing": b"",
        "text": b"I am a picture.",
    }
    for name, body in images.items():
        yield File(f"image: {name}", "image", body, "image/png")
