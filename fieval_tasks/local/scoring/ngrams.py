"""Scores from n-grams: translation and summary overlap, and the variety of a text's words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from math import exp, log
from typing import Final

from fieval_tasks.local.scoring.readings import text
from fieval_tasks.local.scoring.similarity import LARGEST_COMPARISON
from fieval_tasks.local.scoring.tokens import words
from fieval_tasks.local.verdicts import Inputs, Params, Unscorable, Verdict

LONGEST_GRAM: Final = 50
_ORDERS: Final = range(1, 5)
_ROUGE_TOKEN: Final = re.compile(r"[a-z0-9]+")


def bleu_score(inputs: Inputs, params: Params) -> Verdict:
    """Sentence BLEU-4 (Papineni et al. 2002); orders above one are smoothed by adding one (Lin and Och 2004)."""
    reference, hypothesis = _both(inputs)
    penalty = min(1.0, exp(1 - len(reference) / len(hypothesis)))
    score = penalty * _geometric_mean([_precision(reference, hypothesis, order) for order in _ORDERS])
    return Verdict(score, f"BLEU-4 score: {score:.4f} (bp={penalty:.3f})")


def gleu_score(inputs: Inputs, params: Params) -> Verdict:
    """Google BLEU (Wu et al. 2016): the lesser of precision and recall over all n-grams up to four words."""
    reference, hypothesis = (sum((_grams(side, order) for order in _ORDERS), Counter()) for side in _both(inputs))
    shared = sum((reference & hypothesis).values())
    score = shared / max(sum(reference.values()), sum(hypothesis.values()), 1)
    return Verdict(score, f"GLEU score: {score:.4f}")


def chrf_score(inputs: Inputs, params: Params) -> Verdict:
    """chrF (Popovic 2015): F-beta of character n-gram precision and recall, each averaged over the orders."""
    beta = float(params["beta"])
    reference, hypothesis = ("".join(text(inputs, key).split()) for key in ("reference", "hypothesis"))
    orders = range(1, min(int(params["n"]), max(len(reference), len(hypothesis))) + 1)
    counts = [(_grams(reference, order), _grams(hypothesis, order)) for order in orders]
    shared = [sum((one & other).values()) for one, other in counts]
    recall = _mean([hit / max(sum(one.values()), 1) for hit, (one, _) in zip(shared, counts, strict=True)])
    precision = _mean([hit / max(sum(other.values()), 1) for hit, (_, other) in zip(shared, counts, strict=True)])
    weighed = beta**2 * precision + recall
    score = (1 + beta**2) * precision * recall / weighed if weighed else 0.0
    return Verdict(min(1.0, score), f"chrF score: {score:.4f}")


def rouge_score(inputs: Inputs, params: Params) -> Verdict:
    """ROUGE-L F-measure (Lin 2004): longest common subsequence of lower-case words."""
    from rapidfuzz.distance import LCSseq

    reference, hypothesis = (_ROUGE_TOKEN.findall(text(inputs, key).lower()) for key in ("reference", "hypothesis"))
    if len(reference) * len(hypothesis) > LARGEST_COMPARISON:
        raise Unscorable(f"texts of {len(reference)} and {len(hypothesis)} words are too long to compare")
    longest = LCSseq.similarity(reference, hypothesis)
    score = 2 * longest / max(len(reference) + len(hypothesis), 1)
    return Verdict(score, f"ROUGE-L F1: {score:.4f} (longest common subsequence: {longest} words)")


def type_token_ratio(inputs: Inputs, params: Params) -> Verdict:
    found = words(text(inputs, "text"))
    return _share(len(set(found)), len(found), "Type-token ratio", "words distinct")


def distinct_n(inputs: Inputs, params: Params) -> Verdict:
    grams = _grams(words(text(inputs, "text")), int(params["n"]))
    return _share(len(grams), sum(grams.values()), f"Distinct-{params['n']}", "n-grams distinct")


def repetition_rate(inputs: Inputs, params: Params) -> Verdict:
    """Score: the share of n-grams that do not occur twice, so that higher is better."""
    if int(params["n"]) > LONGEST_GRAM:
        raise Unscorable(f"n must be at most {LONGEST_GRAM}")
    grams = _grams(words(text(inputs, "text")), int(params["n"]))
    total = sum(grams.values())
    repeated = sum(count for count in grams.values() if count > 1)
    score = 1 - repeated / total if total else 1.0
    return Verdict(score, f"Repetition rate: {1 - score:.4f} ({repeated} of {total} n-grams occur more than once)")


def _share(part: int, total: int, name: str, what: str) -> Verdict:
    score = part / total if total else 0.0
    return Verdict(score, f"{name}: {score:.4f} ({part} of {total} {what})")


def _both(inputs: Inputs) -> tuple[list[str], list[str]]:
    return text(inputs, "reference").lower().split(), text(inputs, "hypothesis").lower().split()


def _grams(tokens: Sequence[str], order: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[start:] for start in range(order)), strict=False))


def _precision(reference: list[str], hypothesis: list[str], order: int) -> float:
    found = _grams(hypothesis, order)
    smoothing = int(order > 1)
    matched = sum((found & _grams(reference, order)).values()) + smoothing
    return matched / max(sum(found.values()) + smoothing, 1)


def _geometric_mean(values: list[float]) -> float:
    return exp(_mean([log(value) for value in values])) if min(values) > 0 else 0.0


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
