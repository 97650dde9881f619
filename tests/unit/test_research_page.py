"""A report as Markdown and as a page: footnotes at bytes, pictures, sources, and nothing of a stranger's that could act."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from antiphon.research_page import page
from antiphon.research_report import Annotation, Part, Research, Step, caption, decode, markdown, title

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n and so on").decode()


def cited(text: str, *words: tuple[str, dict[str, Any]]) -> Part:
    """A text in which words are cited, by the bytes they stand at."""
    data = text.encode()
    notes = []
    for said, fields in words:
        start = data.index(said.encode())
        place = {"start_index": start, "end_index": start + len(said.encode())}
        notes.append({"type": "url_citation"} | place | fields)
    return Part(type="text", text=text, annotations=msgspec.convert(notes, list[Annotation]))


def research(*parts: Part, asked: str = "Why?") -> Research:
    steps = [Step(type="user_input", content=[Part(type="text", text=asked)])]
    return Research(id="v1_a", steps=[*steps, *(Step(type="model_output", content=[part]) for part in parts)])


def shown(*parts: Part, **more: Any) -> str:
    """What stands in the page's body."""
    return page(research(*parts, **more)).partition("<main>")[2]


def words(html: str) -> str:
    """The text of a page, footnotes in brackets."""
    html = re.sub(r"<sup>(.*?)</sup>", r"[\1]", html)
    return " ".join(re.sub(r"<[^>]*>", "", html).split())


A = {"url": "https://a.example/x", "title": "Page A"}
B = {"type": "file_citation", "file_name": "b.pdf", "document_uri": "fileSearchStores/s/documents/b", "page_number": 3}


# ---------------------------------------------------------------------------------------------------- footnotes


def test_footnotes_stand_behind_their_words_and_in_the_place_of_the_reports_numbers() -> None:
    part = cited(
        "# Öle\n\n“Größe” 日本語 😀 zählt. [1][2] Mehr *davon*. [2]\n\n",
        ("“Größe” 日本語 😀 zählt.", A),
        ("“Größe” 日本語 😀 zählt.", B),
        ("Mehr *davon*.", B),
    )
    html = shown(part)
    assert "“Größe” 日本語 😀 zählt.[1, 2] Mehr davon.[2]" in words(html)
    assert html.count('href="#source-2"') == 2 and html.count('href="#source-1"') == 1
    assert '<a href="https://a.example/x" rel="noopener noreferrer">Page A</a>' in html
    assert "b.pdf" in html and "fileSearchStores/s/documents/b, page 3" in html


def test_the_words_of_a_footnote_may_be_emphasised() -> None:
    html = shown(cited("**Towers** [1]\n\n", ("Towers", A)))
    assert "<strong>Towers</strong><sup>" in html and "[1]" not in html


@pytest.mark.parametrize("between", [[], [Part(type="image", data=PNG, mime_type="image/png")]])
def test_the_list_in_the_text_gives_way_to_the_pages_own(between: list[Part]) -> None:
    part = cited("So it is. [1]\n\n", ("So it is.", A))
    html = shown(part, *between, Part(type="text", text="**Sources**\n\n1. [Page A](https://a.example/x)\n"))
    assert html.count("Sources") == 1 and html.count("Page A</a>") == 1


def test_a_list_that_says_more_stays() -> None:
    part = cited("So it is. [1]\n\n**Sources**\n\n1. One\n2. Two\n", ("So it is.", A))
    assert "Two" in shown(part)


@pytest.mark.parametrize("end", [-5, 1, 2, 3, 5, 10**9])
def test_an_offset_that_is_wrong_spoils_no_letter(end: int) -> None:
    note = Annotation(type="url_citation", url="https://a.example", start_index=0, end_index=end)
    html = shown(Part(type="text", text="€uro ä", annotations=[note]))
    assert words(html.partition("<section")[0]).replace("[1]", "").startswith("Why? Why? €uro ä")


def test_a_citation_without_a_place_is_a_source_all_the_same() -> None:
    note = Annotation(type="place_citation", name="Museum", url="https://maps.example/1")
    assert '<a href="https://maps.example/1" rel="noopener noreferrer">Museum</a>' in shown(
        Part(type="text", text="x", annotations=[note])
    )


# ---------------------------------------------------------------------------------------------------- pictures


def test_pictures_stand_in_the_page_and_say_what_they_show() -> None:
    caption_text = cited("**Prices, in €** [1]\n\n", ("Prices, in €", A))
    html = shown(caption_text, Part(type="image", data=PNG, mime_type="image/png"), Part(type="text", text="After."))
    assert f'<figure><img src="data:image/png;base64,{PNG}" alt="Prices, in €"></figure>' in html
    assert html.index("Prices") < html.index("<figure>") < html.index("After.")


@pytest.mark.parametrize(
    "part",
    [
        Part(type="image", data=PNG, mime_type="image/svg+xml"),
        Part(type="image", data='"><script>', mime_type="image/png"),
        Part(type="image", uri="https://elsewhere.example/x.png", mime_type="image/png"),
        Part(type="image", data=PNG, mime_type='image/png" onload="x'),
    ],
)
def test_what_is_no_picture_known_to_be_safe_is_left_out(part: Part) -> None:
    assert "<img" not in shown(Part(type="text", text="x"), part)
    assert markdown([Part(type="text", text="x"), part]) == "x\n"


def test_markdown_has_pictures_where_it_is_kept_and_a_line_where_it_is_read() -> None:
    parts = [Part(type="text", text="**A [b]** [1]"), Part(type="image", data=PNG, mime_type="image/png")]
    assert markdown(parts) == f"**A [b]** [1]\n\n![A \\[b\\]](data:image/png;base64,{PNG})\n"
    assert markdown(parts, pictures=False) == "**A [b]** [1]\n\n*(chart: A \\[b\\])*\n"
    assert caption("") == "Chart"


# ---------------------------------------------------------------------------------------------------- strangers

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "[x](javascript:alert(1)) [y](data:text/html,x) [z](JaVaScRiPt:alert(1)) <javascript:alert(1)>",
    "![x](https://tracker.example/pixel.png)",
    '[x](https://a.example "t\ue0001\ue001 onmouseover=alert(1) x=\ue000")',
    "`\ue0001\ue001` \ue0009\ue001 \ue0001,1\ue001",
    "<!-- --> &lt;b&gt; ]]> </style></title>",
    "```html\n<script>alert(1)</script>\n```",
    "[a]: javascript:alert(1)\n\n[a]",
    "\x1b[2J\x9b31m\u202edetrevni",
]
_TAGS = {
    "a", "article", "blockquote", "body", "br", "code", "del", "em", "figure", "h1", "h2", "h3", "h4", "h5", "h6",
    "head", "hr", "html", "img", "li", "main", "meta", "ol", "p", "pre", "s", "section", "span", "strong", "style",
    "sup", "table", "tbody", "td", "th", "thead", "title", "tr", "ul",
}  # fmt: skip
_ATTRIBUTES = {
    "alt", "aria-label", "charset", "class", "content", "href", "http-equiv", "id", "name", "rel", "src", "start",
    "style", "title", "value",
}  # fmt: skip


class Judge(HTMLParser):
    """Finds what a page of ours never has."""

    def __init__(self) -> None:
        super().__init__()
        self.wrong: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in _TAGS:
            self.wrong.append(tag)
        for name, value in attrs:
            if name not in _ATTRIBUTES:
                self.wrong.append(f"{tag} {name}")
            if name == "href" and not re.match(r"https?://|#(source|cited)-[\d-]+$", value or "", re.IGNORECASE):
                self.wrong.append(f"{tag} {name}={value}")
            if name == "src" and not (value or "").startswith("data:image/"):
                self.wrong.append(f"{tag} {name}={value}")
            if name == "style" and not re.fullmatch(r"text-align:(left|right|center)", value or ""):
                self.wrong.append(f"{tag} {name}={value}")


def wrong(html: str) -> list[str]:
    judge = Judge()
    judge.feed(html)
    judge.close()
    return judge.wrong


@pytest.mark.parametrize("text", HOSTILE)
def test_no_text_of_a_stranger_acts(text: str) -> None:
    note = {"title": text, "url": text, "file_name": text}
    for fields in (note, note | {"url": "https://a.example/" + text}, note | {"type": "file_citation"}):
        html = page(research(cited(f"# {text}\n\n{text} End. [1]", ("End.", fields)), asked=text), text)
        assert wrong(html) == []
        assert not set("\ue000\ue001\x1b\x9b\u202e") & set(html)


_PIECES = st.text() | st.sampled_from([*HOSTILE, "\n\n", "[1]", "**", "`", "](", "[", "<", '"', "|", "\n- ", "ü"])
_NOTES = st.builds(
    Annotation,
    type=st.sampled_from(["url_citation", "file_citation", "place_citation", "word_info"]),
    url=st.none() | st.text() | st.sampled_from(HOSTILE) | st.just("https://a.example/"),
    title=st.none() | st.text() | st.sampled_from(HOSTILE),
    document_uri=st.none() | st.text(),
    end_index=st.none() | st.integers(-1, 200),
)


@given(st.lists(st.tuples(st.lists(_PIECES).map("".join), st.lists(_NOTES, max_size=4)), max_size=3))
def test_whatever_is_said_the_page_holds_and_nothing_in_it_acts(said: list[tuple[str, list[Annotation]]]) -> None:
    html = page(research(*(Part(type="text", text=text, annotations=notes) for text, notes in said)))
    assert wrong(html) == [] and not {"\ue000", "\ue001"} & set(html)
    html.encode()


def test_the_page_forbids_to_load_anything() -> None:
    html = page(research(Part(type="text", text="x")))
    assert "default-src 'none'" in html and "<link" not in html and "@import" not in html and "url(" not in html


# ---------------------------------------------------------------------------------------------------- what is read


def test_an_interaction_of_a_newer_server_is_read() -> None:
    body = {
        "id": "v1_a",
        "status": "completed",
        "novelty": {"x": 1},
        "steps": [
            {"type": "model_output", "content": [{"type": "text", "text": "of a plan"}]},
            {"type": "user_input", "content": [{"type": "text", "text": "Why?"}]},
            {"type": "thought", "signature": "s", "summary": [{"type": "text", "text": "t"}]},
            {"type": "model_output", "error": {"code": 14}, "content": [{"type": "text", "text": "cut"}]},
            {"type": "model_output", "content": [{"type": "text", "text": "# So *it* is #\n", "more": []}]},
            {"type": "novelty", "content": []},
        ],
    }
    found = decode(msgspec.json.encode(body))
    assert found.question == "Why?"
    assert markdown(found.parts) == "# So *it* is #\n"
    assert title(found.parts) == "So *it* is"


def test_markdown_steers_no_terminal() -> None:
    assert markdown([Part(type="text", text="a\x1b]0;x\x07b\x9bc\u202ed\te\n\nf\n\n")]) == "a]0;xbcd\te\n\nf\n"


@pytest.mark.parametrize("forged", ["\ue0001\ue001", "\ue0007\ue001", "&#xE000;1&#xE001;", "&#xE000;99&#xE001;"])
def test_nobody_can_write_a_footnote_mark(forged: str) -> None:
    html = shown(cited(f"It is so. And {forged} more.", ("It is so.", A)))
    assert html.count("<sup>") == 1
