"""Finds function calls that a model wrote as text.

Small models are offered functions and write the call down instead of using their template's form: fenced JSON, bare
JSON, tags of their own, or Python. `CallReader` reads an answer piece by piece and keeps back only what may still
become such a call. What names a function on offer and has readable arguments becomes a `FoundCall`; so does an answer
that begins with a call, and nothing but a call, of a function that the model made up. Everything else leaves as the text
it was, unchanged. No I/O. Whether arguments fit their schema is judged elsewhere.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

from msgspec import DecodeError
from msgspec.json import decode, encode


class FoundCall(NamedTuple):
    """A call read from text; `arguments` is the JSON text of an object."""

    name: str
    arguments: str


class _NotACall(Exception):
    """What was kept back is plain text after all."""


_TAGS = "tool_calls|tool_call|tools|function_calls|function_call|functions|function"
_FENCES = "json|tool_call|tool_code|function_call|xml|javascript|python"
_OPENER = re.compile(rf"<(?:{_TAGS})>|<function=|(?:(?<=\n)|\A)```(?:{_FENCES})?[ \t]*\r?\n|\[TOOL_CALLS\]")
_BARE = re.compile(r"[\s,;]*(?=[{\[]|functools\[)")
_MARK = re.compile(r"[<`\[\n]")
_CLOSER = re.compile(r"[}\])>`]")
_GAP = re.compile(r"[\s,;]*")
_BLANKS = " \t\r\n,;"  # also what stands between bare calls
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|\'(?:[^\'\\]|\\.)*\'|[\[\](){}"\']', re.DOTALL)
_PLAIN_OPENERS = (*(f"<{tag}>" for tag in _TAGS.split("|")), "<function=", "[TOOL_CALLS]")
_NAME_KEYS = ("name", "function", "tool", "tool_name", "function_name")
_ARGUMENT_KEYS = ("arguments", "parameters", "args", "input", "tool_input")
_WRAPPERS = ("tool_calls", "function_calls", "function_call", "tool_call", "calls")
_INVENTED = "*"  # stands among the names where a function that is not on offer may be called
_IDENTIFIER = re.compile(r"[A-Za-z_][\w.:-]*")
_FIRST_KEYS = (*_NAME_KEYS, *_ARGUMENT_KEYS, *_WRAPPERS, "type", "id")


class CallReader:
    """Splits a streamed answer into text and calls of the functions `names`."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = frozenset(names)
        self._kept = ""
        self._blank = ""  # blanks before what is kept: the form's if it is a call, else the answer's
        self._inside = False  # what is kept begins with something that opens a call
        self._fresh = True  # nothing but blanks or calls so far: a bare call may begin here
        self._called = False
        self._line_start = True

    def feed(self, piece: str) -> list[str | FoundCall]:
        """Take the next piece of the answer; return what is certain by now, in order."""
        if not (self._kept or self._fresh or _MARK.search(piece)):
            # Most pieces of most answers: words.
            self._line_start = False
            return [piece]
        self._kept += piece
        if self._inside and not _CLOSER.search(piece) and len(self._kept) > 512:
            return []
        return _joined(self._advance(final=False))

    def close(self) -> list[str | FoundCall]:
        """The answer has ended: return what was kept back."""
        found = _joined(self._advance(final=True))
        rest, self._blank, self._kept = self._blank + self._kept, "", ""
        if rest and (rest.strip() or not self._called):
            found.append(rest)
        return found

    def _advance(self, *, final: bool) -> Iterator[str | FoundCall]:
        while self._kept:
            if not self._inside:
                text = self._text_before_opener(final=final)
                if text:
                    yield self._released(text)
                if not self._inside:
                    return
            try:
                names = self._names | {_INVENTED} if self._fresh else self._names
                attempt = _attempt(self._kept, names, final=final)
            except _NotACall:
                yield from self._give_up()
                continue
            if attempt is None:
                return
            calls, end = attempt
            yield from calls
            self._kept, self._blank = self._kept[end:], ""
            self._inside, self._fresh, self._called = False, True, True

    def _text_before_opener(self, *, final: bool) -> str:
        """Cut off and return the text that cannot be part of a call; note whether a call may begin after it."""
        if self._fresh and (bare := _BARE.match(self._kept)):
            self._blank += self._kept[: bare.end()]
            self._kept, self._inside = self._kept[bare.end() :], True
            return ""
        cut = len(self._kept)
        for opener in _OPENER.finditer(self._kept):
            if opener.start() or self._line_start or not opener[0].startswith("`"):
                cut, self._inside = opener.start(), True
                break
        if not self._inside and not final:
            cut -= _possible_opener(self._kept, fresh=self._fresh, line_start=self._line_start)
        text, self._kept = self._kept[:cut], self._kept[cut:]
        if self._fresh and not text.strip(_BLANKS):
            self._blank, text = self._blank + text, ""
        return text

    def _give_up(self) -> Iterator[str]:
        """Release the first character that opened nothing; what follows is looked at again."""
        first = _OPENER.match(self._kept)
        length = first.end() if first else 1
        text, self._kept, self._inside = self._kept[:length], self._kept[length:], False
        yield self._released(text)

    def _released(self, text: str) -> str:
        text, self._blank = self._blank + text, ""
        self._line_start = text.endswith("\n")
        self._fresh = self._fresh and not text.strip(_BLANKS)
        return text


def _joined(parts: Iterable[str | FoundCall]) -> list[str | FoundCall]:
    """The same, with neighbouring texts as one."""
    out: list[str | FoundCall] = []
    for part in parts:
        last = out[-1] if out else None
        if isinstance(part, str) and isinstance(last, str):
            out[-1] = last + part
        else:
            out.append(part)
    return out


def _possible_opener(text: str, *, fresh: bool, line_start: bool) -> int:
    """How many characters at the end of `text` may be the beginning of an opener."""
    if fresh and "functools[".startswith(text.strip(_BLANKS)):
        return len(text)
    line = text.rfind("\n") + 1
    if (line or line_start) and re.fullmatch(r"`{1,3}\w*[ \t]*\r?", text[line:]):
        return len(text) - line
    for size in range(min(len(text), 16), 0, -1):
        if any(opener.startswith(text[-size:]) for opener in _PLAIN_OPENERS):
            return size
    return 0


def _attempt(text: str, names: frozenset[str], *, final: bool) -> tuple[list[FoundCall], int] | None:
    """Read the calls at the beginning of `text`: the calls and where they end, or None while more text is needed."""
    opener = _OPENER.match(text)
    if opener is None:
        return _bare(text, names, final=final)
    start = opener.end()
    if opener[0] == "<function=":
        return _named_tag(text, start, names, final=final)
    if opener[0] == "[TOOL_CALLS]":
        return _bare(text, names, final=final, start=start)
    closing = "```" if opener[0].startswith("`") else f"</{opener[0][1:]}"
    return _enclosed(text, start, closing, names, final=final)


def _bare(text: str, names: frozenset[str], *, final: bool, start: int = 0) -> tuple[list[FoundCall], int] | None:
    start = text.startswith("functools", start) * len("functools") + start
    start = _GAP.match(text, start).end()  # type: ignore[union-attr] # it always matches
    end = _value_end(text, start)
    if end is None:
        _check_head(text[start:], names, final=final)
        return None
    return _calls(text[start:end], names, strict=True), end


def _named_tag(text: str, start: int, names: frozenset[str], *, final: bool) -> tuple[list[FoundCall], int] | None:
    """`<function=NAME>{…}</function>`."""
    name, bracket, _ = text[start:].partition(">")
    if not bracket:
        if final or not any(one.startswith(name) for one in names):
            raise _NotACall
        return None
    if name not in names:
        raise _NotACall
    begin = start + len(name) + 1
    end = _value_end(text, begin + len(text[begin:]) - len(text[begin:].lstrip()))
    if end is None:
        if final:
            raise _NotACall
        return None
    arguments = _object(text[begin:end])
    closing = re.compile(r"\s*</function>").match(text, end)
    if closing is None and not final and "</function>".startswith(text[end:].strip()):
        return None
    return [FoundCall(name, arguments)], closing.end() if closing else end


def _enclosed(
    text: str, start: int, closing: str, names: frozenset[str], *, final: bool
) -> tuple[list[FoundCall], int] | None:
    """One or more values up to `closing`; a missing closing mark at the end of the answer is forgiven."""
    calls: list[FoundCall] = []
    while True:
        start = _GAP.match(text, start).end()  # type: ignore[union-attr] # it always matches
        if calls and (end := _closed_at(text, start, closing, final=final)) is not None:
            return calls, end
        if not final and any(one.startswith(text[start:]) for one in (closing, *_PLAIN_OPENERS)):
            return None
        inner = _OPENER.match(text, start)
        if inner and calls == [] and not inner[0].startswith("`"):
            # A tag inside a fence or inside another tag: the inner one is the call.
            return _wrapped(text, start, closing, names, final=final)
        end = _value_end(text, start)
        if end is None:
            _check_head(text[start:], names, final=final)
            return None
        calls += _calls(text[start:end], names, strict=closing == "```")
        start = end


def _closed_at(text: str, start: int, closing: str, *, final: bool) -> int | None:
    """Where a form ends whose closing mark may stand at `start`."""
    if text.startswith(closing, start):
        return start + len(closing)
    return start if final and start == len(text) else None


def _wrapped(
    text: str, start: int, closing: str, names: frozenset[str], *, final: bool
) -> tuple[list[FoundCall], int] | None:
    found = _attempt(text[start:], names, final=final)
    if found is None:
        return None
    calls, length = found
    start += length
    end = re.compile(rf"\s*{re.escape(closing)}").match(text, start)
    if end is None and not final and closing.startswith(text[start:].strip()):
        return None
    return calls, end.end() if end else start


def _value_end(text: str, start: int) -> int | None:
    """Where the bracketed value that begins at `start` ends; None when it is not complete.

    Raises `_NotACall` when no bracketed value begins there.
    """
    head = re.compile(r"[A-Za-z_][\w.:-]*(?=\()|").match(text, start)
    place = head.end() if head else start
    if text[place : place + 1] not in tuple("{[("):
        if place == start and re.compile(r"[A-Za-z_][\w.:-]*\Z|\Z").match(text, start):
            return None
        raise _NotACall
    depth = 0
    for token in _TOKEN.finditer(text, place):
        if token[0] in tuple("[({"):
            depth += 1
        elif token[0] in tuple("])}"):
            depth -= 1
            if depth == 0:
                return token.end()
        elif token[0] in tuple("\"'"):
            return None
    return None


def _check_head(text: str, names: frozenset[str], *, final: bool) -> None:
    """Raise `_NotACall` as soon as an incomplete value can no longer be a call, so that plain JSON is not kept back."""
    if final:
        raise _NotACall
    inner = text.lstrip("[ \t\r\n")
    if not inner:
        return
    if inner[0] != "{":
        word = re.match(r"[\w.:-]*", inner)
        name = word[0] if word else ""
        if "[TOOL_CALLS]".startswith(text) or _names_one(name, names - {_INVENTED}, whole=len(name) < len(inner)):
            return
        raise _NotACall
    key = re.match(r"\{\s*(?:([\"'])(\w*)(?:(\1)(?:\s*:\s*(?:([\"'])([\w.:-]*)(\4)?)?)?)?)?", inner)
    if key is None:
        raise _NotACall
    _check_first_key(inner, key, names)


def _check_first_key(inner: str, key: re.Match[str], names: frozenset[str]) -> None:
    quote, word, word_done, value_quote, value, value_done = key.groups()
    if quote is None:
        if inner[1:].strip():
            raise _NotACall
        return
    if not _is_one_of(_FIRST_KEYS, word, whole=bool(word_done)) or (not word_done and key.end() < len(inner)):
        raise _NotACall
    if value_quote and word in _NAME_KEYS:
        if not _names_one(value, names, whole=value_done is not None):
            raise _NotACall
        if value_done and not _names_one(value, names - {_INVENTED}, whole=True):
            _check_second_key(inner, key.end())


def _check_second_key(inner: str, start: int) -> None:
    """Of a function that is made up, only what can be nothing else is a call."""
    second = re.compile(r"\s*,\s*[\"'](\w*)").match(inner, start)
    if second and not _is_one_of(_ARGUMENT_KEYS, second[1], whole=second.end() < len(inner)):
        raise _NotACall


def _is_one_of(words: tuple[str, ...], word: str, *, whole: bool) -> bool:
    """Whether `word`, or what it may still become, is among `words`."""
    return word in words if whole else any(one.startswith(word) for one in words)


def _names_one(name: str, names: frozenset[str], *, whole: bool) -> bool:
    """Whether `name`, or what it may still become, is a function on offer; some models put `functions.` before it."""
    if _INVENTED in names:
        return bool(_IDENTIFIER.fullmatch(name)) or not (name or whole)
    if whole:
        return name.removeprefix("functions.") in names
    return any(one.startswith(name) or f"functions.{one}".startswith(name) for one in names)


def _calls(text: str, names: frozenset[str], *, strict: bool) -> list[FoundCall]:
    """The calls in one complete value; raises `_NotACall` unless everything in it is one.

    `strict`: a JSON object without arguments is no call, since it may be data that happens to have a name.
    """
    # The same judge as for the beginning of a value, so that it makes no difference how much of it came at once.
    _check_head(text, names, final=False)
    if re.match(r"\[?\s*[A-Za-z_]", text) and not re.match(r"\[\s*(?:true|false|null)\b", text):
        return _python_calls(text, names)
    value = _loaded(text)
    calls = [_call(one, names, strict=strict) for one in _flat(value)]
    if not calls:
        raise _NotACall
    return calls


def _loaded(text: str) -> Any:
    try:
        return decode(text)
    except DecodeError:
        pass
    try:
        # Raw line breaks inside strings are the most frequent fault of small models' JSON.
        return json.loads(text, strict=False)
    except ValueError:
        pass
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        raise _NotACall from None


def _flat(value: Any) -> Iterator[Any]:
    if isinstance(value, list | tuple):
        for one in value:
            yield from _flat(one)
        return
    if isinstance(value, dict):
        for wrapper in _WRAPPERS:
            if isinstance(value.get(wrapper), list | dict):
                yield from _flat(value[wrapper])
                return
    yield value


def _call(value: Any, names: frozenset[str], *, strict: bool) -> FoundCall:
    if isinstance(value, dict) and isinstance(value.get("function"), dict):
        value = value["function"]
    if not isinstance(value, dict):
        raise _NotACall
    name = next((value[key] for key in _NAME_KEYS if isinstance(value.get(key), str)), "").removeprefix("functions.")
    key = next((key for key in _ARGUMENT_KEYS if key in value), None)
    if key is None and (strict or name not in names):
        raise _NotACall
    if name not in names and not (_INVENTED in names and len(value) == 2 and _IDENTIFIER.fullmatch(name)):
        raise _NotACall
    return FoundCall(name, _object(value.get(key)))


def _object(value: Any) -> str:
    """The JSON text of the object that `value` is, or is the text of; `_NotACall` for anything else."""
    if isinstance(value, str):
        value = _loaded(value.strip() or "{}")
    if value is None:
        return "{}"
    if not isinstance(value, dict):
        raise _NotACall
    return _written(value)


def _written(arguments: dict[Any, Any]) -> str:
    try:
        return encode(arguments).decode()
    except (TypeError, ValueError, OverflowError):
        raise _NotACall from None


def _python_calls(text: str, names: frozenset[str]) -> list[FoundCall]:
    """`[f(a=1), g()]` or `f(a=1)`: keyword arguments with literal values only."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise _NotACall from None
    calls = []
    for node in tree.elts if isinstance(tree, ast.List) else [tree]:
        if not isinstance(node, ast.Call) or node.args or any(word.arg is None for word in node.keywords):
            raise _NotACall
        name = ast.unparse(node.func).removeprefix("functions.")
        if name not in names:
            raise _NotACall
        try:
            arguments = {word.arg: ast.literal_eval(word.value) for word in node.keywords}
        except (ValueError, SyntaxError):
            raise _NotACall from None
        calls.append(FoundCall(name, _written(arguments)))
    return calls
