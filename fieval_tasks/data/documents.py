"""The rows of JSONL, JSON and YAML: an object a line, or a list of objects in a document."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal, InvalidOperation

from fieval_tasks.core.errors import PlanError
from fieval_tasks.data.files import File, Row
from fieval_tasks.data.places import MISSING, kind_of, place_of

# Depth to which objects are searched for the rows: results.data.examples is as deep as exports go.
_LOOKED_INTO = 3
# Names under which a document's rows are taken, whatever other lists it has.
_USUAL = ("data", "rows")
_SPACE = re.compile(r"[ \t\r\n]*")


def json_lines(file: File) -> Iterator[Row]:
    """A row a line. Raises PlanError where a document spans several lines: `--format json` reads it."""
    number = 0
    with file.text() as lines:
        for place, line in enumerate(lines, 1):
            if not line.isspace():
                if not number and line.strip() in ("[", "{"):
                    raise PlanError(
                        f"{file.name} is no JSONL: line {place} begins JSON of several lines, which --format json reads"
                    )
                number += 1
                yield _json_line(number, place, line)


def _json_line(number: int, place: int, line: str) -> Row:
    try:
        value = _DECODER.decode(line)
    except (ValueError, RecursionError) as error:
        may_be_cut = isinstance(error, json.JSONDecodeError) and not line.endswith(("\n", "\r"))
        cut = "; the file ends here: was it cut short?" if may_be_cut else ""
        return Row(number, problem=f"line {place} is not JSON ({_complaint(error)}){cut}", line=place)
    return replace(_row(number, f"line {place}", value), line=place)


def json_rows(file: File) -> Iterator[Row]:
    """The rows of a JSON document, or of JSONL in a file called .json."""
    text = _whole(file)
    documents: list[object] = []
    try:
        documents += () if text is None else _documents(text)
    except (ValueError, RecursionError) as error:
        if text is None or not _is_by_lines(text):
            at = f": line {error.lineno}," if isinstance(error, json.JSONDecodeError) else " that can be read:"
            raise PlanError(f"{file.name} is not JSON{at} {_complaint(error)}") from error
        documents, text = [], None
    yield from json_lines(file) if text is None else _elements(file, documents)


def yaml_rows(file: File) -> Iterator[Row]:
    try:
        from fieval_tasks.data.yaml_text import yaml_documents
    except ImportError as error:
        raise PlanError(f"{file.name} is YAML, which needs PyYAML: pip install pyyaml") from error
    text = _whole(file) or ""
    try:
        documents = list(yaml_documents(text, file.longest))
    except ValueError as error:
        raise PlanError(f"{file.name} is not YAML that can be read: {error}") from error
    yield from _elements(file, documents)


def _whole(file: File) -> str | None:
    """The text of the one document in a file; None where it is longer than the bound and is JSONL. Raises PlanError for
    any other text that is too long."""
    with file.text() as stream:
        text = stream.read(file.longest + 1)
    if len(text) <= file.longest:
        return text
    if file.format == "json" and _is_by_lines(text):
        return None
    fault = f"is one {file.format.upper()} document of more than {file.longest:,} characters"
    raise PlanError(f"{file.name} {fault}: write it as JSONL")


def _is_by_lines(text: str) -> bool:
    """Whether the text is JSONL: its first line is an object by itself."""
    try:
        return isinstance(json.loads(text.lstrip().partition("\n")[0]), dict)
    except (ValueError, RecursionError):
        return False


# -- values ------------------------------------------------------------------------------------------------------------


def _documents(text: str) -> Iterator[object]:
    """The JSON values in a text; mostly one, but jq writes several after each other. Raises JSONDecodeError."""
    at = 0
    while at == 0 or at < len(text):
        start = _after_space(text, at)
        value, end = _DECODER.raw_decode(text, start)
        if at and not isinstance(value, dict):  # text after JSON is no other document
            raise json.JSONDecodeError("Extra data", text, start)
        yield value
        at = _after_space(text, end)


def _after_space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """A JSON object. Raises ValueError where a name stands twice, since either value may be meant."""
    found = dict(pairs)
    if len(found) < len(pairs):
        twins = sorted({name for name, count in Counter(name for name, _ in pairs).items() if count > 1})
        raise ValueError(f"an object has {' and '.join(map(repr, twins))} more than once")
    return found


def _exact(text: str) -> float | Decimal:
    """A number as a float, or as a Decimal where a float would change it. Raises ValueError beyond what Decimal holds."""
    number = float(text)
    if repr(number) == text:
        return number
    try:
        exact = Decimal(text)
    except InvalidOperation:
        raise ValueError(f"the number {text[:40]} is beyond all bounds") from None
    return number if Decimal(repr(number)) == exact else exact


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_exact)


def _complaint(error: Exception) -> str:
    return f"column {error.colno}: {error.msg}" if isinstance(error, json.JSONDecodeError) else str(error)


# -- rows --------------------------------------------------------------------------------------------------------------


def _elements(file: File, documents: list[object]) -> Iterator[Row]:
    """The rows of a document; where there are several documents, each is a row."""
    place, rows = ("", documents) if len(documents) != 1 else _list_of_rows(file, documents[0])
    for number, value in enumerate(rows, 1):
        yield replace(_row(number, f"element {number}", value), place=place or None)


def _row(number: int, place: str, value: object) -> Row:
    if isinstance(value, dict):
        return Row(number, value)
    return Row(number, problem=f"{place} is {kind_of(value)}, not an object")


def _list_of_rows(file: File, content: object) -> tuple[str, list[object]]:
    """The path and the list of a document's rows; the path is empty unless the list had to be searched for."""
    if file.rows is not None:
        return "", _named_rows(file.name, content, file.rows)
    if isinstance(content, list):
        return "", content
    lists = dict(_lists(content))
    if isinstance(content, dict) and not lists:  # perhaps empty, or with other values than objects
        lists = {name: content[name] for name in _USUAL if isinstance(content.get(name), list)}
    usual = [name for name in _USUAL if name in lists]
    if len(usual) == 1:
        return "", lists[usual[0]]
    if len(lists) == 1:
        return next(iter(lists.items()))
    if lists:
        raise PlanError(f"{file.name} holds several lists of objects: {_listed(lists)}; say which by --rows PATH")
    raise PlanError(
        f"{file.name} holds {kind_of(content)}, not an array of objects;"
        ' write [{...}, {...}], {"data": [...]} or {"rows": [...]}, or JSONL with one object a line'
    )


def _named_rows(name: str, content: object, path: str) -> list[object]:
    place = place_of(path, content) if isinstance(content, dict) else None
    rows = MISSING if place is None or not isinstance(content, dict) else place.value_in(content)
    if isinstance(rows, list):
        return rows
    there = _listed(dict(_lists(content))) or "none"
    raise PlanError(f"--rows {path}: there is no list in {name} (lists of objects in it: {there})")


def _lists(content: object, path: str = "", depth: int = _LOOKED_INTO) -> Iterator[tuple[str, list[object]]]:
    """(path, list) for each list of objects inside an object."""
    if isinstance(content, list) and content and all(isinstance(value, dict) for value in content):
        yield path, content
    elif isinstance(content, dict) and depth:
        for key, value in content.items():
            yield from _lists(value, f"{path}.{key}" if path else key, depth - 1)


def _listed(lists: dict[str, list[object]]) -> str:
    return ", ".join(f"{place} ({len(rows):,})" for place, rows in lists.items())
