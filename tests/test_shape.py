"""The shape of the tree, as tests: sizes, arrows between parts, and where the few exceptions stand.

A budget that is wrong for a real reason is changed here, in the same commit, with the reason beside it.
"""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "antiphon"
TESTS = ROOT / "tests"

LONGEST_FILE = 500
LONGEST_FUNCTION = 60
MOST_BRANCHES = 12
DEEPEST_FOLDER = 2
MOST_DEPENDENCIES = 8

# What each part may import of this package; a folder is one part. Only rows above a part's own may stand in its row.
MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "antiphon": (),  # __init__.py: the version
    "hub": (),
    "ids": (),
    "schemas": (),
    "signature": (),
    "sql": (),
    "toolforms": (),
    "wire": ("wire",),
    "log": ("wire",),
    "catalog": ("wire",),
    "tooltext": ("wire",),
    "faults": ("wire",),
    "toolsteps": ("wire",),
    "decide": ("wire",),
    "ports": ("wire", "ports"),
    "logs": ("wire", "ports"),
    "channel": ("log", "ports"),
    "watchers": ("wire", "ports"),
    "repeats": ("wire", "ports"),
    "telemetry": ("antiphon", "wire", "ports"),
    "keyring": ("wire", "ports"),
    "limits": ("wire", "ports", "keyring"),
    "audit": (),
    "words": (),
    "citations": ("wire", "ports", "words"),
    "computer_use": ("wire",),
    "readings": ("wire", "ports", "signature", "tooltext"),
    "toolbox": ("ids", "wire", "ports", "readings", "toolsteps"),
    "outputs": ("wire", "catalog", "faults", "schemas"),
    "intake": ("wire", "ports", "faults", "outputs", "schemas", "signature", "readings", "computer_use"),
    "processing": ("wire", "ports"),
    "resource": ("wire", "log", "ports"),
    "pasts": ("wire", "log", "ports"),
    "run": ("wire", "log", "ports", "decide", "resource", "ids", "signature", "readings", "toolbox", "toolsteps"),
    "recovery": ("wire", "ports", "resource", "run", "toolsteps"),
    "perform": (
        "ids",
        "wire",
        "ports",
        "citations",
        "intake",
        "processing",
        "readings",
        "run",
        "toolsteps",
        "tooltext",
        "watchers",
    ),
    "admission": ("ids", "wire", "ports", "intake", "pasts", "processing", "run", "toolbox"),
    "desk": ("wire", "ports", "perform", "resource", "run", "signature", "watchers"),
    "transfer": ("wire", "log", "ports"),
    "archive": ("wire", "log", "ports", "resource", "run", "transfer"),
    "engine": (
        "admission",
        "archive",
        "desk",
        "perform",
        "logs",
        "recovery",
        "watchers",
        "wire",
        "log",
        "ports",
        "decide",
        "processing",
        "toolsteps",
        "citations",
        "readings",
        "toolbox",
        "intake",
        "pasts",
        "resource",
        "run",
        "transfer",
        "ids",
        "signature",
    ),
    "judging": ("wire", "ports"),
    "chat": ("wire", "ports", "tooltext"),
    "chat_answer": ("wire", "ports", "chat", "schemas", "toolforms"),
    "http1": ("antiphon",),
    "chat_http": ("wire", "ports", "chat", "chat_answer", "http1"),
    "sandbox": ("wire", "ports", "sandbox"),
    "progress": (),
    "weights": ("hub", "progress"),
    "media": ("wire", "ports", "http1", "chat_answer", "sandbox", "weights", "media"),
    "drawing": ("antiphon", "wire", "ports", "media", "drawing"),
    "models": ("wire", "ports", "words", "chat", "chat_answer", "chat_http", "media", "judging", "drawing"),
    "excerpts": ("words",),
    "agents": ("wire", "ports", "words", "citations", "excerpts", "agents"),
    "json_http": ("antiphon",),
    "addresses": ("ports",),
    "fetch": ("ports", "addresses", "antiphon"),
    "webhooks": ("antiphon", "wire", "ports", "resource", "addresses", "webhooks"),
    "mcp_client": ("ports", "addresses", "antiphon"),
    "speech": ("wire", "ports", "words", "speech"),
    "index": ("wire", "ports", "words", "sql", "index"),
    "blobs": ("antiphon", "wire", "ports", "sql", "index", "blobs"),
    "library": ("wire", "ports", "ids", "sql", "index", "blobs", "library"),
    "maps": ("json_http", "words", "maps"),
    "search": ("wire", "ports", "words", "json_http", "index", "search"),
    "tools": (
        "wire",
        "ports",
        "addresses",
        "toolsteps",
        "words",
        "excerpts",
        "schemas",
        "mcp_client",
        "maps",
        "search",
        "library",
    ),
    "stores": ("wire", "log", "ports", "sql", "blobs"),
    "bus": ("wire", "log", "ports", "channel"),
    "dispatch": ("wire", "ports", "engine"),
    "triggers": ("wire", "ports", "ids", "resource", "engine", "triggers"),
    "server": (
        "antiphon",
        "judging",
        "watchers",
        "audit",
        "ids",
        "keyring",
        "logs",
        "ports",
        "repeats",
        "telemetry",
        "wire",
        "faults",
        "log",
        "resource",
        "run",
        "engine",
        "catalog",
        "index",
        "library",
        "triggers",
        "webhooks",
        "server",
    ),
    "settings": ("weights",),
    "app": (
        "app",
        "blobs",
        "processing",
        "stores",
        "agents",
        "wire",
        "ports",
        "dispatch",
        "engine",
        "run",
        "catalog",
        "library",
        "audit",
        "keyring",
        "limits",
        "repeats",
        "signature",
        "triggers",
        "webhooks",
        "bus",
        "server",
        "weights",
        "settings",
    ),
    "cli_keys": ("wire", "ports", "app", "audit", "faults", "keyring", "settings"),
    "cli_backup": ("settings",),
    "research_report": (),
    "research_page": ("research_report",),
    "research_view": ("words", "research_report"),
    "cli_research": ("app", "agents", "research_report", "research_view"),
    "cli_index": ("fetch", "index", "media", "search", "settings"),
    "cli": ("antiphon", "app", "cli_index", "logs", "settings", "weights"),
    "__main__": ("cli",),
}
SIBLINGS_APART = {"models", "tools", "stores", "bus"}

# Where a model server's name may stand: the files of its back-end, and with their reasons the others.
PROVIDERS: dict[str, dict[str, str]] = {
    r"vllm": {"models/openai_chat.py": "its back-end"},
    r"sglang": {"models/openai_chat.py": "its back-end"},
    r"ollama": {"models/openai_chat.py": "its back-end"},
    r"lm[ -]?studio": {"models/openai_chat.py": "its back-end"},
    r"xllamacpp": {"models/llamacpp_process.py": "the one file that touches the native wheel"},
    r"(?<!x)llama[.-]?(cpp|server)": {
        "models/llamacpp.py": "its back-end",
        "models/llamacpp_process.py": "its back-end's process",
        "models/openai_chat.py": "the same server, run by the operator",
        "app/tables.py": "its row in the table of back-ends",
        "app/__init__.py": "what it is made from",
        "settings.py": "a spec that names weights means this back-end",
        "chat.py": "a comment: which server's silence a guard is for",
    },
    r"openai(?!-compatible)": {
        "models/openai_chat.py": "its back-end",
        "app/tables.py": "its row in the table of back-ends",
        "app/__init__.py": "what it is made from",
        "settings.py": "a spec that is a URL means this back-end",
    },
}

# Where any exception at all may be caught, and why.
CATCH_ALL = {
    # style.md would have three; each of the others was a way to lose the whole server to one bad run, row or tool.
    "app/__init__.py: _sweep": "retention goes on after a round that failed",
    "app/__init__.py: _warm": "a model that does not start must not keep the others from starting",
    "bus/nats.py: NatsBus._carry": "one interaction that cannot be run must not keep a worker from the others",
    "bus/nats.py: _for_ever": "a bus without its work would be deaf, and say nothing",
    "cli_backup.py: backup": "nothing half copied is left, whatever stopped it; it is raised again",
    "engine.py: Engine._attempt": "whatever happens to a run ends in its log",
    "perform.py: Performer.listen": "what a cut-off answer took is counted, whatever cut it; it is raised again",
    "toolbox.py: Toolbox._within": "a tool's fault is a result that the model sees",
    "toolbox.py: Toolbox.aclose": "one tool that cannot be closed must not keep the others open",
    "engine.py: Engine._take_turn": "the same of one that waited for its turn",
    "engine.py: Engine.recover": "one run that cannot be read must not keep the server from starting",
    "run.py: Run._write": "a write that nobody waits for must not fail unseen",
    "library/indexing.py: Indexing._one": "one document that cannot be indexed must not end the work on the others",
    "sandbox/driver.py: Driver._fault": "runs inside the jail: whatever the user's code raises is its output",
    "sandbox/driver.py: Driver._guarded": "the same",
    "stores/sqlite.py: _commit": "one bad row must not end the thread that writes all of them",
    "engine.py: Engine._close": "an end that cannot be written must not take the others down",
    "webhooks/deliveries.py: Deliveries._work": "one delivery that goes wrong must not stop the others",
    "triggers/scheduler.py: Scheduler._kept": "one trigger that cannot be handled must not stop the schedule of the others",
    "server/routes.py: Endpoint.__call__": "whatever goes wrong with a request has an answer",
}

# Programs as users write them, run by tests in processes of their own: a client that polls waits between two looks.
PROGRAMS = TESTS / "sdk" / "programs"


@dataclass(frozen=True)
class Module:
    """One file of the package."""

    path: Path
    tree: ast.Module

    @property
    def place(self) -> str:
        return self.path.relative_to(SOURCE).as_posix()

    @property
    def name(self) -> str:
        parts = self.path.relative_to(SOURCE.parent).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def part(self) -> str:
        parts = self.name.split(".")
        return parts[1] if len(parts) > 1 else parts[0]


@cache
def modules() -> dict[str, Module]:
    """Every module of the package by its name."""
    found = [Module(path, ast.parse(path.read_text(encoding="utf-8"))) for path in sorted(SOURCE.rglob("*.py"))]
    return {module.name: module for module in found}


def functions(tree: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function, with its name as `Class.method`."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{prefix}{node.name}", node
        inner = (
            f"{prefix}{node.name}."
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            else prefix
        )
        yield from functions(node, inner)


_BRANCHES = (
    ast.If, ast.For, ast.AsyncFor, ast.While, ast.ExceptHandler, ast.IfExp, ast.BoolOp, ast.comprehension, ast.match_case,
)  # fmt: skip


def complexity(function: ast.AST) -> int:
    """1 and the branches: if, for, while, except, case, conditional and boolean expressions, comprehensions."""
    return 1 + sum(isinstance(node, _BRANCHES) for node in ast.walk(function))


def imported(module: Module, nodes: Iterator[ast.AST]) -> set[str]:
    """The package's own modules that these nodes import; a name out of a module counts as the module."""
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            package = module.name if module.path.name == "__init__.py" else module.name.rpartition(".")[0]
            base = f"{package}.{node.module}" if node.level else node.module or ""
            found |= {f"{base}.{alias.name}" if f"{base}.{alias.name}" in modules() else base for alias in node.names}
    return found & modules().keys()


def in_functions(module: Module) -> Iterator[ast.AST]:
    for _, function in functions(module.tree):
        yield from ast.walk(function)


def at_import(module: Module) -> Iterator[ast.AST]:
    hidden = set(map(id, in_functions(module)))
    for node in ast.walk(module.tree):
        if id(node) not in hidden:
            yield node


# ---------------------------------------------------------------------------------------------------- sizes


def test_no_file_is_longer_than_one_sitting():
    lengths = {m.place: len(m.path.read_text(encoding="utf-8").splitlines()) for m in modules().values()}
    assert {place: length for place, length in lengths.items() if length > LONGEST_FILE} == {}


def test_no_function_is_longer_than_one_screen():
    lengths = {
        f"{module.place}: {name}": (function.end_lineno or 0) - function.lineno + 1
        for module in modules().values()
        for name, function in functions(module.tree)
    }
    assert {name: length for name, length in lengths.items() if length > LONGEST_FUNCTION} == {}


def test_no_function_has_more_branches_than_one_can_follow():
    found = {
        f"{module.place}: {name}": complexity(function)
        for module in modules().values()
        for name, function in functions(module.tree)
    }
    assert {name: branches for name, branches in found.items() if branches > MOST_BRANCHES} == {}


def test_no_folder_is_deeper_than_two():
    depths = {module.place: module.place.count("/") + 1 for module in modules().values()}
    assert {place: depth for place, depth in depths.items() if depth > DEEPEST_FOLDER} == {}


def test_the_core_install_has_few_dependencies():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert len(project["dependencies"]) <= MOST_DEPENDENCIES


# ---------------------------------------------------------------------------------------------------- arrows


def test_the_table_of_parts_points_downwards_only():
    order = list(MAY_IMPORT)
    upwards = [
        (part, used) for part, row in MAY_IMPORT.items() for used in row if order.index(used) > order.index(part)
    ]
    assert upwards == []


def test_every_part_has_a_row_in_the_table():
    assert {module.part for module in modules().values()} == set(MAY_IMPORT)


def test_parts_import_only_what_their_row_allows():
    forbidden = [
        f"{module.place} imports {used}"
        for module in modules().values()
        for used in imported(module, ast.walk(module.tree))
        if modules()[used].part not in (*MAY_IMPORT[module.part], *(SIBLINGS_APART & {module.part}))
    ]
    assert forbidden == []


def test_back_ends_tools_stores_and_buses_do_not_know_their_siblings():
    """But for a back-end's own second file, which has its name in front: llamacpp and llamacpp_process."""
    known = [
        f"{module.place} imports {used}"
        for module in modules().values()
        if module.part in SIBLINGS_APART
        for used in imported(module, ast.walk(module.tree))
        if modules()[used].part == module.part and not used.startswith(f"{module.name}_")
    ]
    assert known == []


def test_imports_make_no_circle():
    try:
        TopologicalSorter({name: imported(module, at_import(module)) for name, module in modules().items()}).prepare()
    except CycleError as error:
        pytest.fail(f"a circle of imports: {' -> '.join(error.args[1])}")


def test_no_import_of_our_own_is_hidden_in_a_function():
    hidden = {module.place: imported(module, in_functions(module)) for module in modules().values()}
    assert {place: names for place, names in hidden.items() if names} == {}


def test_only_the_loader_imports_by_name():
    """`app.load` turns a name of a table into what it stands for; nothing else imports what the reader cannot see."""
    users = {
        f"{module.place}: {name}"
        for module in modules().values()
        for name, function in functions(module.tree)
        for node in ast.walk(function)
        if isinstance(node, ast.Name) and node.id in ("import_module", "__import__")
    }
    assert users == {"app/tables.py: load"}


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_providers_name_stands_in_its_back_end_only(provider):
    places = {
        m.place for m in modules().values() if re.search(provider, m.path.read_text(encoding="utf-8"), re.IGNORECASE)
    }
    assert places == set(PROVIDERS[provider])


def test_any_exception_at_all_is_caught_in_the_named_places_only():
    broad = {
        f"{module.place}: {name}"
        for module in modules().values()
        for name, function in [*functions(module.tree), ("at import", module.tree)]
        for node in (at_import(module) if function is module.tree else ast.walk(function))
        if isinstance(node, ast.ExceptHandler) and _is_broad(node.type)
    }
    assert broad == set(CATCH_ALL)


def _is_broad(caught: ast.expr | None) -> bool:
    names = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(name is None or getattr(name, "id", "") in ("Exception", "BaseException") for name in names)


# ---------------------------------------------------------------------------------------------------- importing

# Says as JSON what importing a module did: the files opened for writing, what it connected or started, what it loaded.
WATCH = """
import json, os, sys, threading
did = []
def watch(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        did.append(f"opened {arguments[0]}")
    elif event in ("socket.connect", "socket.bind", "subprocess.Popen", "os.mkdir", "os.remove", "os.rename", "os.fork"):
        did.append(f"{event} {arguments[:2]}")
sys.addaudithook(watch)
__import__(sys.argv[1])
print(json.dumps({"did": did, "threads": threading.active_count(), "modules": sorted(sys.modules)}))
"""


def importing(module: str) -> dict[str, list[str]]:
    command = [sys.executable, "-B", "-c", WATCH, module]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == "" and done.stdout.count("\n") == 1, "importing prints nothing"
    return json.loads(done.stdout)


@pytest.mark.parametrize("module", ["antiphon", "antiphon.app", "antiphon.cli"])
def test_importing_writes_connects_and_starts_nothing(module):
    seen = importing(module)
    assert seen["did"] == [] and seen["threads"] == 1


def test_importing_the_command_line_loads_no_model_and_no_client():
    heavy = {"xllamacpp", "google.genai", "numpy", "torch", "pydantic", "httpx", "httpx2"}
    assert heavy.isdisjoint(importing("antiphon.cli")["modules"])


def test_importing_the_package_loads_nothing_else():
    strangers = {name.partition(".")[0] for name in importing("antiphon")["modules"]} - sys.stdlib_module_names
    assert {name for name in strangers if name.startswith(("starlette", "uvicorn", "aiohttp", "msgspec"))} == set()


# ---------------------------------------------------------------------------------------------------- tests


def test_tests_wait_for_events_never_for_the_clock():
    """`sleep(0)` only lets others go first, and is no waiting."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in sorted(TESTS.rglob("*.py"))
        if PROGRAMS not in path.parents
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "attr", getattr(node.func, "id", "")) == "sleep"
        if not (node.args and isinstance(node.args[0], ast.Constant) and node.args[0].value == 0)
    ]
    assert found == []


def test_tests_use_doubles_that_are_products_never_mocks():
    found = [
        f"{path.relative_to(ROOT)}: {name}"
        for path in sorted(TESTS.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
        if "mock" in name.lower().split(".")
    ]
    assert found == []
