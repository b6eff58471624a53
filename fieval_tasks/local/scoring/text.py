"""Exact checks on a text: what it contains, how it begins and ends, how long it is."""

from __future__ import annotations

import re
from collections.abc import Callable
from math import prod
from typing import Final

from fieval_tasks.local.scoring.readings import flag, text, whole
from fieval_tasks.local.scoring.tokens import sentences
from fieval_tasks.local.verdicts import Inputs, Params, Unscorable, Verdict, passed

REGEX_SECONDS: Final = 1.0
"""A pattern that has not decided by then is not going to."""
LONGEST_PATTERN: Final = 1000
MOST_COPIES: Final = 2_000_000
"""Product of a pattern's `{n}` counts: nested ones multiply."""
_REPEAT: Final = re.compile(r"\{(\d{1,9})(?:,(\d{0,9}))?\}")


def contains(inputs: Inputs, params: Params) -> Verdict:
    keyword = str(params.get("keyword") or "")
    if not keyword:
        return passed(False, "No keyword provided")
    found = _folded(keyword, params) in _folded(text(inputs, "text"), params)
    return passed(found, f"Keyword '{keyword}' {'found' if found else 'not found'} in output")


def contains_all(inputs: Inputs, params: Params) -> Verdict:
    missing = _keywords(inputs, params, present=False)
    return _about_keywords(
        params, not missing, f"Keywords not found in output: {', '.join(missing)}", "All keywords found in output"
    )


def contains_any(inputs: Inputs, params: Params) -> Verdict:
    found = _keywords(inputs, params, present=True)
    return _about_keywords(params, bool(found), "No keywords found in output", f"Keywords found: {', '.join(found)}")


def contains_none(inputs: Inputs, params: Params) -> Verdict:
    found = _keywords(inputs, params, present=True)
    return _about_keywords(params, not found, f"Keywords found: {', '.join(found)}", "No keywords found in output")


def starts_with(inputs: Inputs, params: Params) -> Verdict:
    return _at_end(inputs, params, str.startswith, "start")


def ends_with(inputs: Inputs, params: Params) -> Verdict:
    return _at_end(inputs, params, str.endswith, "end")


def equals(inputs: Inputs, params: Params) -> Verdict:
    same = _folded(text(inputs, "text"), params) == _folded(text(inputs, "expected_text"), params)
    return passed(same, "Text equals the expected text" if same else "Text does not equal the expected text")


def regex(inputs: Inputs, params: Params) -> Verdict:
    """Search with a time limit: a pattern may need time exponential in the text."""
    import regex as engine  # type: ignore[import-untyped]

    pattern = str(params.get("pattern") or "")
    if not pattern:
        return passed(False, "No pattern provided")
    _check_pattern(pattern)
    try:
        found = engine.search(pattern, text(inputs, "text"), timeout=REGEX_SECONDS)
    except engine.error as error:
        return passed(False, f"Invalid pattern: {error}")
    except TimeoutError:
        raise Unscorable(f"the pattern took more than {REGEX_SECONDS:g} s on this text") from None
    return passed(found is not None, f"Pattern {'found' if found else 'not found'} in output")


def one_line(inputs: Inputs, params: Params) -> Verdict:
    lines = len(text(inputs, "text").strip().splitlines())
    return passed(lines == 1, f"Text has {lines} line{'' if lines == 1 else 's'}")


def length_less_than(inputs: Inputs, params: Params) -> Verdict:
    length, most = len(text(inputs, "text")), whole(params, "max_length")
    if most is None:
        return passed(False, "No max_length provided")
    return passed(length < most, f"Text length ({length}) is {'' if length < most else 'not '}less than {most}")


def length_greater_than(inputs: Inputs, params: Params) -> Verdict:
    length, least = len(text(inputs, "text")), whole(params, "min_length")
    if least is None:
        return passed(False, "No min_length provided")
    return passed(length > least, f"Text length ({length}) is {'' if length > least else 'not '}greater than {least}")


def length_between(inputs: Inputs, params: Params) -> Verdict:
    least, most = whole(params, "min_length"), whole(params, "max_length")
    return _between(len(text(inputs, "text")), least, most, "Text length", "min_length and max_length")


def word_count_in_range(inputs: Inputs, params: Params) -> Verdict:
    least, most = whole(params, "min_words"), whole(params, "max_words")
    return _between(len(text(inputs, "text").split()), least, most, "Word count", "min_words and max_words")


def sentence_count(inputs: Inputs, params: Params) -> Verdict:
    least, most = whole(params, "min_sentences"), whole(params, "max_sentences")
    found = len(sentences(text(inputs, "text")))
    return _between(found, least, most, "Sentence count", "min_sentences and max_sentences")


def _check_pattern(pattern: str) -> None:
    """Refuse what would take long to compile, which no time limit covers."""
    copies = prod(max(1, int(most or least)) for least, most in _REPEAT.findall(pattern))
    if len(pattern) > LONGEST_PATTERN or copies > MOST_COPIES:
        raise Unscorable(f"the pattern is too large: {len(pattern)} characters, repeated up to {copies:.1e} times")


def _between(count: int, least: int | None, most: int | None, what: str, names: str) -> Verdict:
    if least is None or most is None:
        return passed(False, f"No {names} provided")
    inside = least <= count <= most
    return passed(inside, f"{what} ({count}) is {'' if inside else 'not '}between {least} and {most}")


def _at_end(inputs: Inputs, params: Params, check: Callable[[str, str], bool], verb: str) -> Verdict:
    part = str(params.get("substring") or "")
    if not part:
        return passed(False, "No substring provided")
    found = check(_folded(text(inputs, "text"), params), _folded(part, params))
    return passed(found, f"Text {verb}s with '{part}'" if found else f"Text does not {verb} with '{part}'")


def _about_keywords(params: Params, verdict: bool, *reasons: str) -> Verdict:
    """The verdict, with the first reason where it failed and the second where it passed."""
    if not _given_keywords(params):
        return passed(False, "No keywords provided")
    return passed(verdict, reasons[verdict])


def _keywords(inputs: Inputs, params: Params, *, present: bool) -> list[str]:
    """The keywords that the text contains, or those that it does not."""
    whole_text = _folded(text(inputs, "text"), params)
    return [word for word in _given_keywords(params) if (_folded(word, params) in whole_text) is present]


def _given_keywords(params: Params) -> list[str]:
    given = params.get("keywords") or []
    listed = given.split(",") if isinstance(given, str) else given if isinstance(given, list) else [given]
    # "" is part of every text: a trailing comma must not decide the verdict.
    return [word for word in (str(item).strip() for item in listed) if word]


def _folded(value: str, params: Params) -> str:
    return value if flag(params, "case_sensitive", default=True) else value.casefold()
