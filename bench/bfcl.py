"""How often function calling is right on public cases (BFCL): our server against llama.cpp's own, on the same weights.

    python -m bench.bfcl                             50 cases of each category, about an hour; writes docs/performance.md
    python -m bench.bfcl --sample 5 --show           a few, and each case that went wrong; writes nothing
    python -m bench.bfcl --category parallel         one or more categories; writes nothing

The cases and their answers are those of the `bfcl-eval` package (Berkeley Function Calling Leaderboard, Apache-2.0): one
question with one function (simple), with several (multiple), one that needs several calls (parallel), and one that none
of the functions helps with (irrelevance). The sample is drawn with a seed. Both servers get the same functions, in the
form that BFCL gives OpenAI's API, and the same question at temperature 0; ours is asked through the Interactions API.

A case is right as BFCL's checker of calls has it: the function's name, all required arguments and no unknown ones, each
of its type, and each value among the possible answers (text without regard to case, blanks and punctuation). Two things
are stricter here, for both servers: a call whose arguments are no JSON, and an answer that ends in an error, are wrong in
every category, also where no call was the right answer. A broken call is one whose arguments break their schema.
"""

from __future__ import annotations

import argparse
import copy
import http.client
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from antiphon import schemas, weights
from bench.embedded import ALL_CORES, BARE
from bench.report import Row, publish, rows_table, table
from bench.servers import ROOT, Neighbours, Server, free_port

COMMAND = "python -m bench.bfcl"
PACKAGE = "bfcl-eval==2026.3.23"
CACHE = ROOT / ".sdk" / "bfcl"
CATEGORIES = {"simple": "simple_python", "multiple": "multiple", "parallel": "parallel", "irrelevance": "irrelevance"}
SEED, SAMPLE, LIMIT = 20261123, 50, 512
OURS, THEIRS = "Antiphon", "llama.cpp's own server"

Json = dict[str, Any]
Calls = list[tuple[str, Any]]
Ask = Callable[[str, list[Json]], Calls]


class Failed(Exception):
    """The server answered with an error, or with a call that is no JSON."""


@dataclass
class Case:
    """One question: the functions as BFCL describes them, and for each call wanted its possible arguments."""

    id: str
    question: str
    functions: list[Json]
    answers: list[Json]


@dataclass
class Tally:
    """What one server did with the cases of one category."""

    right: int = 0
    asked: int = 0
    broken: int = 0
    failed: int = 0
    seconds: float = 0.0


# ---------------------------------------------------------------------------------------------------- the cases


def package() -> Path:
    """The wheel with the cases, fetched once. Nothing of it is installed or run."""
    name, _, version = PACKAGE.partition("==")
    wheel = CACHE / f"{name.replace('-', '_')}-{version}-py3-none-any.whl"
    if not wheel.exists():
        pip = (sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps")
        subprocess.run([*pip, "--dest", str(CACHE), PACKAGE], check=True)
    return wheel


def cases(category: str, sample: int) -> list[Case]:
    name = f"BFCL_v4_{CATEGORIES[category]}.json"
    with zipfile.ZipFile(package()) as wheel:

        def lines(path: str) -> list[Json]:
            return [json.loads(line) for line in wheel.read(f"bfcl_eval/data/{path}").splitlines() if line.strip()]

        answers = {}
        if category != "irrelevance":
            answers = {line["id"]: line["ground_truth"] for line in lines(f"possible_answer/{name}")}
        found = []
        for line in lines(name):
            ((message,),) = line["question"]
            found.append(Case(line["id"], message["content"], line["function"], answers.get(line["id"], [])))
    found.sort(key=lambda case: case.id)
    return random.Random(f"{SEED} {category}").sample(found, min(sample, len(found)))


SCHEMA_TYPES = {
    "integer": "integer", "float": "number", "number": "number", "boolean": "boolean", "array": "array",
    "tuple": "array", "dict": "object", "object": "object", "string": "string", "any": "string",
}  # fmt: skip


def api_name(name: str) -> str:
    """A function's name in the letters that OpenAI's API takes."""
    return name.replace(".", "_")


def offered(function: Json) -> Json:
    """A function of BFCL's as APIs take it: name, description, and parameters as a JSON schema."""
    parameters = converted(copy.deepcopy(function["parameters"]))
    return {"name": api_name(function["name"]), "description": function["description"], "parameters": parameters}


def converted(schema: Json) -> Json:
    """BFCL's own type names are Python's; a few of its schemas mark a single property as required, which is no schema."""
    kind = schema.get("type", "string")
    schema["type"] = SCHEMA_TYPES.get(kind, "string")
    if kind == "float":
        schema["description"] = f"{schema.get('description', '')} This is a float type value.".strip()
    if not isinstance(schema.get("required", []), list):
        del schema["required"]
    for inner in schema.get("properties", {}).values():
        converted(inner)
    if isinstance(schema.get("items"), dict):
        converted(schema["items"])
    return schema


# ---------------------------------------------------------------------------------------------------- what is right

PYTHON_TYPES: dict[str, type] = {
    "string": str, "integer": int, "float": float, "boolean": bool, "array": list, "tuple": list, "dict": dict,
    "any": str,
}  # fmt: skip


def is_right(case: Case, made: Calls) -> bool:
    """Whether the calls made are those wanted, each once, in any order."""
    if len(made) != len(case.answers):
        return False
    left = list(made)
    for answer in case.answers:
        ((name, possible),) = answer.items()
        function = next(one for one in case.functions if one["name"] == name)
        match = next((place for place, call in enumerate(left) if fits(call, function, possible)), None)
        if match is None:
            return False
        del left[match]
    return True


def fits(call: tuple[str, Any], function: Json, possible: Json) -> bool:
    """Whether one call is of this function with these arguments; each is a list of values, '' for one left out."""
    name, arguments = call
    properties, required = function["parameters"]["properties"], function["parameters"]["required"]
    if name != api_name(function["name"]) or not isinstance(arguments, dict):
        return False
    if any(argument not in arguments for argument in required):
        return False
    for argument, value in arguments.items():
        if argument not in properties or argument not in possible:
            return False
        if not value_fits(value, properties[argument], possible[argument]):
            return False
    return all(argument in arguments or "" in values for argument, values in possible.items())


def value_fits(value: Any, described: Json, possible: list[Any]) -> bool:
    kind = described["type"]
    expected = PYTHON_TYPES[kind]
    inner = PYTHON_TYPES[described["items"]["type"]] if kind in ("array", "tuple") else None
    if kind == "float" and type(value) is int:
        value = float(value)
    first = next((type(answer) for answer in possible if answer != ""), None)
    # Some answers are the name of a variable, and so text where another type is described: then that is the type.
    named = first is not None and first is not expected
    if type(value) is not expected:
        return type(value) is first and value in possible
    if inner is not None and not any(items_fit(value, answer, inner) for answer in possible):
        return False
    if named:
        return value in possible
    if expected is str:
        return plain(value) in [plain(answer) for answer in possible if isinstance(answer, str)]
    if expected is dict:
        return any(entries_fit(value, answer) for answer in possible if answer != "")
    if inner is dict:
        return any(len(value) == len(answer) and all(map(entries_fit, value, answer)) for answer in possible)
    if expected is list:
        return [plain(item) for item in value] in [[plain(item) for item in answer] for answer in possible]
    return value in possible


def items_fit(value: list[Any], answer: Any, inner: type) -> bool:
    """Whether the items are of the type described, or of the type that the answer has there."""
    if not isinstance(answer, list):
        return True
    first = next((type(item) for item in answer if item != ""), None)
    return all(type(item) is inner or (first is not None and type(item) is first) for item in value)


def entries_fit(value: Any, answer: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(answer, dict):
        return False
    return all(key in answer and plain(item) in map(plain, answer[key]) for key, item in value.items()) and all(
        key in value or "" in items for key, items in answer.items()
    )


def plain(value: Any) -> Any:
    """Text as it is compared: without blanks, most punctuation and case; anything else as it is."""
    return re.sub(r"[ ,./\-_*^]", "", value).lower().replace("'", '"') if isinstance(value, str) else value


def is_broken(call: tuple[str, Any], functions: list[Json]) -> bool:
    """Whether a call is of no function on offer, or with arguments that its schema forbids."""
    schema = next((function["parameters"] for function in functions if function["name"] == call[0]), None)
    return schema is None or schemas.violation(call[1], schema) is not None


# ---------------------------------------------------------------------------------------------------- the servers


def post(port: int, path: str, body: Json) -> Json:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=600)) as connection:
        connection.request("POST", path, json.dumps(body), {"content-type": "application/json"})
        response = connection.getresponse()
        answer: Json = json.loads(response.read())
    if response.status != 200:
        raise Failed(str(answer.get("error", answer)))
    return answer


def ask_ours(port: int, question: str, functions: list[Json]) -> Calls:
    body = {
        "model": "gemini-3-flash-preview",
        "input": question,
        "tools": [{"type": "function", **function} for function in functions],
        "generation_config": {"temperature": 0, "seed": 1, "max_output_tokens": LIMIT},
        "store": False,
    }
    answer = post(port, "/v1beta/interactions", body)
    if answer["status"] not in ("completed", "requires_action"):
        raise Failed(f"{answer['status']}: {answer.get('error')}")
    steps = answer.get("steps") or ()
    return [(step["name"], step["arguments"]) for step in steps if step["type"] == "function_call"]


def ask_theirs(port: int, question: str, functions: list[Json]) -> Calls:
    body = {
        "messages": [{"role": "user", "content": question}],
        "tools": [{"type": "function", "function": function} for function in functions],
        "temperature": 0,
        "seed": 1,
        "max_tokens": LIMIT,
    }
    message = post(port, "/v1/chat/completions", body)["choices"][0]["message"]
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    try:
        return [(call["name"], json.loads(call["arguments"])) for call in calls]
    except json.JSONDecodeError as error:
        raise Failed(f"no JSON: {error}") from None


def measure(ask: Ask, case: Case, tally: Tally) -> Calls | str | None:
    """Put a case to a server, and count. What it answered where that was wrong."""
    functions = [offered(function) for function in case.functions]
    began = time.perf_counter()
    try:
        made: Calls | str = ask(case.question, functions)
    except Failed as error:
        made = str(error)
    tally.seconds += time.perf_counter() - began
    tally.asked += 1
    if isinstance(made, str):
        tally.failed += 1
        return made
    tally.broken += sum(is_broken(call, functions) for call in made)
    if not is_right(case, made):
        return made
    tally.right += 1
    return None


def put(name: str, server: Server, ask: Ask, drawn: dict[str, list[Case]], *, show: bool) -> dict[str, Tally]:
    """All cases to one server, one after the other. It has the machine to itself: llama.cpp's threads wait by spinning,
    and two of its servers on the same cores are many times slower than one after the other."""
    found = {category: Tally() for category in drawn}
    with server:
        ask("Say yes.", [])
        for category, some in drawn.items():
            for case in some:
                wrong = measure(ask, case, found[category])
                if wrong is not None and show:
                    print(f"{name}, {category}, {case.id}: {case.question}", f"    made   {wrong}", sep="\n")
                    print(f"    wanted {case.answers}", flush=True)
            print(f"{name}, {category}: {found[category].right}/{len(some)}", file=sys.stderr, flush=True)
    return found


def report(found: dict[str, dict[str, Tally]]) -> str:
    lines, totals = [], {name: Tally() for name in (OURS, THEIRS)}
    for name, tallies in found.items():
        for tally in tallies.values():
            for key in ("right", "asked", "broken", "failed", "seconds"):
                setattr(totals[name], key, getattr(totals[name], key) + getattr(tally, key))
    for category in found[OURS]:
        cells = (found[name][category] for name in totals)
        lines.append([category, *(f"{tally.right}/{tally.asked}" for tally in cells)])
    ours, theirs = totals[OURS], totals[THEIRS]
    lines.append(["all", *(f"{tally.right}/{tally.asked}" for tally in totals.values())])
    lines.append(["broken calls", *(str(tally.broken) for tally in totals.values())])
    lines.append(["answers that are errors", *(str(tally.failed) for tally in totals.values())])
    lines.append(["seconds a case", *(f"{tally.seconds / max(1, tally.asked):.1f}" for tally in totals.values())])
    share = [100 * tally.right / max(1, tally.asked) for tally in (ours, theirs)]
    rows = [
        Row("BFCL cases right", share[0], "%", THEIRS, share[1], more_is_better=True, times=1.3),
        Row("calls that break their schema", ours.broken, "", THEIRS, theirs.broken, at_most=0),
    ]
    return f"{table(['category', OURS, THEIRS], lines)}\n\n{rows_table(rows)}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sample", type=int, default=SAMPLE, metavar="N", help="cases of each category")
    parser.add_argument("--category", action="append", choices=CATEGORIES)
    parser.add_argument("--weights", default=weights.STARTER)
    parser.add_argument("--show", action="store_true", help="print each case that went wrong")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are stopped too
    path = weights.fetch(chosen.weights, weights.Bar())
    drawn = {category: cases(category, chosen.sample) for category in chosen.category or CATEGORIES}
    near = Neighbours()
    with tempfile.TemporaryDirectory() as data:
        ports = free_port(), free_port()
        command = [str(ROOT / ".venv/bin/antiphon"), "serve", "--port", str(ports[0]), "--data", data]
        ours = Server("bfcl", [*command, "--model", str(path)], ports[0], "/healthz", core=ALL_CORES)
        bare = [sys.executable, "-c", BARE, str(path), str(ports[1]), str(len(os.sched_getaffinity(0)))]
        theirs = Server("bfcl-bare", bare, ports[1], "/health", core=ALL_CORES, patience=120)
        found = {
            OURS: put(OURS, ours, partial(ask_ours, ports[0]), drawn, show=chosen.show),
            THEIRS: put(THEIRS, theirs, partial(ask_theirs, ports[1]), drawn, show=chosen.show),
        }
    body = f"Weights: {Path(path).name}. {PACKAGE}, seed {SEED}. Other work took {near.share():.0%} of the processor."
    body = f"{body}\n\n{report(found)}"
    print(body)
    if chosen.sample >= SAMPLE and not chosen.category:
        publish("bfcl", "Function calling, on public cases", COMMAND, body)


if __name__ == "__main__":
    main()
