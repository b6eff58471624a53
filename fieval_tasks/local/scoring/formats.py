"""Exact checks on a text's format, and comparisons of structured texts."""

from __future__ import annotations

import ast
import json
import re
from html.parser import HTMLParser
from typing import Any, Final
from urllib.parse import urlsplit
from xml.parsers import expat

from fieval_tasks.local.scoring.readings import text
from fieval_tasks.local.verdicts import Inputs, Params, Unscorable, Verdict, passed

LONGEST_SOURCE: Final = 2**20
"""Characters of Python, whose tree takes up to 800 times as many bytes."""
_NO_MEMORY: Final = 1
"""Expat's XML_ERROR_NO_MEMORY."""

_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST: Final = re.compile(rf"(?:{_LABEL}\.)*{_LABEL}\.?")
_EMAIL: Final = re.compile(
    rf"[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{{|}}~-]+)*@(?:{_LABEL}\.)+[A-Za-z]{{2,63}}"
)
_VOID: Final = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr")
)
_HOSTED: Final = frozenset({"http", "https", "ftp", "ftps", "ws", "wss"})
_BARE: Final = frozenset({"mailto", "tel", "file", "urn", "data"})


def is_json(inputs: Inputs, params: Params) -> Verdict:
    try:
        json.loads(text(inputs, "text"))
    except ValueError as error:
        return passed(False, f"Text is not valid JSON: {error}")
    except RecursionError:
        return passed(False, "Text is not valid JSON: nested too deeply")
    return passed(True, "Text is valid JSON")


def is_email(inputs: Inputs, params: Params) -> Verdict:
    address = text(inputs, "text").strip()
    valid = len(address) <= 254 and _EMAIL.fullmatch(address) is not None
    return passed(valid, f"Text is {'' if valid else 'not '}an email address")


def is_url(inputs: Inputs, params: Params) -> Verdict:
    valid = _is_url(text(inputs, "text").strip())
    return passed(valid, f"Text is {'' if valid else 'not '}a URL")


def is_html(inputs: Inputs, params: Params) -> Verdict:
    reader = _Tags()
    reader.feed(text(inputs, "text"))
    reader.close()
    if not reader.seen:
        return passed(False, "Text has no HTML tags")
    if reader.stray or reader.open:
        return passed(False, f"Tags without their partner: {', '.join(reader.stray + reader.open)}")
    return passed(True, "Text is well-formed HTML")


def is_xml(inputs: Inputs, params: Params) -> Verdict:
    """Well-formed, and without a document type: entities are never expanded."""
    parser = expat.ParserCreate()
    parser.StartDoctypeDeclHandler = _refuse_doctype
    try:
        parser.Parse(text(inputs, "text").strip().encode(), True)
    except (expat.ExpatError, _HasDoctype) as error:
        if getattr(error, "code", None) == _NO_MEMORY:
            raise MemoryError from None
        return passed(False, f"Text is not valid XML: {error}")
    return passed(True, "Text is valid XML")


def syntax_validation(inputs: Inputs, params: Params) -> Verdict:
    language = str(params.get("language") or "python").lower()
    if language == "json":
        return is_json(inputs, params)
    if language != "python":
        raise Unscorable(f"the local evaluator checks the syntax of python and json, not of {language}")
    source = text(inputs, "text")
    if len(source) > LONGEST_SOURCE:  # beyond it a MemoryError below might mean what it says
        raise Unscorable(f"{len(source):,} characters are too many to read as Python: {LONGEST_SOURCE:,} at most")
    try:
        ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return passed(False, f"Text is not valid Python: {error}")
    return passed(True, "Text is valid Python")


def json_diff(inputs: Inputs, params: Params) -> Verdict:
    """Score: the share of leaves, over both documents, that agree."""
    try:
        equal, total = _compare(json.loads(text(inputs, "output")), json.loads(text(inputs, "expected")))
    except ValueError as error:
        return Verdict(0.0, f"JSON parse error: {error}")
    except RecursionError:
        raise Unscorable("the JSON is nested too deeply to compare") from None
    return Verdict(equal / total, f"JSON diff: {equal} of {total} values match")


def json_scheme_validation(inputs: Inputs, params: Params) -> Verdict:
    """The actual JSON has every key of the expected one, with values of the same kind."""
    try:
        fault = _mismatch(json.loads(text(inputs, "actual_json")), json.loads(text(inputs, "expected_json")), "$")
    except ValueError as error:
        return passed(False, f"JSON parse error: {error}")
    except RecursionError:
        raise Unscorable("the JSON is nested too deeply to compare") from None
    return passed(fault is None, fault or "Every expected key is there")


class _HasDoctype(Exception):
    pass


def _refuse_doctype(*declared: object) -> None:
    raise _HasDoctype("document type declarations are not accepted")


class _Tags(HTMLParser):
    """The tags that are open, and the closing ones that closed nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = False
        self.open: list[str] = []
        self.stray: list[str] = []

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen = True
        if tag not in _VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()
        elif tag not in _VOID:
            self.stray.append(f"/{tag}")


def _is_url(url: str) -> bool:
    if re.search(r"\s", url):
        return False
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        return False
    if parts.scheme in _BARE:
        return bool(parts.path)
    if parts.scheme not in _HOSTED or not host or port == 0:
        return False
    return ":" in host or _HOST.fullmatch(host) is not None


def _compare(one: Any, other: Any) -> tuple[int, int]:
    """How many leaves agree, out of how many."""
    if isinstance(one, dict) and isinstance(other, dict):
        found = [_compare(one[key], other[key]) if key in one and key in other else (0, 1) for key in {*one, *other}]
    elif isinstance(one, list) and isinstance(other, list):
        found = [_compare(*both) for both in zip(one, other, strict=False)]
        found += [(0, 1)] * abs(len(one) - len(other))
    else:
        return int(type(one) is type(other) and one == other), 1
    # Two empty containers are one value that agrees.
    return (sum(equal for equal, _ in found), sum(total for _, total in found)) if found else (1, 1)


def _mismatch(actual: Any, expected: Any, path: str) -> str | None:
    if isinstance(expected, dict):
        if not isinstance(actual, dict):
            return f"{path} should be an object"
        missing = [key for key in expected if key not in actual]
        if missing:
            return f"Missing key: {path}.{missing[0]}"
        faults = (_mismatch(actual[key], expected[key], f"{path}.{key}") for key in expected)
        return next((fault for fault in faults if fault), None)
    if isinstance(expected, list):
        if not isinstance(actual, list):
            return f"{path} should be an array"
        return _mismatch(actual[0], expected[0], f"{path}[0]") if actual and expected else None
    return None if _kind(actual) == _kind(expected) else f"{path} should be {_kind(expected)}"


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a string"
    return "an array" if isinstance(value, list) else "an object"
