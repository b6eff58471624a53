"""Exact checks on a text: what it contains, how it begins and ends, how long it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final

from fieval_tasks.local.scoring.readings import flag, sentences, text, whole
from fieval_tasks.local.verdicts import Inputs, Params, Verdict, passed

Scorer = Callable[[Inputs, Params], Verdict]


def _contains(inputs: Inputs, params: Params) -> Verdict:
    keyword = str(params.get("keyword") or "")
    if not keyword:
        return passed(False, "No keyword provided")
    found = _folded(keyword, params) in _folded(text(inputs, "text"), params)
    return passed(found, f"Keyword '{keyword}' {'found' if found else 'not found'} in output")


def _keywords(rule: str) -> Scorer:
    """`all` must be there, `any` of them, or `none`."""

    def check(inputs: Inputs, params: Params) -> Verdict:
        given = params.get("keywords") or []
        listed = given.split(",") if isinstance(given, str) else given if isinstance(given, list) else [given]
        # "" is part of every text: a trailing comma must not decide the verdict.
        keywords = [word for word in (str(item).strip() for item in listed) if word]
        if not keywords:
            return passed(False, "No keywords provided")
        whole_text = _folded(text(inputs, "text"), params)
        found = [word for word in keywords if _folded(word, params) in whole_text]
        if rule == "all":
            missing = ", ".join(word for word in keywords if word not in found)
            return passed(
                not missing, f"Keywords not found in output: {missing}" if missing else "All keywords found in output"
            )
        reason = f"Keywords found: {', '.join(found)}" if found else "No keywords found in output"
        return passed(bool(found) is (rule == "any"), reason)

    return check


def _at_end(check: Callable[[str, str], bool], verb: str) -> Scorer:
    def scored(inputs: Inputs, params: Params) -> Verdict:
        part = str(params.get("substring") or "")
        if not part:
            return passed(False, "No substring provided")
        found = check(_folded(text(inputs, "text"), params), _folded(part, params))
        return passed(found, f"Text {verb}s with '{part}'" if found else f"Text does not {verb} with '{part}'")

    return scored


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


def _beyond(bound: str, *, is_upper: bool) -> Scorer:
    def check(inputs: Inputs, params: Params) -> Verdict:
        length, limit = len(text(inputs, "text")), whole(params, bound)
        if limit is None:
            return passed(False, f"No {bound} provided")
        holds = length < limit if is_upper else length > limit
        what = "less" if is_upper else "greater"
        return passed(holds, f"Text length ({length}) is {'' if holds else 'not '}{what} than {limit}")

    return check


def _between(what: str, count: Callable[[str], int], unit: str) -> Scorer:
    def check(inputs: Inputs, params: Params) -> Verdict:
        least, most = whole(params, f"min_{unit}"), whole(params, f"max_{unit}")
        if least is None or most is None:
            return passed(False, f"No min_{unit} and max_{unit} provided")
        found = count(text(inputs, "text"))
        inside = least <= found <= most
        return passed(inside, f"{what} ({found}) is {'' if inside else 'not '}between {least} and {most}")

    return check


def _folded(value: str, params: Params) -> str:
    return value if flag(params, "case_sensitive", default=True) else value.casefold()


SCORERS: Final[Mapping[str, Scorer]] = {
    "contains": _contains,
    "contains_all": _keywords("all"),
    "contains_any": _keywords("any"),
    "contains_none": _keywords("none"),
    "starts_with": _at_end(str.startswith, "start"),
    "ends_with": _at_end(str.endswith, "end"),
    "equals": _equals,
    "regex": _regex,
    "one_line": _one_line,
    "length_less_than": _beyond("max_length", is_upper=True),
    "length_greater_than": _beyond("min_length", is_upper=False),
    "length_between": _between("Text length", len, "length"),
    "word_count_in_range": _between("Word count", lambda value: len(value.split()), "words"),
    "sentence_count": _between("Sentence count", lambda value: len(sentences(value)), "sentences"),
}
