"""The pages say all there is and nothing else: what is in the code and on no page fails here, and the other way round."""

from __future__ import annotations

import argparse
import ast
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args, get_type_hints

import msgspec
import pytest

import antiphon
from antiphon import app, cli, intake, settings, wire
from antiphon.models import scripted
from antiphon.models.llamacpp import LlamaCpp
from antiphon.models.openai_chat import OpenAIChat
from antiphon.server import decisions, triggers, voices, webhooks
from antiphon.server.operations import Operations
from antiphon.server.routes import application
from antiphon.tools.scripted import ToolScript

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
EXAMPLES = ROOT / "examples"
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted(DOCS.rglob("*.md"))]
# An example in a page: a link to the file, and what it says.
SNIPPET = re.compile(r"^\[`examples/([\w.]+)`\]\(([^)]+)\):\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MENTION = re.compile(r"^\[`examples/", re.MULTILINE)
LINK = re.compile(r"\]\(([^)\s]+)\)")
SOURCES = "\n".join(path.read_text(encoding="utf-8") for path in sorted((ROOT / "src").rglob("*.py")))


def page(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def missing(names: Any, text: str) -> list[str]:
    """The names that a text never mentions; a snippet that holds one explains nothing."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    code = set(re.findall(r"[\w./:{}*-]+", " ".join(re.findall(r"`([^`]+)`", prose))))
    return sorted(name for name in set(names) if name not in code)


# ---------------------------------------------------------------------------------------------------- pages


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_snippet_is_the_file_it_claims_to_be(path):
    text = path.read_text(encoding="utf-8")
    snippets = SNIPPET.findall(text)
    assert len(snippets) == len(MENTION.findall(text)), "a claim without its snippet"
    for name, target, snippet in snippets:
        assert (path.parent / target).resolve() == EXAMPLES / name
        assert snippet == (EXAMPLES / name).read_text(encoding="utf-8"), name


def test_every_example_stands_on_a_page():
    shown = {name for path in PAGES for name, *_ in SNIPPET.findall(path.read_text(encoding="utf-8"))}
    assert shown == {path.name for path in EXAMPLES.iterdir() if path.is_file()}


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_link_leads_nowhere(path):
    targets = [link for link in LINK.findall(path.read_text(encoding="utf-8")) if "://" not in link]
    assert [link for link in targets if not (path.parent / link.partition("#")[0]).exists()] == []


def test_every_page_is_in_the_index():
    for index in (DOCS / "README.md", DOCS / "tools" / "README.md"):
        linked = set(LINK.findall(index.read_text(encoding="utf-8")))
        assert {path.name for path in index.parent.glob("*.md")} - linked == {"README.md"}


def test_the_readme_is_short_and_begins_with_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.split()) <= 500
    first = re.search(r"```sh\n(.*?)```", text, re.DOTALL)
    assert first is not None
    assert [line.partition(" #")[0].strip() for line in first[1].splitlines()] == ["make demo", "make test"]


def test_every_file_of_the_package_is_on_the_page_of_contributing():
    there = {path.name + "/" * path.is_dir() for path in (ROOT / "src" / "antiphon").iterdir()}
    unnamed = {"__init__.py", "__main__.py", "__pycache__/", "py.typed"}
    assert missing(there - unnamed, page("contributing.md")) == []


def test_the_changelog_begins_with_this_version():
    found = re.search(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None and found[1] == antiphon.__version__
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["version"] == antiphon.__version__


# ---------------------------------------------------------------------------------------------------- settings


def words(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Every flag, command and choice of a command line."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield name
                yield from words(inner)
        else:
            yield from (flag for flag in action.option_strings if flag.startswith("--"))
            yield from action.choices or ()


def test_every_flag_and_command_is_on_the_page_of_settings():
    assert missing(words(cli._parser()), page("settings.md")) == []


def test_every_key_of_the_settings_file_is_on_the_page_of_settings():
    keys: set[str] = {*settings._PLAIN, *settings._CONVERTED}
    for function in (settings.from_file, settings._model_of, settings._tool_of, settings._take_key):
        for node in ast.walk(ast.parse(inspect.getsource(function))):
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "pop" and node.args:
                keys |= {node.args[0].value} if isinstance(node.args[0], ast.Constant) else set()
            elif isinstance(node, ast.For) and isinstance(node.iter, ast.Tuple):
                keys |= {one.value for one in node.iter.elts if isinstance(one, ast.Constant)}
    assert {"server", "host", "data", "source", "api_key_env"} <= keys, "this test reads the keys out of the code"
    text = page("settings.md").replace("`[", "`").replace("]`", "`")
    assert missing(keys, text) == []


def test_every_option_of_a_back_end_is_on_the_page_of_back_ends():
    given = {"url", "path", "thought_text", "progress"}  # by the server itself
    options = {*inspect.signature(OpenAIChat).parameters, *inspect.signature(LlamaCpp).parameters} - given
    assert missing(options, page("backends.md")) == []


def test_every_back_end_tool_and_store_is_on_a_page():
    everything = "\n".join(path.read_text(encoding="utf-8") for path in PAGES)
    assert missing(app.MODELS, page("backends.md")) == []
    assert [name for name in {*app.TOOLS, *app.STORES} - {"absent"} if name not in everything.lower()] == []


def test_every_variable_of_the_environment_is_on_the_page_of_settings():
    read = set(re.findall(r'environ(?:\.get\(|\[)"(\w+)"', SOURCES))
    assert {"ANTIPHON_HOME", "ANTIPHON_API_KEYS"} <= read, "this test reads the variables out of the code"
    assert missing(read | {"GOOGLE_GEMINI_BASE_URL", "GEMINI_API_KEY"}, page("settings.md")) == []


def test_every_target_of_the_makefile_is_on_the_page_of_contributing():
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    text = page("contributing.md")
    assert [name for name in targets if name != "help" and f"make {name} " not in text] == []


def test_every_dependency_has_its_reason():
    file = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    optional = file["project"]["optional-dependencies"]
    listed = [
        *file["project"]["dependencies"],
        *(one for group in file["dependency-groups"].values() for one in group if isinstance(one, str)),
        *(one for extra in optional.values() for one in extra),
    ]
    names = [re.match(r"[\w-]+", one)[0] for one in listed]  # type: ignore[index]
    assert missing([*names, *optional], page("dependencies.md")) in ([], ["antiphon"])  # itself, in the extra of extras


# ---------------------------------------------------------------------------------------------------- the API


def kinds_of(error: type[wire.ApiError]) -> Iterator[type[wire.ApiError]]:
    yield error
    for kind in error.__subclasses__():
        if kind.__module__.startswith("antiphon.wire"):
            yield from kinds_of(kind)


def test_every_error_code_is_on_the_page_of_errors_with_its_status():
    rows = dict(re.findall(r"^\| `(\w+)` \| (\d+) \|", page("errors.md"), re.MULTILINE))
    known = {kind.code: str(kind.status) for kind in kinds_of(wire.ApiError)}
    assert {code: rows.get(code) for code in known} == known
    elsewhere = set(re.findall(r'code="(\w+)"\)', SOURCES))
    assert set(rows) == set(known) | elsewhere


def test_every_field_that_is_refused_is_on_the_page_of_errors():
    assert missing(intake._NOT_SERVED, page("errors.md")) == []


def test_every_route_is_on_the_page_of_the_api_and_no_other():
    nothing: Any = SimpleNamespace(webhooks=None)  # nothing is asked of them
    tables = [*webhooks.table(nothing), *triggers.table(nothing), *Operations().table(nothing)]
    tables += [*voices.table(None), *decisions.table({}, nothing)]
    router: Any = application(nothing, nothing, tables)
    routes = {
        f"{method} {re.sub(r':path}', '}', route.path)}"
        for route in router.routes
        for method in route.methods - {"HEAD"}
    }
    assert set(re.findall(r"`((?:GET|POST|PATCH|DELETE) /[^`]+)`", page("api.md"))) == routes


def test_every_event_is_on_the_page_of_streaming():
    tags = [str(kind.__struct_config__.tag) for kind in get_args(wire.InteractionEvent)]
    assert missing(tags, page("streaming.md")) == []


def test_every_status_a_run_can_end_with_is_on_the_page_of_background_runs():
    never = {"budget_exceeded", "queued", "requires_continuation"}  # of the API's words, those that nothing here says
    assert missing(set(get_args(wire.InteractionStatus)) - never, page("background.md")) == []


def test_every_word_of_a_script_is_on_its_page():
    structs: list[type[msgspec.Struct]] = [
        scripted.Script,
        scripted.ScriptedTurn,
        scripted.ScriptedCall,
        scripted.Fault,
        ToolScript,
    ]
    fields = {name for struct in structs for name in struct.__struct_fields__} - {"turns"}
    kinds = set(get_args(get_type_hints(scripted.Fault)["kind"]))
    assert missing(fields | kinds, page("scripted.md")) == []
    assert "[[turns]]" in page("scripted.md")
