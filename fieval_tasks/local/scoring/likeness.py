"""Scores of how alike two texts are, by characters, words and n-grams, and of how varied one is.

Edit distances are rapidfuzz's; the formulas of a few lines are checked against NLTK and rouge-score in
the tests.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from math import exp, log
from statistics import mean
from typing import Final

from rapidfuzz import distance

from fieval_tasks.local.scoring.readings import flag, sentences, text, words
from fieval_tasks.local.scoring.series import f_measure
from fieval_tasks.local.verdicts import Inputs, Params, Unscorable, Verdict

Scorer = Callable[[Inputs, Params], Verdict]
Grams = Counter[tuple[str, ...]]

ORDERS: Final = range(1, 5)
"""N-grams of BLEU (Papineni et al. 2002) and of GLEU (Wu et al. 2016)."""
_NUMBER: Final = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?")
_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)


# -- output and expected -----------------------------------------------------------------------------------------------


def _alike(score: Callable[[str, str], float], name: str) -> Scorer:
    def scored(inputs: Inputs, params: Params) -> Verdict:
        value = score(*_both(inputs, params))
        return Verdict(value, f"{name}: {value:.3f}")

    return scored


def _levenshtein(inputs: Inputs, params: Params) -> Verdict:
    one, other = _both(inputs, params)
    edits = distance.Levenshtein.distance(one, other)
    similarity = 1 - edits / max(len(one), len(other), 1)
    return Verdict(similarity, f"Levenshtein Distance: {edits}, Similarity: {similarity:.3f}")


def _jaro_winkler(inputs: Inputs, params: Params) -> Verdict:
    try:
        weight = float(params.get("prefix_weight", 0.1))
    except (TypeError, ValueError):
        weight = -1.0
    if not 0 <= weight <= 0.25:
        raise Unscorable("prefix_weight must be a number from 0 to 0.25")
    score = float(distance.JaroWinkler.similarity(*_both(inputs, params), prefix_weight=weight))
    return Verdict(score, f"Jaro-Winkler similarity: {score:.3f}")


def _jaccard(one: str, other: str) -> float:
    first, second = set(one.split()), set(other.split())
    return len(first & second) / len(first | second) if first | second else 1.0


def _squad(inputs: Inputs, params: Params) -> Verdict:
    """Token F1 after SQuAD's normalisation: lower case, no punctuation, no articles."""
    one, other = (plain_words(text(inputs, key)) for key in ("output", "expected"))
    score = _token_f1(one, other)
    return Verdict(score, f"SQuAD F1: {score:.4f}, exact match: {int(one == other)}")


def _numeric(inputs: Inputs, params: Params) -> Verdict:
    one, other = (_NUMBER.search(text(inputs, key)) for key in ("output", "expected"))
    if one is None or other is None:
        return Verdict(0.0, f"Cannot calculate: no number in {'output' if one is None else 'expected'}")
    first, second = as_number(one), as_number(other)
    largest = max(abs(first), abs(second), 1)
    score = max(0.0, 1 - abs(first / largest - second / largest)) if largest < float("inf") else float(first == second)
    return Verdict(score, f"Numeric Similarity: {score:.3f}")


def same_value(one: str, other: str) -> bool:
    """Equal as numbers, or as words once case, punctuation and articles are gone."""
    first, second = _NUMBER.fullmatch(one.strip()), _NUMBER.fullmatch(other.strip())
    if first and second:
        return as_number(first) == as_number(second)
    return plain_words(one) == plain_words(other)


def as_number(match: re.Match[str]) -> float:
    return float(match[0].replace(",", ""))


def plain_words(value: str) -> list[str]:
    return [word for word in value.lower().translate(_PUNCTUATION).split() if word not in {"a", "an", "the"}]


def _token_f1(one: list[str], other: list[str]) -> float:
    if not one or not other:
        return float(one == other)
    return 2 * (Counter(one) & Counter(other)).total() / (len(one) + len(other))


def _both(inputs: Inputs, params: Params) -> tuple[str, str]:
    one, other = text(inputs, "output"), text(inputs, "expected")
    if flag(params, "case_insensitive", default=False):
        one, other = one.lower(), other.lower()
    if flag(params, "remove_punctuation", default=False):
        one, other = one.translate(_PUNCTUATION), other.translate(_PUNCTUATION)
    return one, other


# -- reference and hypothesis ------------------------------------------------------------------------------------------


def _bleu(inputs: Inputs, params: Params) -> Verdict:
    """Sentence BLEU-4; orders above one are smoothed by adding one (Lin and Och 2004)."""
    reference, hypothesis = _words_of_both(inputs)
    penalty = min(1.0, exp(1 - len(reference) / len(hypothesis)))
    precisions = [_smoothed(grams(reference, order), grams(hypothesis, order), int(order > 1)) for order in ORDERS]
    score = penalty * exp(mean(map(log, precisions))) if min(precisions) > 0 else 0.0
    return Verdict(score, f"BLEU-4 score: {score:.4f} (bp={penalty:.3f})")


def _smoothed(reference: Grams, hypothesis: Grams, smoothing: int) -> float:
    return ((hypothesis & reference).total() + smoothing) / max(hypothesis.total() + smoothing, 1)


def _gleu(inputs: Inputs, params: Params) -> Verdict:
    """The lesser of precision and recall over all n-grams up to four words."""
    reference, hypothesis = (
        sum((grams(side, order) for order in ORDERS), Counter()) for side in _words_of_both(inputs)
    )
    score = (reference & hypothesis).total() / max(reference.total(), hypothesis.total(), 1)
    return Verdict(score, f"GLEU score: {score:.4f}")


def _chrf(inputs: Inputs, params: Params) -> Verdict:
    """chrF (Popovic 2015): F-beta of character n-gram precision and recall, each averaged over the orders."""
    reference, hypothesis = ("".join(text(inputs, key).split()) for key in ("reference", "hypothesis"))
    longest = min(int(params["n"]), max(len(reference), len(hypothesis)))
    counts = [(grams(reference, order), grams(hypothesis, order)) for order in range(1, longest + 1)]
    recall, precision = (
        mean((one & other).total() / max((one, other)[side].total(), 1) for one, other in counts) for side in (0, 1)
    )
    score = f_measure(precision, recall, float(params["beta"]))
    return Verdict(score, f"chrF score: {score:.4f}")


def _rouge(inputs: Inputs, params: Params) -> Verdict:
    """ROUGE-L F-measure (Lin 2004) of lower-case words: their normalised insertions and deletions."""
    reference, hypothesis = (re.findall(r"[a-z0-9]+", text(inputs, key).lower()) for key in ("reference", "hypothesis"))
    score = float(distance.Indel.normalized_similarity(reference, hypothesis)) if reference + hypothesis else 0.0
    return Verdict(score, f"ROUGE-L F1: {score:.4f}")


def _recall(inputs: Inputs, params: Params) -> Verdict:
    wanted, given = (set(side) for side in _words_of_both(inputs))
    score = len(wanted & given) / len(wanted) if wanted else 0.0
    return Verdict(score, f"Recall: {score:.4f} ({len(wanted & given)}/{len(wanted)} reference words found)")


def _error_rate(name: str, units: str) -> Scorer:
    """One minus the edits over the reference's length, no lower than 0."""

    def scored(inputs: Inputs, params: Params) -> Verdict:
        sides = [text(inputs, key).strip().lower() for key in ("reference", "hypothesis")]
        reference, hypothesis = sides if units == "chars" else [side.split() for side in sides]
        edits = distance.Levenshtein.distance(reference, hypothesis)
        rate = edits / len(reference)
        return Verdict(max(0.0, 1 - rate), f"{name}: {rate:.1%} ({edits} edits / {len(reference)} {units})")

    return scored


def _match_errors(inputs: Inputs, params: Params) -> Verdict:
    reference, hypothesis = _words_of_both(inputs)
    edits, hits = distance.Levenshtein.distance(reference, hypothesis), _hits(reference, hypothesis)
    rate = edits / (hits + edits) if hits + edits else 0.0
    return Verdict(1 - rate, f"MER: {rate:.1%} ({edits} edits, {hits} hits)")


def _word_information(inputs: Inputs, params: Params) -> Verdict:
    reference, hypothesis = _words_of_both(inputs)
    hits = _hits(reference, hypothesis)
    kept = hits / len(reference) * hits / len(hypothesis) if hits else 0.0
    return Verdict(kept, f"WIP: {kept:.4f}, WIL: {1 - kept:.4f}")


def _hits(reference: Sequence[str], hypothesis: Sequence[str]) -> int:
    """Words left as they are by a shortest edit."""
    blocks = distance.Levenshtein.opcodes(reference, hypothesis)
    return sum(block.src_end - block.src_start for block in blocks if block.tag == "equal")


def _words_of_both(inputs: Inputs) -> tuple[list[str], list[str]]:
    return text(inputs, "reference").lower().split(), text(inputs, "hypothesis").lower().split()


# -- one text ----------------------------------------------------------------------------------------------------------


def _variety(name: str) -> Scorer:
    """Distinct n-grams of words over all of them."""

    def scored(inputs: Inputs, params: Params) -> Verdict:
        found = grams(words(text(inputs, "text")), int(params.get("n", 1)))
        score = len(found) / max(found.total(), 1)
        return Verdict(score, f"{name.format(**params)}: {score:.4f} ({len(found)} of {found.total()} distinct)")

    return scored


def _repetition(inputs: Inputs, params: Params) -> Verdict:
    """One minus the share of n-grams that occur more than once, so that higher is better."""
    found = grams(words(text(inputs, "text")), int(params["n"]))
    repeated = sum(count for count in found.values() if count > 1)
    rate = repeated / max(found.total(), 1)
    return Verdict(
        1 - rate, f"Repetition rate: {rate:.4f} ({repeated} of {found.total()} n-grams occur more than once)"
    )


def _readability(inputs: Inputs, params: Params) -> Verdict:
    """Flesch reading ease (1948) over 100, within 0..1; syllables are counted as groups of vowels."""
    found = re.findall(r"[a-z]+(?:'[a-z]+)?", text(inputs, "text").lower())
    if not found:
        return Verdict(0.0, "No English words to read")
    silent = sum(word.endswith("e") and not word.endswith(("le", "ee")) for word in found)
    syllables = max(len(found), sum(len(re.findall(r"[aeiouy]+", word)) for word in found) - silent)
    per_sentence = len(found) / max(len(sentences(text(inputs, "text"))), 1)
    ease = 206.835 - 1.015 * per_sentence - 84.6 * syllables / len(found)
    return Verdict(round(min(1.0, max(0.0, ease / 100)), 4), f"Flesch reading ease: {ease:.1f}")


def grams(tokens: Sequence[str], order: int) -> Grams:
    return Counter(tuple(tokens[start : start + order]) for start in range(len(tokens) - order + 1))


SCORERS: Final[Mapping[str, Scorer]] = {
    "levenshtein_similarity": _levenshtein,
    "jaro_winkler_similarity": _jaro_winkler,
    "hamming_similarity": _alike(
        lambda one, other: distance.Hamming.normalized_similarity(one, other, pad=True), "Hamming similarity"
    ),
    "fuzzy_match": _alike(lambda one, other: distance.Indel.normalized_similarity(one, other), "Fuzzy match ratio"),
    "jaccard_similarity": _alike(_jaccard, "Jaccard similarity"),
    "f1_score": _alike(lambda one, other: _token_f1(one.split(), other.split()), "Token F1"),
    "squad_score": _squad,
    "numeric_similarity": _numeric,
    "bleu_score": _bleu,
    "gleu_score": _gleu,
    "chrf_score": _chrf,
    "rouge_score": _rouge,
    "recall_score": _recall,
    "word_error_rate": _error_rate("WER", "words"),
    "character_error_rate": _error_rate("CER", "chars"),
    "match_error_rate": _match_errors,
    "word_info_lost": _word_information,
    "word_info_preserved": _word_information,
    "distinct_n": _variety("Distinct-{n}"),
    "type_token_ratio": _variety("Type-token ratio"),
    "repetition_rate": _repetition,
    "readability_score": _readability,
}
