"""What Deep Research does for small models: sentences with their subjects, sums that they think aloud, units. Pure."""

from typing import Any

import pytest

from antiphon import wire
from antiphon.agents.calculations import between, calculations_of, thought_of
from antiphon.agents.research_notes import defined, known, unexplained, whole
from antiphon.agents.research_reading import condensed, split
from antiphon.agents.research_state import Library, Looked, Note, Notes, Read
from antiphon.agents.subjects import carried, parts_of, with_subject
from antiphon.agents.support import ruling
from antiphon.agents.units import in_seconds
from antiphon.ports import Passage


def library(*passages: Passage) -> Library:
    made = Library()
    made.add(Looked(read=(Read(place="p", title="t", tool="google_search", at=0.0, passages=passages),)))
    return made


# ---------------------------------------------------------------------------------------------------- subjects

SETTINGS = Passage(
    """## Checkpoints

- `max_wal_size` (`integer`)
- Maximum size of the log between checkpoints.
  The default is 1 GB.
- `min_wal_size` (`integer`)
- Below it, old files are always recycled, rather than removed,
  at a checkpoint. It is taken as megabytes.
  The default is 80 MB.""",
    wire.UrlCitation(url="https://example.org/wal", title="20.5. Write Ahead Log"),
)


@pytest.mark.parametrize(
    ("sentence", "found"),
    [
        ("The default of min_wal_size is 80 MB.", "yes"),
        ("The default of max_wal_size is 80 MB.", "doubt"),
        ("The default of max_wal_size is 1 GB.", "yes"),
    ],
)
def test_what_stands_below_a_heading_is_said_of_it(sentence: str, found: str) -> None:
    assert ruling(sentence, [SETTINGS]) == found


def test_a_note_that_lost_its_subject_gets_it_back() -> None:
    assert with_subject("The default is 80 MB.", SETTINGS) == "min_wal_size (integer): The default is 80 MB."
    assert with_subject("min_wal_size is 80 MB.", SETTINGS) == "min_wal_size is 80 MB."
    plain = Passage("The default size is 16 megabytes.", wire.UrlCitation(url="https://e.org/i", title="3.1. initdb"))
    assert with_subject(plain.text, plain) == "initdb: The default size is 16 megabytes."
    assert with_subject("By default, initdb takes 16 megabytes.", plain) == "By default, initdb takes 16 megabytes."
    assert ruling(with_subject("The default is 1 GB.", SETTINGS), [SETTINGS]) == "yes"
    below = carried(["# A\n\nOne.", "Two.", "## B\n\nThree."])
    assert below == ["# A\n\nOne.", "A\n\n[…]\n\nTwo.", "## B\n\nThree."]


@pytest.mark.parametrize("listed", ["- apples\n- pears\n- 5 plums", "- `a`\n- `b`\n- `c` is 5"])
def test_the_items_of_a_list_are_no_headings(listed: str) -> None:
    assert [part.subject for part in parts_of(listed)] == [""]


def test_a_small_model_is_shown_the_sentences_that_answer_with_what_they_are_about() -> None:
    elsewhere = Passage(
        "The log has a minimum. It is written ahead.", wire.UrlCitation(url="https://e.org/l", title="Logs")
    )
    of = library(SETTINGS, elsewhere)
    shown = condensed("What is the default of min_wal_size?", of, of, 120)
    assert [passage.text for passage in shown.values()] == ["min_wal_size (integer)\nThe default is 80 MB."]
    (id,) = shown
    assert of[id] == SETTINGS and shown[id].citation == SETTINGS.citation, "the passage itself is cited"
    wide = condensed("What is the default of min_wal_size?", of, [*of, "unknown"], 5000)
    assert "[…]" not in wide[id].text and wide[id].text.count("min_wal_size (integer)") == 1
    assert condensed("Anything?", of, [], 100) == {}
    assert [list(batch) for batch in split(wide, 100)] == [[one] for one in wide] and len(split(wide, 5000)) == 1


def test_a_name_that_nobody_asked_about_leads_on() -> None:
    asked = ["How high is autovacuum_vacuum_cost_limit in PostgreSQL 15?"]
    notes = ["The regular vacuum_cost_limit is used.", "It takes SQLite 3.7.15, scram-sha-256 or Rules-Requires-Root."]
    notes += [
        "max_workers: The default of max_workers is 8.",
        "A well-known PostgreSQL, since 15.2 of autovacuum_vacuum_cost_limit.",
    ]
    found = unexplained([Note(text, ("a",)) for text in notes], asked)
    assert found == ["vacuum_cost_limit", "SQLite 3.7.15", "scram-sha-256", "Rules-Requires-Root"]


def test_the_entry_of_a_name_is_noted_in_its_own_words() -> None:
    prose = Passage(
        "## Values\n\nValues matter: 7.\n\n## HTTP/2\n\nIt has 2 in it.",
        wire.UrlCitation(url="https://e.org/v", title="Values"),
    )
    of = library(SETTINGS, prose)
    found = defined("What is the default of min_wal_size, and how do its values behave?", of, of)
    assert [note.text for note in found] == [
        "min_wal_size (integer): The default is 80 MB.",
        "min_wal_size (integer): Below it, old files are always recycled, rather than removed, at a checkpoint.",
        "min_wal_size (integer): It is taken as megabytes.",
    ]
    assert all(ruling(note.text, [of[id] for id in note.sources]) == "yes" for note in found)
    assert defined("What is the default of wal_size?", of, of) == []


@pytest.mark.parametrize(
    ("heading", "entry"),
    [
        ("max_wal_size (integer)", True),
        ("MaxSize Directive", True),
        ("class pool.MaxSize(size=5)", True),
        ("MaxSize of size overflow reached", False),
        ("Size", False),
        ("size (number)", True),
    ],
)
def test_a_heading_that_goes_on_in_words_is_no_entry(heading: str, entry: bool) -> None:
    page = Passage(f"## {heading}\n\nIt is 5 by default.", wire.UrlCitation(url="https://e.org/s", title="S"))
    of = library(page)
    found = defined("What is max_wal_size, or MaxSize, or size?", of, of)
    assert [note.text for note in found] == ([f"{heading}: It is 5 by default."] if entry else [])


def test_a_note_without_a_number_has_the_next_sentence_that_has_one() -> None:
    page = Passage(
        "Limit of the backlog, known as SOMAXCONN. Defaults to 4096. Was 128 before.",
        wire.UrlCitation(url="https://e.org/s", title="Sysctl"),
    )
    of = library(page)
    (id,) = of
    made = whole(Note("Limit of the backlog, known as SOMAXCONN.", (id,)), of, True, True)
    assert made.text == "Sysctl: Limit of the backlog, known as SOMAXCONN. Defaults to 4096."
    assert ruling(made.text, [page]) == "yes"
    assert whole(made, of, True, True) == made
    assert "4096" not in whole(Note("Limit of the backlog, known as SOMAXCONN.", (id,)), of, True, False).text


def test_a_note_that_says_less_than_another_is_none_of_its_own() -> None:
    looks = [
        Notes("q", (Note("The cost limit is used.", ("a",)), Note("The default is 1 GB.", ("b",)))),
        Notes(
            "r", (Note("The regular cost limit is used by default.", ("c",)), Note("The limit is used.", ("a", "d")))
        ),
    ]
    assert known(looks).notes == [
        Note("The regular cost limit is used by default.", ("a", "c", "d")),
        Note("The default is 1 GB.", ("b",)),
    ]


def test_cells_of_two_rows_are_no_row() -> None:
    rows = "| Item | Limit |\n|---|---|\n| rows per table | 4,294,967,295 pages |\n| columns per table | 1,600 |"
    limits = Passage(rows, wire.UrlCitation(url="https://e.org/l", title="Limits"))
    assert ruling("columns per table | 1,600", [limits]) == "yes"
    assert ruling("columns per table | 4,294,967,295 pages", [limits]) == "doubt"


def test_a_number_with_another_unit_is_another() -> None:
    tower = Passage(
        "The tower is 300 m high, and was 5 % dearer.", wire.UrlCitation(url="https://e.org/t", title="Tower")
    )
    assert ruling("The tower is 300 m high.", [tower]) == "yes"
    assert ruling("The tower is 300 km high.", [tower]) == "doubt"


# ---------------------------------------------------------------------------------------------------- calculations

NOTES = [
    Note("Python 2.0 was released on 16 October 2000.", ("a",)),
    Note("Python 3.0 was released on 3 December 2008.", ("b",)),
    Note("The buffer has 16,384 bytes.", ("c",)),
]


def worked_out(*expressions: Any, question: str = "How long?") -> list[str]:
    found = {"calculations": [{"about": "it", "expression": expression} for expression in expressions]}
    return [made.text for made in calculations_of(found, NOTES, question)]


def test_arithmetic_over_numbers_of_the_notes_is_worked_out() -> None:
    assert worked_out("date(2008, 12, 3) - date(2000, 10, 16)") == ["2008-12-03 - 2000-10-16 = 2970 days"]
    assert worked_out("16,384 / 1024 = 17") == ["16384 / 1024 = 16"]
    assert worked_out("16384 × 3", question="How many bytes do 3 buffers have?") == ["16384 * 3 = 49152"]
    assert worked_out("max(2008, 2000) − 2000") == ["max(2008, 2000) - 2000 = 8"]
    made = calculations_of({"calculations": [{"about": "", "expression": "16384 / 2000"}]}, NOTES, "?")
    assert made[0].result == "8.192" and made[0].sources == ("c", "a")


def thought(aloud: str, answer: str, *notes: str) -> tuple[list[str], str]:
    """What is worked out of what a small model thought, and its answer then."""
    given = [Note(text, (str(place),)) for place, text in enumerate(notes)]
    found = thought_of({"thinking": aloud, "answer": answer}, given, "How many?")
    return [made.text for made in found.calculations], found.answer


def test_a_small_model_thinks_aloud_and_its_sums_are_put_right() -> None:
    sizes = ("initdb: The default size is 16 megabytes.", "min_wal_size: The default is 80 MB.")
    assert thought("80 MB / 16 MB = 4 files.", "4 files", *sizes) == (["80 / 16 = 5"], "5 files")
    assert thought("80 MB / 16 MB.", "5", *sizes) == (["80 / 16 = 5"], "5")
    assert thought("Divide the one by the other.", "5 files", *sizes) == (["80 / 16 = 5"], "5 files")
    assert thought("80 MB / 17 MB = 5 files.", "7 files", *sizes) == ([], "7 files"), "numbers that were made up"
    assert thought("It is 16 MB.", "16 MB", *sizes) == ([], "16 MB"), "it stands there"
    waits = ("Postfix: the default is 30s.", "Exim: the default is 5m.")
    assert thought("300 / 30 = 10", "10", *waits) == (["300 / 30 = 10"], "10")
    assert thought("Aloud.", "10 times", *waits) == (["300 / 30 = 10"], "10 times")
    assert calculations_of({"calculations": [7, {"expression": None}]}, NOTES, "?") == ()


def test_the_days_between_dates_and_times_in_one_unit_are_worked_out_before() -> None:
    notes = [Note("Out on 2021-03-12.", ("a",)), Note("New since November 27, 2021; not 2021-13-45.", ("b",))]
    (days,) = between(notes)
    assert (days.text, days.sources) == ("2021-11-27 - 2021-03-12 = 260 days", ("b", "a"))
    assert between([*notes, Note("3rd May 2019, 4 May 2019", ("c",))]) == ()
    assert in_seconds("every 10 seconds, in five minutes (5min)") == [
        "five minutes = 300 seconds",
        "5min = 300 seconds",
    ]
    assert in_seconds("10 seconds, 20 seconds and 5m") == ["5m = 300 seconds"] and in_seconds("5m and 3 km") == []


@pytest.mark.parametrize(
    "expression",
    [
        "99 * 16384",  # a number that was made up
        "16384",
        "open('x')",
        "__import__('os').system('true')",
        "16384 ** 16384",
        "round(16384, -1000000000)",
        "round(16384, 10**9)",
        "16384 / 0",
        "date(2008, 13, 3) - date(2000, 10, 16)",
        "(" * 300,
        "[1 for x in (1, 2)]",
        "",
        7,
    ],
)
def test_nothing_else_is(expression: Any) -> None:
    assert worked_out(expression) == []
