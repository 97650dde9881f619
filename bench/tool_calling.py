"""How often function calling works: the embedded model as Antiphon asks it, against the bare llama.cpp server.

    python bench/tool_calling.py [--model qwen2.5-coder-1.5b] [--ways bare,template,text,any] [--show]

The cases (`tool_calling.json`, our own) are calls of one function, a choice among several, parallel calls, and questions
that need none. `bare` sends the server `tools` and counts the `tool_calls` it gives back; `template` and `text` are
the two ways in which Antiphon can put functions before the model; `any` is `text` with a call required (its figure for
questions that need none means nothing). Temperature is 0. A case counts when the functions called and the arguments asked
for are exactly right; a broken call is one whose arguments break their schema. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp

from antiphon import schemas, weights, wire
from antiphon.models.llamacpp import LlamaCpp
from antiphon.ports import Call, ToolChoice, Turn

KINDS = ("simple", "choice", "parallel", "none")
Calls = list[tuple[str, Any]]
Ask = Callable[[dict[str, Any]], Awaitable[Calls]]
CONTEXT, SLOTS, LIMIT = 4096, 2, 160

data = json.loads(Path(__file__).with_name("tool_calling.json").read_text())
functions: dict[str, Any] = data["functions"]


def plain(value: Any) -> str:
    """A value as it is compared: numbers by value, words without regard to case."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"{value:g}"
    return str(value).lower()


def is_right(wanted: Calls, made: Calls) -> bool:
    """Whether the calls made are those wanted, in any order, with at least the arguments asked for."""
    left = list(made)
    for name, arguments in wanted:
        for call in left:
            if call[0] == name and all(plain(call[1].get(key)) == plain(value) for key, value in arguments.items()):
                left.remove(call)
                break
        else:
            return False
    return not left


def is_broken(call: tuple[str, Any], offer: list[str]) -> bool:
    name, arguments = call
    return name not in offer or schemas.violation(arguments, functions[name]["parameters"]) is not None


def bare(session: aiohttp.ClientSession, address: str) -> Ask:
    """The server's own function calling."""

    async def ask(case: dict[str, Any]) -> Calls:
        tools = [{"type": "function", "function": {"name": name, **functions[name]}} for name in case["offer"]]
        messages = [{"role": "user", "content": case["ask"]}]
        body = {"messages": messages, "tools": tools, "temperature": 0, "max_tokens": LIMIT}
        async with session.post(f"{address}/v1/chat/completions", json=body) as response:
            message = (await response.json())["choices"][0]["message"]
        made = (call["function"] for call in message.get("tool_calls") or ())
        return [(call["name"], json.loads(call["arguments"])) for call in made]

    return ask


def ours(model: LlamaCpp, mode: Any) -> Ask:
    """Antiphon's."""

    async def ask(case: dict[str, Any]) -> Calls:
        turn = Turn(
            model="m",
            steps=[wire.UserInputStep(content=case["ask"])],
            conversation=case["ask"],
            followed=False,
            functions=tuple(wire.Function(name=name, **functions[name]) for name in case["offer"]),
            tool_choice=ToolChoice(mode),
            temperature=0.0,
            max_output_tokens=LIMIT,
        )
        try:
            deltas = [delta async for delta in model.stream(turn)]
        except wire.MalformedFunctionCall:
            return [("malformed_function_call", {})]
        return [(delta.name, json.loads(delta.arguments)) for delta in deltas if isinstance(delta, Call)]

    return ask


async def measure(way: str, ask: Ask, *, show: bool) -> str:
    """Run all cases, as many at once as there are slots; a row of the table."""
    free = asyncio.Semaphore(SLOTS)
    began = time.monotonic()

    async def one(case: dict[str, Any]) -> Calls:
        async with free:
            return await ask(case)

    answers = await asyncio.gather(*map(one, data["cases"]))
    right, all_of, broken = Counter[str](), Counter[str](), 0
    for case, made in zip(data["cases"], answers, strict=True):
        good = is_right([(name, arguments) for name, arguments in case["want"]], made)
        right[case["kind"]] += good
        all_of[case["kind"]] += 1
        broken += sum(is_broken(call, case["offer"]) for call in made)
        if show and not good:
            print(f"{way}: {case['ask']} -> {made}")
    cells = " | ".join(f"{right[kind]}/{all_of[kind]}" for kind in KINDS)
    total = f"{right.total()}/{all_of.total()}"
    return f"| {way} | {cells} | **{total}** | {broken} | {time.monotonic() - began:.0f} s |"


async def run(way: str, path: Path, *, show: bool) -> str:
    if way != "bare":
        model = LlamaCpp(path, context=CONTEXT, slots=SLOTS, tools="template" if way == "template" else "text")
        try:
            await model.start()
            return await measure(way, ours(model, "any" if way == "any" else "auto"), show=show)
        finally:
            await model.aclose()
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel, params.verbosity = str(path), CONTEXT * SLOTS, SLOTS, 1
    server = await asyncio.to_thread(xllamacpp.Server, params)
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=None)) as session:
        return await measure(way, bare(session, server.listening_address), show=show)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=weights.STARTER)
    parser.add_argument("--ways", default="bare,template,text,any")
    parser.add_argument("--show", action="store_true", help="print each case that went wrong")
    options = parser.parse_args()
    path = weights.fetch(options.model)
    print(f"{options.model}, {len(data['cases'])} cases\n")
    print(f"| way | {' | '.join(KINDS)} | right | broken calls | time |\n|---|{'---|' * (len(KINDS) + 3)}")
    for way in options.ways.split(","):
        print(asyncio.run(run(way, path, show=options.show)), flush=True)


if __name__ == "__main__":
    main()
