"""Exact checks on a text's format, and comparisons of JSON documents."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import urlsplit
from xml.parsers import expat

from fieval_tasks.local.scoring.readings import text
from fieval_tasks.local.scoring.shapes import Scorer, valid
from fieval_tasks.local.verdicts import Inputs, Params, Unscorable, Verdict, passed

_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST: Final = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}\.?")
_ATOM: Final = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_EMAIL: Final = re.compile(rf"(?=.{{1,254}}$){_ATOM}(?:\.{_ATOM})*@(?:{_LABEL}\.)+[A-Za-z]{{2,63}}")
# HTML's elements without an end tag.
_VOID: Final = re.compile("area|base|br|col|embed|hr|img|input|link|meta|param|source|track|wbr")
_KINDS: Final = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}


def _syntax(inputs: Inputs, params: Params) -> Verdict:
    language = str(params.get("language") or "python").lower()
    if language not in ("python", "json"):
        raise Unscorable(f"the local evaluator checks the syntax of python and json, not of {language}")
    check = valid("JSON", json.loads) if language == "json" else valid("Python", ast.parse)
    return check(inputs, params)


def _read_xml(value: str) -> None:
    """Well-formed, and without a document type: entities are never expanded."""

    def refuse(*declared: object) -> None:
        raise ValueError("document type declarations are not accepted")

    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(value.strip().encode(), True)
    except expat.ExpatError as error:
        raise ValueError(str(error)) from None


class _Tags(HTMLParser):
    """The tags that are open, and the closing ones that closed nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = False
        self.open: list[str] = []
        self.stray: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen = True
        if not _VOID.fullmatch(tag):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        elif not _VOID.fullmatch(tag):
            self.stray.append(f"/{tag}")


def _read_html(value: str) -> None:
    reader = _Tags()
    reader.feed(value)
    reader.close()
    if not reader.seen:
        raise ValueError("it has no tags")
    if reader.stray or reader.open:
        raise ValueError(f"tags without their partner: {', '.join(reader.stray + reader.open)}")


def _read_email(value: str) -> None:
    if not _EMAIL.fullmatch(value.strip()):
        raise ValueError("not one local part, @ and domain")


def _read_url(value: str) -> None:
    url = value.strip()
    parts = urlsplit(url)
    if parts.scheme in {"mailto", "tel", "file", "urn", "data"}:
        is_whole = bool(parts.path)
    else:
        host = parts.hostname or ""
        is_known = parts.scheme in {"http", "https", "ftp", "ftps", "ws", "wss"}
        is_whole = is_known and parts.port != 0 and (":" in host or _HOST.fullmatch(host) is not None)
    if not is_whole or re.search(r"\s", url):
        raise ValueError("no scheme and host that go together")


def _json_diff(inputs: Inputs, params: Params) -> Verdict:
    """Score: the share of leaves, over both documents, that agree."""
    try:
        one, other = (dict(_leaves(json.loads(text(inputs, key)))) for key in ("output", "expected"))
    except ValueError as error:
        return Verdict(0.0, f"JSON parse error: {error}")
    except RecursionError:
        raise Unscorable("the JSON is nested too deeply to compare") from None
    equal, total = len(one.items() & other.items()), len(one.keys() | other.keys())
    return Verdict(equal / total, f"JSON diff: {equal} of {total} values match")


def _json_keys(inputs: Inputs, params: Params) -> Verdict:
    """The actual JSON has every key of the expected one, with values of the same kind."""
    try:
        fault = _mismatch(json.loads(text(inputs, "actual_json")), json.loads(text(inputs, "expected_json")), "$")
    except ValueError as error:
        return passed(False, f"JSON parse error: {error}")
    except RecursionError:
        raise Unscorable("the JSON is nested too deeply to compare") from None
    return passed(fault is None, fault or "Every expected key is there")


def _leaves(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Each value that holds no other, as JSON, by its path. An empty container is one."""
    if value and isinstance(value, (dict, list)):
        for key, child in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _leaves(child, (*path, key))
    else:
        yield path, json.dumps(value)


def _mismatch(actual: Any, expected: Any, path: str) -> str | None:
    kind = _KINDS.get(type(expected), "a number")
    if _KINDS.get(type(actual), "a number") != kind:
        return f"{path} should be {kind}"
    if isinstance(expected, list):  # the first stands for all
        return _mismatch(actual[0], expected[0], f"{path}[0]") if actual and expected else None
    for key, value in expected.items() if isinstance(expected, dict) else ():
        fault = _mismatch(actual[key], value, f"{path}.{key}") if key in actual else f"Missing key: {path}.{key}"
        if fault:
            return fault
    return None


SCORERS: Final[Mapping[str, Scorer]] = {
    "is_json": valid("JSON", json.loads),
    "is_xml": valid("XML", _read_xml),
    "is_html": valid("HTML", _read_html),
    "is_email": valid("email address", _read_email),
    "is_url": valid("URL", _read_url),
    "syntax_validation": _syntax,
    "json_diff": _json_diff,
    "json_scheme_validation": _json_keys,
}
