"""Scores of how alike two texts are."""

from __future__ import annotations

import re
import string
from collections import Counter
from typing import Final

from fieval_tasks.local.scoring.readings import flag, text
from fieval_tasks.local.verdicts import Inputs, Params, Unscorable, Verdict, passed

LARGEST_COMPARISON: Final = 4 * 10**10
"""Product of two lengths beyond which an edit distance would hold a worker for seconds."""

_NUMBER: Final = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?")
_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)


def levenshtein_similarity(inputs: Inputs, params: Params) -> Verdict:
    from rapidfuzz.distance import Levenshtein

    one, other = _both(inputs, params)
    distance = Levenshtein.distance(one, other)
    similarity = 1 - distance / max(len(one), len(other), 1)
    return Verdict(similarity, f"Levenshtein Distance: {distance}, Similarity: {similarity:.3f}")


def hamming_similarity(inputs: Inputs, params: Params) -> Verdict:
    """Places that agree; where one text is longer, its rest does not."""
    one, other = _both(inputs, params)
    longer = max(len(one), len(other), 1)
    same = sum(left == right for left, right in zip(one, other, strict=False))
    return Verdict(same / longer, f"Hamming similarity: {same} of {longer} characters match")


def jaro_winkler_similarity(inputs: Inputs, params: Params) -> Verdict:
    from rapidfuzz.distance import JaroWinkler

    try:
        weight = float(params.get("prefix_weight", 0.1))
    except (TypeError, ValueError):
        weight = -1.0
    if not 0 <= weight <= 0.25:
        raise Unscorable("prefix_weight must be a number from 0 to 0.25")
    score = JaroWinkler.similarity(*_both(inputs, params), prefix_weight=weight)
    return Verdict(score, f"Jaro-Winkler similarity: {score:.3f}")


def fuzzy_match(inputs: Inputs, params: Params) -> Verdict:
    from rapidfuzz import fuzz

    score = fuzz.ratio(*_both(inputs, params)) / 100
    return Verdict(score, f"Fuzzy match ratio: {score:.3f}")


def jaccard_similarity(inputs: Inputs, params: Params) -> Verdict:
    one, other = (set(value.split()) for value in _both(inputs, params))
    union = one | other
    score = len(one & other) / len(union) if union else 1.0
    return Verdict(score, f"Jaccard similarity: {len(one & other)} of {len(union)} words shared")


def f1_score(inputs: Inputs, params: Params) -> Verdict:
    score = _overlap(*(value.split() for value in _both(inputs, params)))
    return Verdict(score, f"Token F1: {score:.4f}")


def squad_score(inputs: Inputs, params: Params) -> Verdict:
    """Token F1 after SQuAD's normalisation: lower case, no punctuation, no articles."""
    one, other = (_squad(text(inputs, key)) for key in ("output", "expected"))
    score = _overlap(one, other)
    return Verdict(score, f"SQuAD F1: {score:.4f}, exact match: {int(one == other)}")


def numeric_similarity(inputs: Inputs, params: Params) -> Verdict:
    one, other = (_NUMBER.search(text(inputs, key)) for key in ("output", "expected"))
    if one is None or other is None:
        return Verdict(0.0, f"Cannot calculate: no number in {'output' if one is None else 'expected'}")
    first, second = (float(match[0].replace(",", "")) for match in (one, other))
    largest = max(abs(first), abs(second), 1)
    score = max(0.0, 1 - abs(first / largest - second / largest)) if largest < float("inf") else float(first == second)
    return Verdict(score, f"Numeric Similarity: {score:.3f}")


def ground_truth_match(inputs: Inputs, params: Params) -> Verdict:
    """Equal as numbers, or as words once case, punctuation and articles are gone."""
    one, other = text(inputs, "generated_value"), text(inputs, "expected_value")
    numbers = [_NUMBER.fullmatch(value.strip()) for value in (one, other)]
    if numbers[0] and numbers[1]:
        same = len({float(match[0].replace(",", "")) for match in numbers if match}) == 1
    else:
        same = _squad(one) == _squad(other)
    verb = "equals" if same else "does not equal"
    return passed(same, f"local heuristic: the value {verb} the expected one, case, punctuation and articles aside")


def _both(inputs: Inputs, params: Params) -> tuple[str, str]:
    one, other = text(inputs, "output"), text(inputs, "expected")
    if len(one) * len(other) > LARGEST_COMPARISON:
        raise Unscorable(f"texts of {len(one)} and {len(other)} characters are too long to compare")
    if flag(params, "case_insensitive", default=False):
        one, other = one.lower(), other.lower()
    if flag(params, "remove_punctuation", default=False):
        one, other = one.translate(_PUNCTUATION), other.translate(_PUNCTUATION)
    return one, other


def _squad(value: str) -> list[str]:
    return [word for word in value.lower().translate(_PUNCTUATION).split() if word not in {"a", "an", "the"}]


def _overlap(one: list[str], other: list[str]) -> float:
    if not one or not other:
        return float(one == other)
    shared = sum((Counter(one) & Counter(other)).values())
    return 2 * shared / (len(one) + len(other))
