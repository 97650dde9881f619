"""Vector pictures that a model wrote: what may stand is copied, what could do harm is not."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from antiphon.drawing.sizes import RATIOS, SIZES, nearest, pixels
from antiphon.drawing.svg import Unusable, cleaned, found

GOOD = '<rect width="9" height="9" fill="#f00"/>'


def svg(inner: str, **attributes: str) -> str:
    given = "".join(f' {name}="{value}"' for name, value in {"viewBox": "0 0 100 100", **attributes}.items())
    return f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"{given}>{inner}</svg>'


def clean(inner: str, **attributes: str) -> str:
    return cleaned(svg(inner, **attributes), 100, 100).text


LAUGHS = "<defs><g id='a0'><rect width='1' height='1'/></g>" + "".join(
    f"<g id='a{n}'>" + f"<use href='#a{n - 1}'/>" * 10 + "</g>" for n in range(1, 12)
)

# Each is drawn without what it tried, or not at all; none of these words is left in what is drawn.
HOSTILE = {
    "a script": "<script>alert(1)</script>",
    "a script of SVG's own type": "<script type='text/ecmascript' href='http://x.example/a.js'/>",
    "a handler on a shape": "<rect width='5' height='5' onclick='alert(1)'/>",
    "a handler on load": "<g onload='fetch(1)'><rect width='5' height='5'/></g>",
    "foreign HTML": "<foreignObject width='99' height='99'><body><iframe src='http://x.example'/></body></foreignObject>",
    "a picture of the web": "<image href='http://x.example/a.png' width='9' height='9'/>",
    "a picture of the disk": "<image xlink:href='file:///etc/passwd' width='9' height='9'/>",
    "a picture within": "<image href='data:image/png;base64,AAAA' width='9' height='9'/>",
    "a vector picture within": "<image href='data:image/svg+xml;base64,PHN2Zz4=' width='9' height='9'/>",
    "a picture of filters": "<filter id='f'><feImage href='http://x.example/a.png'/></filter>",
    "a use of another file": "<use href='http://x.example/a.svg#a'/>",
    "a use of a file here": "<use xlink:href='../../../secret.svg#a'/>",
    "a use of data": "<use href='data:image/svg+xml;base64,PHN2Zz4=#a'/>",
    "a link": "<a href='javascript:alert(1)'><rect width='5' height='5'/></a>",
    "a link of old": "<a xlink:href='http://x.example'><text>hi</text></a>",
    "a colour from elsewhere": "<rect width='5' height='5' fill='url(http://x.example/a.svg#b)'/>",
    "a clip from elsewhere": "<rect width='5' height='5' clip-path='url(//x.example/a#b)'/>",
    "a mask": "<mask id='m'><rect width='9' height='9'/></mask><rect width='9' height='9' mask='url(#m)'/>",
    "a filter from elsewhere": "<rect width='9' height='9' filter='url(http://x.example/f#f)'/>",
    "a style that loads": "<style>@import url('http://x.example/a.css'); rect{fill:url(http://x.example)}</style>",
    "a font that loads": "<style>@font-face{font-family:x;src:url(http://x.example/f.woff)}</style>",
    "a style that computes": "<rect width='9' height='9' style='fill:expression(alert(1));width:1e99'/>",
    "a behaviour": "<rect width='9' height='9' style='behavior:url(#x);-moz-binding:url(http://x.example)'/>",
    "an animation": "<rect width='9' height='9'><animate attributeName='href' values='http://x.example'/></rect>",
    "a set": "<set attributeName='onmouseover' to='alert(1)'/>",
    "a motion": "<circle r='5'><animateMotion path='M0 0 L 9 9' repeatCount='indefinite'/></circle>",
    "a huge blur": "<filter id='f'><feGaussianBlur stdDeviation='100000'/></filter><rect width='9' filter='url(#f)'/>",
    "noise": "<filter id='f'><feTurbulence baseFrequency='0.9' numOctaves='9999'/></filter>",
    "light": "<filter id='f'><feDiffuseLighting><fePointLight x='1e9'/></feDiffuseLighting></filter>",
    "a pattern in a pattern": "<pattern id='p' width='1' height='1'><rect fill='url(#p)' width='9' height='9'/></pattern>",
    "a marker of itself": "<marker id='m'><path d='M0 0L9 9' marker-end='url(#m)'/></marker>",
    "no number": "<rect width='NaN' height='Infinity' x='nan'/>",
    "a number too large": "<circle cx='1e300' cy='99999999999999999999' r='1e9'/>",
    "a path too far": "<path d='M0 0 L1e99 1e99 L 88888888888888888888888888 0'/>",
    "a path of words": "<path d='M0 0 L javascript:alert(1)'/>",
    "a scale too large": "<g transform='scale(1e9)'><rect width='9' height='9'/></g>",
    "a transform of words": "<g transform='rotate(url(http://x.example))'><rect width='9' height='9'/></g>",
    "dashes without end": "<path d='M0 0 L 99999 0' stroke='red' stroke-dasharray='0.00001'/>",
    "another language": "<math xmlns='http://www.w3.org/1998/Math/MathML'><mtext>x</mtext></math>",
    "another name space": "<x:script xmlns:x='http://www.w3.org/2000/svg'>alert(1)</x:script>",
    "a video": "<video src='http://x.example/a.mp4' autoplay=''/>",
    "an iframe": "<iframe src='http://x.example'/>",
    "an embed": "<embed src='http://x.example'/><object data='http://x.example'/>",
    "a handler element": "<handler type='application/ecmascript'>alert(1)</handler>",
    "metadata": "<metadata><rdf:RDF xmlns:rdf='http://x.example'>secret</rdf:RDF></metadata>",
    "a use of itself": "<g id='s'><use href='#s'/><rect width='5' height='5'/></g>",
    "two that use each other": "<g id='s'><use href='#t'/></g><g id='t'><use href='#s'/></g>",
    "a gradient of itself": "<linearGradient id='l' href='#l'/><rect width='5' height='5' fill='url(#l)'/>",
    "a clip of itself": "<clipPath id='c' clip-path='url(#c)'><use href='#c'/></clipPath><rect clip-path='url(#c)'/>",
    "a processing instruction": "<?xml-stylesheet href='http://x.example/a.css'?>",
    "an instruction of PHP": "<?php system('id') ?>",
    "CDATA of markup": "<text><![CDATA[<script>alert(1)</script>]]></text>",
}
FORBIDDEN = re.compile(
    r"<script|on\w+=|x\.example|javascript|file:|data:|foreignObject|<image|<animate|<set|filter|<pattern|<mask|<marker|"
    r"expression|import|NaN|Infinity|1e\d|\d{7}|<iframe|<video|<embed|<!|<\?|behavior",
)


@pytest.mark.parametrize("trick", HOSTILE)
def test_what_could_do_harm_is_left_out(trick):
    drawn = clean(GOOD + HOSTILE[trick])
    assert FORBIDDEN.search(drawn) is None
    root = ElementTree.fromstring(drawn)
    assert next(element for element in root.iter() if element.tag.endswith("rect")).get("fill") == "#f00"


@pytest.mark.parametrize(
    ("trick", "why"),
    {
        "many laughs": (svg(LAUGHS + "</defs><use href='#a11'/>"), "draws more than"),
        "many elements": (svg(GOOD * 3000), "more than 2000 elements"),
        "deep": (svg("<g>" * 200 + GOOD + "</g>" * 200), "nested"),
        "long": (svg(f"<path d='{'M0 0' * 100_000}'/>"), "characters"),
        "entities": (f"<svg><!DOCTYPE x [<!ENTITY a 'b'>]>{GOOD}</svg>", "."),
        "nothing": ("I am sorry, I cannot draw.", "no <svg>"),
        "no shape": (svg("<g/>"), "no shape"),
        "shapes that are not shown": (svg(f"<defs>{GOOD}</defs>"), "no shape"),
        "not XML": ("<svg", "no <svg>"),
        "binary": ("<svg \x00\x01\xff>", "."),
    }.values(),
)
def test_what_cannot_be_drawn_is_said_to_be_so(trick, why):
    with pytest.raises(Unusable, match=why):
        cleaned(trick, 100, 100)


def test_entities_of_a_document_type_before_the_picture_are_not_read():
    bomb = f"<!DOCTYPE svg [<!ENTITY a '{'x' * 10}'><!ENTITY b '&a;&a;'>]>{svg('<text>&b;</text>')}"
    assert "&amp;b;" in cleaned(bomb, 100, 100).text


def test_the_picture_is_cut_out_of_what_the_model_says():
    assert found(f"Here it is:\n```svg\n{svg(GOOD)}\n```\nNice, isn't it?") == svg(GOOD)


@pytest.mark.parametrize(
    "broken", ["<circle r='5'", "<circle r='5' r='6'/>", "</g>", "<rect width=5/>", "<text>a < b</text>"]
)
def test_a_picture_that_breaks_off_is_taken_as_far_as_it_goes(broken):
    assert "#f00" in clean(GOOD + broken)


def test_style_sheets_become_attributes():
    drawn = clean(
        "<style>.a{fill:#0f0;position:fixed} #b{stroke:blue} rect{opacity:.5}</style>"
        "<rect id='b' class='a' fill='red' width='5' height='5' style='stroke-width:3'/>"
    )
    rect = ElementTree.fromstring(drawn)[0]
    wanted = {"fill": "#0f0", "stroke": "blue", "opacity": ".5", "stroke-width": "3"}
    assert wanted.items() <= dict(rect.attrib).items() and "style" not in rect.attrib


def test_a_ground_in_the_roots_style_is_drawn():
    assert '<rect x="0" y="0" width="100" height="100" fill="#eef"/>' in clean(GOOD, style="background: #eef")


@pytest.mark.parametrize("view", ["0 0 0 0", "0 0 1e9 1e9", "a b c d", "0 0 -5 5", "NaN NaN 9 9", "0 0 1 99999", ""])
def test_a_view_that_means_nothing_is_that_of_the_picture(view):
    assert 'viewBox="0 0 640 360"' in cleaned(svg(GOOD, viewBox=view), 640, 360).text


def test_what_is_drawn_refers_to_itself_only():
    drawn = clean(
        "<defs><linearGradient id='l'><stop offset='50%' stop-color='red'/></linearGradient></defs>"
        "<rect id='r' width='5' height='5' fill='url(#l)'/><use xlink:href='#r' x='9'/>"
        "<rect width='5' height='5' fill='url(#nothing)'/>"
    )
    assert re.findall(r"#\w+", drawn) == ["#l", "#r"]


def test_text_keeps_its_order_and_its_letters():
    drawn = clean("<text x='1 2' y='9'>A &amp; <tspan fill='red'>b</tspan> ü &lt; &nbsp;</text>")
    assert "".join(ElementTree.fromstring(drawn).itertext()) == "A & b ü < &nbsp;"


# ---------------------------------------------------------------------------------------------------- sizes


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ratio", RATIOS)
def test_a_size_is_of_64s_near_its_ratio_and_its_area(ratio, size):
    width, height = pixels(ratio, size)
    wide, high = map(int, ratio.split(":"))
    side = {"512": 512, "1K": 1024, "2K": 2048, "4K": 4096}[size]
    assert width % 64 == height % 64 == 0
    assert width / height == pytest.approx(wide / high, rel=0.04)
    assert width * height == pytest.approx(side**2, rel=0.2)
    assert pixels(f"{high}:{wide}", size) == (height, width)


def test_the_nearest_size_is_of_the_nearest_shape():
    offered = [(1024, 1024), (1536, 1024), (1024, 1536), (512, 512)]
    assert nearest((1344, 768), offered) == (1536, 1024)
    assert nearest((512, 512), offered) == (512, 512)
    assert nearest((2048, 2048), offered) == (1024, 1024)
