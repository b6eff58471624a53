"""Results as rows of plain cells: what results.csv and results.parquet hold."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from fieval_tasks.core.items import Result
from fieval_tasks.report.record import FIELDS, FURTHER, record, value_text
from fieval_tasks.report.summary import RunFacts
from fieval_tasks.report.text import clean, clip

_KINDS = {
    "row": "int64",
    "score": "double",
    "passed": "bool",
    "runtime_ms": "double",
    "attempts": "int64",
    "repeat": "int64",
}
_TIMES = ("submitted_at", "finished_at")
TIME = "time"
KINDS = {name: TIME if name in _TIMES else _KINDS.get(name, "string") for name in (*FIELDS, *FURTHER)}
"""Field of a result -> what its values are in a table."""
TABLE = {"run_id": "string", **KINDS, "columns": "string"}
"""Column of verdicts of several runs in one table -> what its values are: int64, double, bool, string or time."""
# Characters of a CSV cell. Excel takes 32,767, and what is beyond them goes on in a cell of its own.
CELL_LIMIT = 32_000


@dataclass(frozen=True)
class Columns:
    """The columns of a run: the same for every run, one for each key of its templates, and those that are kept."""

    kinds: Mapping[str, str]
    """Column -> what its values are: int64, double, bool, string or time."""
    keys: Mapping[str, str]
    """Column -> key of the inputs."""
    kept: Mapping[str, str]
    """Column -> column of the dataset: under another name only where its own is taken."""

    @classmethod
    def from_facts(cls, facts: RunFacts) -> Columns:
        kinds = {name: KINDS[name] for name in (*FIELDS, *facts.further) if name != "inputs"}
        keys = {sound(f"inputs.{key}"): key for sources in facts.mapping.values() for key in sources}
        kinds |= dict.fromkeys(keys, "string")
        kept: dict[str, str] = {}
        for name, kind in facts.kept.items():
            column = sound(name)
            while column in (*kinds, "columns", "inputs"):
                column = f"columns.{column}"
            kinds[column], kept[column] = kind, name
        return cls(kinds, keys, kept)

    def row(self, line: Mapping[str, Any]) -> list[Any]:
        """A line of results.jsonl, its values and errors, lists and objects as JSON text."""
        inputs, columns = line["inputs"] or {}, line.get("columns") or {}
        flat = {
            **line,
            **{column: inputs.get(key) for column, key in self.keys.items()},
            **{column: columns.get(name) for column, name in self.kept.items()},
        }
        return [value_text(flat[column]) if kind == "string" else flat[column] for column, kind in self.kinds.items()]


def table_row(run_id: str, result: Result) -> dict[str, Any]:
    """A result as a row of TABLE: what is no plain value is JSON text, and times are as the ledger has them."""
    line = {
        "run_id": run_id,
        "columns": None,
        **record(result, FURTHER),
        **{time: getattr(result, time) for time in _TIMES},
    }
    return {name: value_text(line[name]) if kind == "string" else line[name] for name, kind in TABLE.items()}


def kinds(rows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Of each column that is kept, what all its values are: int64, double, bool, or else string."""
    seen: dict[str, set[type]] = {}
    for row in rows:
        for name, value in row.items():
            seen.setdefault(name, set()).update([type(value)] if value is not None else [])
            if type(value) is int and not -(2**63) <= value < 2**63:
                seen[name].add(str)
    return {name: _kind(types) for name, types in seen.items()}


def _kind(types: set[type]) -> str:
    if types in ({int}, {bool}):
        return "int64" if types == {int} else "bool"
    return "double" if types and types <= {int, float} else "string"


def sound(value: Any) -> Any:
    """Text that can be UTF-8: a lone surrogate becomes a question mark."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) and not value.isascii() else value


_PLAIN_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_BLANKS, _SIGN = r"[^\S\t\n]*", r"[=+\-@\uff1d\uff0b\uff0d\uff20]"  # the last four are their full-width forms
_STARTS_FORMULA = re.compile(rf"'*{_BLANKS}(?:[\t\n]|{_SIGN})")
_CELL_BORDER = re.compile(r"[;\t\n]")


def _formula_after(border: str, within: str) -> str:
    """A pattern: after such a border, what calls something, or ends as `=1&` does, so that the next column could go on."""
    calls = rf"""(?:{within}*[(|!]|(?:{within}*[-+*/^&=<>,{{\[:@"'\s])?\Z)"""
    return rf"""(?<=[{border}])(?='*(?:"|[^\S\t\n])*{_SIGN}{calls})"""


# Where a tab or a new line begins a cell, a semicolon may be part of it: `='a;b'!A1&HYPERLINK(...)`.
_GOES_ON_AS_FORMULA = re.compile("|".join((_formula_after(";", r"[^;\t\n]"), _formula_after(r"\t\n", r"[^\t\n]"))))


def inert_cell(text: str) -> str:
    """The text as a CSV cell that no spreadsheet runs and no terminal obeys; a plain number stays one.

    An apostrophe goes before what would start a formula: at the start, and after a semicolon, tab or new line, where a
    spreadsheet that splits lines there begins a cell. (There only before what can call something: a list's dashes stay.)
    Texts with such an apostrophe of their own get one more, so that taking one away gives the text back. Control
    characters become U+FFFD, and a text is cut to CELL_LIMIT.
    """
    shown = clip(clean(text[: CELL_LIMIT + 1], apart=True), CELL_LIMIT)
    if _STARTS_FORMULA.match(shown) and not _PLAIN_NUMBER.fullmatch(shown):
        shown = "'" + shown
    return _GOES_ON_AS_FORMULA.sub("'", shown) if _CELL_BORDER.search(shown) else shown
