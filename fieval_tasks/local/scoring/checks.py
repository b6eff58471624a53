"""Exact checks on a text: what it contains, how it begins and ends, how long it is."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from fieval_tasks.local.scoring.readings import flag, sentences, text, whole
from fieval_tasks.local.scoring.shapes import Scorer
from fieval_tasks.local.verdicts import Inputs, Params, Verdict, passed


def _parts(
    param: str, is_there: Callable[[str, str], bool], rule: Callable[[list[bool]], bool], yes: str, no: str
) -> Scorer:
    """Passes where `rule` holds over which of the given parts are there; sentences may name {found} and {missing}."""

    def check(inputs: Inputs, params: Params) -> Verdict:
        given = params.get(param) or []
        several = given.split(",") if param == "keywords" and isinstance(given, str) else given
        listed = [str(part).strip() if param == "keywords" else str(part) for part in _as_list(several)]
        # "" is part of every text: a trailing comma must not decide the verdict.
        parts = [part for part in listed if part]
        if not parts:
            return passed(False, f"No {param} provided")
        value = _folded(text(inputs, "text"), params)
        there = {part: is_there(value, _folded(part, params)) for part in parts}
        found, missing = (", ".join(part for part in parts if there[part] is wanted) for wanted in (True, False))
        verdict = rule([*there.values()])
        return passed(verdict, (yes if verdict else no).format(found=found, missing=missing))

    return check


def _count(
    what: str, count: Callable[[str], int], words: str, bounds: Mapping[str, Callable[[int, int], bool]]
) -> Scorer:
    """Passes where the count holds against each parameter that is a bound."""

    def check(inputs: Inputs, params: Params) -> Verdict:
        limits = {name: whole(params, name) for name in bounds}
        if None in limits.values():
            return passed(False, f"No {' and '.join(limits)} provided")
        found = count(text(inputs, "text"))
        holds = all(bounds[name](found, limit or 0) for name, limit in limits.items())
        shown = " and ".join(str(limit) for limit in limits.values())
        return passed(holds, f"{what} ({found}) is {'' if holds else 'not '}{words} {shown}")

    return check


def _between(what: str, count: Callable[[str], int], unit: str) -> Scorer:
    return _count(what, count, "between", {f"min_{unit}": operator.ge, f"max_{unit}": operator.le})


def _equals(inputs: Inputs, params: Params) -> Verdict:
    same = _folded(text(inputs, "text"), params) == _folded(text(inputs, "expected_text"), params)
    return passed(same, f"Text {'equals' if same else 'does not equal'} the expected text")


def _regex(inputs: Inputs, params: Params) -> Verdict:
    """A pattern may need time exponential in the text: what ends it is the limit of the process."""
    pattern = str(params.get("pattern") or "")
    if not pattern:
        return passed(False, "No pattern provided")
    try:
        found = re.search(pattern, text(inputs, "text"))
    except (re.error, OverflowError, RecursionError) as error:
        return passed(False, f"Invalid pattern: {error}")
    return passed(found is not None, f"Pattern {'found' if found else 'not found'} in output")


def _one_line(inputs: Inputs, params: Params) -> Verdict:
    lines = len(text(inputs, "text").strip().splitlines())
    return passed(lines == 1, f"Text has {lines} line{'' if lines == 1 else 's'}")


def _folded(value: str, params: Params) -> str:
    return value if flag(params, "case_sensitive", default=True) else value.casefold()


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _none(found: list[bool]) -> bool:
    return not any(found)


_NO_KEYWORD: Final = "No keywords found in output"
_KEYWORDS: Final = "Keywords found: {found}"
SCORERS: Final[Mapping[str, Scorer]] = {
    "contains": _parts(
        "keyword",
        operator.contains,
        all,
        "Keyword '{found}' found in output",
        "Keyword '{missing}' not found in output",
    ),
    "contains_all": _parts(
        "keywords", operator.contains, all, "All keywords found in output", "Keywords not found in output: {missing}"
    ),
    "contains_any": _parts("keywords", operator.contains, any, _KEYWORDS, _NO_KEYWORD),
    "contains_none": _parts("keywords", operator.contains, _none, _NO_KEYWORD, _KEYWORDS),
    "starts_with": _parts(
        "substring", str.startswith, all, "Text starts with '{found}'", "Text does not start with '{missing}'"
    ),
    "ends_with": _parts(
        "substring", str.endswith, all, "Text ends with '{found}'", "Text does not end with '{missing}'"
    ),
    "equals": _equals,
    "regex": _regex,
    "one_line": _one_line,
    "length_less_than": _count("Text length", len, "less than", {"max_length": operator.lt}),
    "length_greater_than": _count("Text length", len, "greater than", {"min_length": operator.gt}),
    "length_between": _between("Text length", len, "length"),
    "word_count_in_range": _between("Word count", lambda value: len(value.split()), "words"),
    "sentence_count": _between("Sentence count", lambda value: len(sentences(value)), "sentences"),
}
