"""Scores of how alike two texts are, by characters, words and n-grams, and of how varied one is.

Edit distances are rapidfuzz's; the tests hold the formulas of a few lines against NLTK and rouge-score.
"""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence
from math import exp, inf, log
from statistics import mean
from typing import Any, Final

from rapidfuzz.distance import Hamming, Indel, JaroWinkler, Levenshtein

from fieval_tasks.local.scoring.readings import flag, sentences, text, words
from fieval_tasks.local.scoring.series import f_measure
from fieval_tasks.local.scoring.shapes import Scorer, measured
from fieval_tasks.local.verdicts import Inputs, Params, Unscorable

Words = Sequence[str]

# N-grams of BLEU (Papineni et al. 2002) and of GLEU (Wu et al. 2016).
ORDERS: Final = range(1, 5)
_NUMBER: Final = re.compile(r"[-+]?(?:\d{1,3}(?:,\d{3})+(?!\d)(?:\.\d+)?|\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?")
_PUNCTUATION: Final = str.maketrans("", "", string.punctuation)


# -- output and expected -----------------------------------------------------------------------------------------------


def _texts(inputs: Inputs, params: Params) -> tuple[str, str, Params]:
    one, other = text(inputs, "output"), text(inputs, "expected")
    if flag(params, "case_insensitive", default=False):
        one, other = one.lower(), other.lower()
    if flag(params, "remove_punctuation", default=False):
        one, other = one.translate(_PUNCTUATION), other.translate(_PUNCTUATION)
    return one, other, params


def _levenshtein(one: str, other: str, params: Params) -> tuple[float, int]:
    edits = Levenshtein.distance(one, other)
    return 1 - edits / max(len(one), len(other), 1), edits


def _jaro_winkler(one: str, other: str, params: Params) -> float:
    try:
        return JaroWinkler.similarity(one, other, prefix_weight=float(params.get("prefix_weight", 0.1)))
    except (TypeError, ValueError):
        raise Unscorable("prefix_weight must be a number from 0 to 0.25") from None


def _jaccard(one: str, other: str, params: Params) -> float:
    first, second = set(one.split()), set(other.split())
    return len(first & second) / len(first | second) if first | second else 1.0


def _numeric(one: str, other: str, params: Params) -> float:
    """One minus the difference of the first numbers, over the larger of the two."""
    found = [_NUMBER.search(value) for value in (one, other)]
    values = [float(match[0].replace(",", "")) for match in found if match]
    if len(values) < 2:
        return 0.0
    largest = max(1.0, *map(abs, values))
    return 1 - abs(values[0] / largest - values[1] / largest) if largest < inf else values[0] == values[1]


def same_value(one: str, other: str) -> bool:
    """Equal as numbers, or as words once case, punctuation and articles are gone."""
    if _NUMBER.fullmatch(one.strip()) and _NUMBER.fullmatch(other.strip()):
        return float(one.replace(",", "")) == float(other.replace(",", ""))
    return _plain(one) == _plain(other)


def _plain(value: str) -> Words:
    """SQuAD's normalisation: lower case, no punctuation, no articles."""
    return [word for word in value.lower().translate(_PUNCTUATION).split() if word not in {"a", "an", "the"}]


def _token_f1(one: Words, other: Words) -> float:
    if not one or not other:
        return one == other
    return 2 * (Counter(one) & Counter(other)).total() / (len(one) + len(other))


# -- reference and hypothesis ------------------------------------------------------------------------------------------


def _transcripts(inputs: Inputs, params: Params) -> tuple[Words, Words]:
    return text(inputs, "reference").lower().split(), text(inputs, "hypothesis").lower().split()


def _characters(inputs: Inputs, params: Params) -> tuple[str, str]:
    return text(inputs, "reference").strip().lower(), text(inputs, "hypothesis").strip().lower()


def _error_rate(reference: Words, hypothesis: Words) -> tuple[float, float, int, int]:
    edits = Levenshtein.distance(reference, hypothesis)
    return 1 - edits / len(reference), edits / len(reference), edits, len(reference)


def _match_rate(reference: Words, hypothesis: Words) -> float:
    hits = _hits(reference, hypothesis)
    return hits / (hits + Levenshtein.distance(reference, hypothesis))


def _information(reference: Words, hypothesis: Words) -> float:
    """What is preserved of the words, of both sides."""
    return _hits(reference, hypothesis) ** 2 / (len(reference) * len(hypothesis))


def _hits(reference: Words, hypothesis: Words) -> int:
    """Words left as they are by a shortest edit."""
    return sum(block.size for block in Levenshtein.editops(reference, hypothesis).as_matching_blocks())


def _bleu(reference: Words, hypothesis: Words) -> tuple[float, float]:
    """Sentence BLEU-4; orders above one are smoothed by adding one (Lin and Och 2004)."""
    penalty = min(1.0, exp(1 - len(reference) / len(hypothesis)))
    shared = [(grams(hypothesis, order) & grams(reference, order)).total() for order in ORDERS]
    totals = [max(len(hypothesis) + 1 - order, 0) for order in ORDERS]
    precisions = [
        (hit + (n > 0)) / (total + (n > 0)) for n, (hit, total) in enumerate(zip(shared, totals, strict=True))
    ]
    return penalty * exp(mean(map(log, precisions))) if shared[0] else 0.0, penalty


def _gleu(reference: Words, hypothesis: Words) -> float:
    """The lesser of precision and recall over all n-grams up to four words."""
    one, other = (sum((grams(side, order) for order in ORDERS), Counter()) for side in (reference, hypothesis))
    return (one & other).total() / max(one.total(), other.total())


def _rouge(inputs: Inputs, params: Params) -> tuple[Words, Words]:
    one, other = (re.findall("[a-z0-9]+", text(inputs, key).lower()) for key in ("reference", "hypothesis"))
    return one, other


def _letters(inputs: Inputs, params: Params) -> tuple[str, str, Params]:
    return "".join(text(inputs, "reference").split()), "".join(text(inputs, "hypothesis").split()), params


def _chrf(reference: str, hypothesis: str, params: Params) -> float:
    """chrF (Popovic 2015): F-beta of character n-gram precision and recall, each averaged over the orders."""
    orders = range(1, min(int(params["n"]), max(len(reference), len(hypothesis))) + 1)
    counts = [(grams(reference, order), grams(hypothesis, order)) for order in orders]
    recall = mean((one & other).total() / max(one.total(), 1) for one, other in counts)
    precision = mean((one & other).total() / max(other.total(), 1) for one, other in counts)
    return f_measure(precision, recall, float(params["beta"]))


def grams(tokens: Words, order: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[start : start + order]) for start in range(len(tokens) - order + 1))


# -- one text ----------------------------------------------------------------------------------------------------------


def _grams_of_text(inputs: Inputs, params: Params) -> tuple[Counter[tuple[str, ...]]]:
    return (grams(words(text(inputs, "text")), int(params.get("n", 1))),)


def _repetition(found: Counter[Any]) -> float:
    """One minus the share of n-grams that occur more than once, so that higher is better."""
    return 1 - sum(count for count in found.values() if count > 1) / max(found.total(), 1)


def _readability(value: str) -> tuple[float, float]:
    """Flesch reading ease (1948) over 100; syllables are counted as groups of vowels, a silent e at the end apart."""
    found = re.findall(r"[a-z]+(?:'[a-z]+)?", value.lower())
    if not found:
        return 0.0, 0.0
    syllables = sum(max(1, len(re.findall("[aeiouy]+", re.sub("(?<![le])e$", "", word)))) for word in found)
    ease = 206.835 - 1.015 * len(found) / max(len(sentences(value)), 1) - 84.6 * syllables / len(found)
    return round(ease / 100, 4), ease


SCORERS: Final[Mapping[str, Scorer]] = {
    **measured(
        _texts,
        {
            "levenshtein_similarity": ("Levenshtein Distance: {1}, Similarity: {0:.3f}", _levenshtein),
            "jaro_winkler_similarity": ("Jaro-Winkler similarity: {0:.3f}", _jaro_winkler),
            "hamming_similarity": (
                "Hamming similarity: {0:.3f}",
                lambda one, other, _: Hamming.normalized_similarity(one, other, pad=True),
            ),
            "fuzzy_match": (
                "Fuzzy match ratio: {0:.3f}",
                lambda one, other, _: Indel.normalized_similarity(one, other),
            ),
            "jaccard_similarity": ("Jaccard similarity: {0:.3f}", _jaccard),
            "f1_score": ("Token F1: {0:.4f}", lambda one, other, _: _token_f1(one.split(), other.split())),
            "squad_score": ("SQuAD F1: {0:.4f}", lambda one, other, _: _token_f1(_plain(one), _plain(other))),
            "numeric_similarity": ("Numeric Similarity: {0:.3f}", _numeric),
        },
    ),
    **measured(
        _transcripts,
        {
            "bleu_score": ("BLEU-4 score: {0:.4f} (bp={1:.3f})", _bleu),
            "gleu_score": ("GLEU score: {0:.4f}", _gleu),
            "recall_score": ("Recall: {0:.4f}", lambda one, other: len({*one} & {*other}) / len({*one})),
            "word_error_rate": ("WER: {1:.1%} ({2} edits / {3} words)", _error_rate),
            "match_error_rate": ("One minus MER: {0:.4f}", _match_rate),
            "word_info_lost": ("One minus WIL: {0:.4f}", _information),
            "word_info_preserved": ("WIP: {0:.4f}", _information),
        },
    ),
    **measured(_characters, {"character_error_rate": ("CER: {1:.1%} ({2} edits / {3} chars)", _error_rate)}),
    # ROUGE-L's F-measure (Lin 2004), twice the common subsequence over both lengths, is Indel's similarity.
    **measured(
        _rouge, {"rouge_score": ("ROUGE-L F1: {0:.4f}", lambda *both: any(both) and Indel.normalized_similarity(*both))}
    ),
    **measured(_letters, {"chrf_score": ("chrF score: {0:.4f}", _chrf)}),
    **measured(
        _grams_of_text,
        {
            "distinct_n": ("Distinct n-grams: {0:.4f}", lambda found: len(found) / max(found.total(), 1)),
            "type_token_ratio": ("Type-token ratio: {0:.4f}", lambda found: len(found) / max(found.total(), 1)),
            "repetition_rate": ("One minus the repetition rate: {0:.4f}", _repetition),
        },
    ),
    **measured(
        lambda inputs, params: (text(inputs, "text"),),
        {"readability_score": ("Flesch reading ease: {1:.1f}", _readability)},
    ),
}
