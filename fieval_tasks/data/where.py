"""`--where`: an expression over a row's columns, such as `lang == 'fr' and score < 0.5`, that chooses rows.

It is parsed by Python's grammar, and only what is named here is evaluated: nothing of it is run as Python.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias
from warnings import catch_warnings, simplefilter

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.spelling import did_you_mean, listed, nearest
from fieval_tasks.data.places import place_of
from fieval_tasks.data.values import is_blank, text_of, typed

Values: TypeAlias = Mapping[str, object]
Condition: TypeAlias = Callable[[Values], bool]

# A condition is typed by a person. Python's parser takes seconds, and much memory, for a megabyte.
LONGEST = 2_000
"""Characters of an expression."""
ALLOWED = (
    "columns, texts in quotes, numbers, ==, !=, <, <=, >, >=, in, not in, is None, and, or, not, len(COLUMN), and "
    "COLUMN.startswith(), .endswith() and .lower()"
)
_TESTS = ("startswith", "endswith")
# Backticks hold a column's name that is no name in Python; texts are matched first, so that they may hold backticks.
_QUOTED = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"|`([^`]+)`")
# Bounded, because Python refuses to convert numbers of thousands of digits.
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,400}\.?[0-9]{0,400}|\.[0-9]{1,400})(?:[eE][+-]?[0-9]{1,3})?")
_WHOLE = re.compile(r"[+-]?[0-9]+")
_ORDERS: dict[type, Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
}  # fmt: skip


class Incomparable(Exception):
    """A row's value that can't be compared as the expression asks; the message is a predicate's end for a sentence."""


@dataclass(frozen=True)
class _Operand:
    """One side of a comparison."""

    of: Callable[[Values], object]
    """A row's value: None where the cell is blank."""
    name: str
    """For messages: the column, or the text of the literal."""
    is_literal: bool = False


def condition(text: str, columns: Sequence[str]) -> Condition:
    """The expression as a function of a row's values. It raises Incomparable for a row that can't be told.

    Raises PlanError for text that is no such expression, with the position, and for columns that are not there.
    """
    return _Reader(text, columns).read()


class _Reader:
    """Turns the tree of an expression into a function, and refuses all that is not allowed."""

    def __init__(self, text: str, columns: Sequence[str]) -> None:
        self._text = text.strip()
        self._columns = columns
        self._spelled: dict[int, str] = {}
        """Offset in bytes -> the column that stands there in backticks."""

    def read(self) -> Condition:
        if len(self._text) > LONGEST:
            raise PlanError(f"--where: {len(self._text):,} characters are too many ({LONGEST:,} at most)")
        plain = _QUOTED.sub(self._unquoted, self._text.replace("\n", " ").replace("\r", " "))
        try:
            with catch_warnings():
                simplefilter("ignore")  # escapes such as '\d' stay what they are
                tree = ast.parse(plain, mode="eval")
            return self._condition(tree.body)
        except SyntaxError as error:
            hint = "; equality is written ==" if re.search(r"(?<![=!<>])=(?!=)", plain) else ""
            raise self._refusal(len(_bytes(plain[: (error.offset or 1) - 1])), f"it can't be read{hint}") from None
        except (RecursionError, MemoryError, ValueError):  # a ValueError: no text, or a number of thousands of digits
            raise PlanError(
                f"--where {self._text[:60]!r}: it can't be read: it is too long, nested too deeply, or no text (half a character)"
            ) from None

    def _unquoted(self, match: re.Match[str]) -> str:
        if match[1] is None:
            return match[0]
        self._spelled[len(_bytes(match.string[: match.start()]))] = match[1]
        return "_" * len(_bytes(match[0]))  # as many bytes as before, in which ast counts positions

    # -- conditions --------------------------------------------------------------------------------------------------

    def _condition(self, node: ast.expr) -> Condition:
        if isinstance(node, ast.BoolOp):
            parts = [self._condition(value) for value in node.values]
            told = all if isinstance(node.op, ast.And) else any
            return lambda values: told(part(values) for part in parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return _not(self._condition(node.operand))
        if isinstance(node, ast.Compare):
            comparisons = list(self._comparisons(node))
            return lambda values: all(one(values) for one in comparisons)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _TESTS:
            side, text, test = self._operand(node.func.value), self._only_text(node), getattr(str, node.func.attr)
            return lambda values: (value := side.of(values)) is not None and test(_text(value), text)
        raise self._refusal(
            node.col_offset, "this is neither true nor false; write a comparison, such as lang == 'fr' or ok == True"
        )

    def _comparisons(self, node: ast.Compare) -> Iterator[Condition]:
        sides = [node.left, *node.comparators]
        for left, sign, right in zip(sides, node.ops, sides[1:], strict=False):
            found = self._comparison(left, sign, right)
            yield _not(found) if isinstance(sign, (ast.NotEq, ast.NotIn, ast.IsNot)) else found

    def _comparison(self, left: ast.expr, sign: ast.cmpop, right: ast.expr) -> Condition:
        if isinstance(sign, (ast.Is, ast.IsNot)):
            if not (isinstance(right, ast.Constant) and right.value is None):
                raise self._refusal(right.col_offset, "only None may follow `is`: a blank cell is None")
            cell = self._operand(left)
            return lambda values: cell.of(values) is None
        for side in (left, right):
            if isinstance(side, ast.Constant) and (side.value is None or side.value == ""):
                raise self._refusal(
                    side.col_offset, "a blank cell is asked for by `is None`, and one that is not by `is not None`"
                )
        if isinstance(sign, (ast.In, ast.NotIn)) and isinstance(right, (ast.Tuple, ast.List, ast.Set)):
            cell = self._operand(left)
            those = [partial(_equals, cell, self._operand(one)) for one in right.elts]
            return lambda values: any(is_that(values) for is_that in those)
        pair = self._operand(left), self._operand(right)
        if pair[0].is_literal and pair[1].is_literal:
            raise self._refusal(left.col_offset, "it compares two values that are no column's")
        if isinstance(sign, (ast.In, ast.NotIn)):
            return partial(_is_within, *pair)
        order = _ORDERS.get(type(sign))
        return partial(_equals, *pair) if order is None else partial(_is_ordered, order, *pair)

    # -- operands ----------------------------------------------------------------------------------------------------

    def _operand(self, node: ast.expr) -> _Operand:
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, int, float)):
            return _Operand(lambda _: node.value, repr(node.value), is_literal=True)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
            number = self._operand(node.operand)
            if number.is_literal and type(value := number.of({})) in (int, float):
                signed = -value if isinstance(node.op, ast.USub) else value  # type: ignore[operator]
                return _Operand(lambda _: signed, repr(signed), is_literal=True)
        if isinstance(node, ast.Call):
            return self._called(node)
        if isinstance(node, (ast.Name, ast.Attribute, ast.Subscript)):
            return self._column(node)
        raise self._refusal(node.col_offset, f"this is not allowed here; there are {ALLOWED}")

    def _called(self, node: ast.Call) -> _Operand:
        if isinstance(node.func, ast.Name) and node.func.id == "len" and len(node.args) == 1 and not node.keywords:
            inner = self._operand(node.args[0])
            return _Operand(partial(_length, inner), f"len({inner.name})")
        if isinstance(node.func, ast.Attribute) and node.func.attr == "lower" and not (node.args or node.keywords):
            inner = self._operand(node.func.value)
            return _Operand(partial(_lower, inner), f"{inner.name}.lower()")
        raise self._refusal(node.col_offset, f"there is no such function; there are {ALLOWED}")

    def _only_text(self, node: ast.Call) -> str:
        [given] = node.args if len(node.args) == 1 and not node.keywords else [None]
        if isinstance(given, ast.Constant) and isinstance(given.value, str) and given.value:
            return given.value
        raise self._refusal(node.col_offset, "write one text in the parentheses, such as question.startswith('How')")

    def _column(self, node: ast.Name | ast.Attribute | ast.Subscript) -> _Operand:
        name = self._name(node)
        place = place_of(name, self._columns)
        if place is None:
            near = nearest(name, self._columns)
            is_word = isinstance(node, ast.Name) and node.col_offset not in self._spelled
            quoted = f"; a text is written in quotes: {name!r}" if is_word and not near else ""
            has = "" if near or quoted else f" (there are {listed(self._columns)})"
            raise self._refusal(node.col_offset, f"there is no column {name!r}{has}{did_you_mean(near)}{quoted}")
        return _Operand(lambda values: _cell(place.value_in(values)), str(place))

    def _name(self, node: ast.expr) -> str:
        """The text of a column's name, or of a place inside of a column."""
        if isinstance(node, ast.Name):
            return self._spelled.get(node.col_offset, node.id)
        if isinstance(node, ast.Attribute):
            return f"{self._name(node.value)}.{node.attr}"
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            step = node.slice.value
            if type(step) is int or isinstance(step, str):
                return self._name(node.value) + (f".{step}" if isinstance(step, str) else f"[{step}]")
        raise self._refusal(node.col_offset, "this is no place in a row; write COLUMN, COLUMN.name or COLUMN[0]")

    def _refusal(self, offset: int, why: str) -> PlanError:
        """The error for what stands at this offset, which is in bytes of UTF-8."""
        rest = _bytes(self._text)[offset:].decode("utf-8", "replace")
        return PlanError(
            f"--where {self._text!r}, at position {len(self._text) - len(rest) + 1} ({rest[:20]!r}): {why}"
        )


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


# -- what a row says -------------------------------------------------------------------------------------------------


def _not(part: Condition) -> Condition:
    return lambda values: not part(values)


def _equals(left: _Operand, right: _Operand, values: Values) -> bool:
    a, b = left.of(values), right.of(values)
    return a is not None and b is not None and _alike(a, b, left, right)


def _is_within(left: _Operand, right: _Operand, values: Values) -> bool:
    """A text within a text; or a value in a cell that is a list."""
    a, b = left.of(values), right.of(values)
    if a is None or b is None:
        return False
    if isinstance(b, list):
        return any(_alike(a, one, left, right) for one in map(_cell, b) if one is not None)
    return _text(a) in _text(b)


def _is_ordered(order: Callable[[Any, Any], bool], left: _Operand, right: _Operand, values: Values) -> bool:
    a, b = left.of(values), right.of(values)
    if a is None or b is None:
        return False
    pair = _of_one_kind(a, b, left, right)
    if pair is None:
        cells = [f"{side.name} is {_shown(one)}" for side, one in ((left, a), (right, b)) if not side.is_literal]
        other = "".join(f" with {side.name}" for side in (left, right) if side.is_literal)
        raise Incomparable(f"{' and '.join(cells)}, which can't be put in order{other}")
    return order(*pair)


def _alike(a: object, b: object, left: _Operand, right: _Operand) -> bool:
    for one, other in ((a, b), (b, a)):
        if isinstance(one, bool):  # a cell of CSV says true by a text
            return one is (
                other if isinstance(other, bool) else {"true": True, "false": False}.get(_text(other).lower())
            )
    pair = _of_one_kind(a, b, left, right)
    return pair[0] == pair[1] if pair is not None else _text(a) == _text(b)


def _of_one_kind(a: object, b: object, left: _Operand, right: _Operand) -> tuple[Any, Any] | None:
    """Both as numbers, where a number may be meant; else both as texts. None where they are of two kinds."""
    is_text = any(side.is_literal and isinstance(one, str) for side, one in ((left, a), (right, b)))
    numbers = (None, None) if is_text else (_number(a), _number(b))
    if None not in numbers:
        return numbers
    return (a, b) if isinstance(a, str) and isinstance(b, str) else None


def _length(side: _Operand, values: Values) -> int:
    """Characters of a text, or entries of a list; 0 of a blank cell."""
    value = side.of(values)
    return 0 if value is None else len(value) if isinstance(value, list) else len(_text(value))


def _lower(side: _Operand, values: Values) -> str | None:
    value = side.of(values)
    return None if value is None else _text(value).lower()


def _cell(value: object) -> object:
    """A cell in JSON's types; None where it is blank."""
    plain = typed(value)
    return None if is_blank(plain) else plain


def _text(value: object) -> str:
    return value if isinstance(value, str) else str(text_of(value))


def _number(value: object) -> int | float | None:
    """The number that a value is, or that its text spells."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    if not isinstance(value, str) or not _NUMBER.fullmatch(text := value.strip()):
        return None
    return int(text) if _WHOLE.fullmatch(text) else float(text)


def _shown(value: object) -> str:
    text = _text(value)
    return repr(text if len(text) <= 40 else f"{text[:39]}…")
