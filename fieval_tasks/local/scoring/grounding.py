"""Judge templates about what an output shares with the text beside it: heuristics from words, no understanding.

A claim is a sentence of the output that says something. Its *support*, from 0 to 1, is how much of it stands in the
context: the mean of the share of its content words that occur there and of the share of its word pairs that do (ROUGE-2
precision, Lin 2004). A claim with a name or a number that the context lacks has half of that, and one that is denied by
the sentence closest to it has none. `python -m benchmarks agreement` says how far that agrees with people.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from fieval_tasks.local.scoring import phrases
from fieval_tasks.local.scoring.likeness import same_value
from fieval_tasks.local.scoring.readings import sentences, text, words
from fieval_tasks.local.scoring.shapes import Scorer
from fieval_tasks.local.verdicts import PASSED, Inputs, Params, Verdict, passed

# Support from which a claim counts as supported. On 239 summaries with people's judgements (QAGS, XSUM) the share of
# right verdicts, both kinds weighed alike, is highest between 0.54 and 0.56.
SUPPORTED_FROM: Final = 0.55
# Share of a claim's content words from which a sentence of the context speaks of the same, so that it may deny it.
SAME_SENTENCE_FROM: Final = 0.8
# Share of a context sentence's content words from which the output is taken to use it.
USED_FROM: Final = 0.5
# Letters by which words are compared: on the same summaries as good as taking endings off (AUC 0.69 both).
STEM: Final = 6
# New words that make a description whole. A plain question wants one for each of its parts, "list three" wants three.
ENOUGH: Final = 8
# How much of completeness hangs on taking up the question's own words: a fact may be one new word.
UPTAKE: Final = 0.3
# Highest completeness of an answer that declines to answer.
REFUSED: Final = 0.1

_NAME: Final = re.compile(r"\b[A-Z][\w-]+")
_NEGATED: Final = re.compile(r"\b(?:can't|won't|\w+n't|cannot)\b")
_NEGATIONS: Final = frozenset({"not", "never", "no", "none", "neither", "nor"})
_FUNCTION_WORDS: Final = """
    a about above after again all also am an and any are as at be because been before being below between both but
    by can could did do does doing don down during each few for from further get had has have having he her here hers
    him his how i if in into is it its itself just let me more most much must my now of off on once only or other our
    ours out over own per please same shall she should so some such than that the their theirs them then there these
    they this those through to too under until up upon us very was we were what when where whether which while who
    whom whose why will with within without would yes yet you your yours
"""
_STOPWORDS: Final = _NEGATIONS | {*_FUNCTION_WORDS.split()}
_PLAIN_QUESTION: Final = re.compile(
    r"\W*(?:wh(?:o|om|ose|en|ere|ich|at)|how (?:many|much|old|long|far|tall|big))\b", re.I
)
_NEXT_PART: Final = re.compile(r"\?+|;|\b(?:and|or|also)\s+(?=(?:who|when|where|which|why|how|what)\b)", re.I)
_COUNTS: Final = {"two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "seven": 7, "eight": 8, "nine": 9, "ten": 10}


@dataclass(frozen=True)
class _Claim:
    """A sentence of the output, held against the context."""

    support: float
    is_denied: bool


def _claims(inputs: Inputs) -> list[_Claim]:
    context = text(inputs, "context", "\n")
    said = words(context)
    stems, pairs = {word[:STEM] for word in said}, {*pairwise(said)}
    parts = [_plain(sentence) for sentence in sentences(context)]

    def claim(sentence: str) -> _Claim:
        plain, mine = _plain(sentence), words(sentence)
        content = plain - _NEGATIONS
        closest = max(parts, key=lambda part: len(part & content), default=frozenset())
        is_same = len(closest & content) >= SAME_SENTENCE_FROM * len(content)
        if is_same and bool(closest & _NEGATIONS) != bool(plain & _NEGATIONS):
            return _Claim(0.0, True)
        covered = _share([stem in stems for stem in content])
        support = (covered + _share([pair in pairs for pair in pairwise(mine)] or [covered])) / 2
        names = [word for name in _NAME.findall(sentence) for word in words(name) if word not in _STOPWORDS]
        named = [*names, *(word for word in mine if word[0].isdigit())]
        lacks = any(word[:STEM] not in stems or (word[0].isdigit() and word not in said) for word in named)
        return _Claim(support / 2 if lacks else support, False)

    return [claim(sentence) for sentence in sentences(text(inputs, "output", "\n")) if _content(sentence)]


def _supported(bar: float) -> Scorer:
    """Passes from this share of supported claims, and where none is denied."""

    def judge(inputs: Inputs, params: Params) -> Verdict:
        claims = _claims(inputs)
        share = _share([claim.support >= SUPPORTED_FROM for claim in claims] or [True])
        is_grounded = share >= bar and not any(claim.is_denied for claim in claims)
        return passed(is_grounded, f"{_counted(claims)} ({share:.2f} {'>=' if share >= bar else '<'} {bar:g})")

    return judge


def _adherence(inputs: Inputs, params: Params) -> Verdict:
    claims = _claims(inputs)
    support = _share([claim.support for claim in claims] or [1.0])
    return Verdict(support, f"{_counted(claims)}; mean support {support:.2f}")


def _accuracy(inputs: Inputs, params: Params) -> Verdict:
    claims = _claims(inputs)
    points = [float(claim.support >= SUPPORTED_FROM) - claim.is_denied for claim in claims]
    return Verdict(
        max(0.0, _share(points or [1.0])), f"{_counted(claims)}; a contradiction cancels a supported sentence"
    )


def _counted(claims: Sequence[_Claim]) -> str:
    if not claims:
        return "local heuristic: the output makes no claim that could be checked"
    supported, denied = (
        sum(claim.support >= SUPPORTED_FROM for claim in claims),
        sum(claim.is_denied for claim in claims),
    )
    counted = f"local heuristic: {supported} of {len(claims)} output sentences supported by the context"
    return f"{counted}, {denied} contradicted" if denied else counted


def _used(inputs: Inputs) -> tuple[int, int, str]:
    said = _content(text(inputs, "output", "\n"))
    parts = [part for sentence in sentences(text(inputs, "context", "\n")) if (part := _content(sentence))]
    used = sum(len(part & said) >= USED_FROM * len(part) for part in parts)
    return used, len(parts), f"local heuristic: {used} of {len(parts)} context sentences used by the output"


def _attribution(inputs: Inputs, params: Params) -> Verdict:
    used, _, reason = _used(inputs)
    return passed(used > 0, reason)


def _utilization(inputs: Inputs, params: Params) -> Verdict:
    used, total, reason = _used(inputs)
    return Verdict(used / max(total, 1), reason)


def _relevance(inputs: Inputs, params: Params) -> Verdict:
    asked, there = (_content(text(inputs, key, "\n")) for key in ("input", "context"))
    reason = f"{len(asked & there)} of {len(asked)} content words of the input occur in the context"
    return Verdict(len(asked & there) / max(len(asked), 1), f"local heuristic: {reason}")


def _completeness(inputs: Inputs, params: Params) -> Verdict:
    """The share of new words that a whole answer would have, weighed by the share of the question's words taken up."""
    question, answer = text(inputs, "input", "\n"), text(inputs, "output", "\n")
    asked, said = _content(question), _content(answer)
    taken_up, new, wanted = asked & said, said - asked, _wanted(question)
    uptake = len(taken_up) / len(asked) if asked else 1.0
    score = min(1.0, len(new) / wanted) * (1 - UPTAKE + UPTAKE * uptake)
    reason = f"{len(taken_up)} of {len(asked)} content words of the input taken up, {len(new)} new ones ({wanted} looked for)"
    if phrases.SCORERS["is_refusal"]({"text": answer}, {}).value == PASSED:
        score, reason = min(score, REFUSED), f"{reason}; it reads as a refusal to answer"
    return Verdict(round(score, 4), f"local heuristic: {reason}")


def _wanted(question: str) -> int:
    if _PLAIN_QUESTION.match(question):
        return max(1, sum(1 for part in _NEXT_PART.split(question) if part.strip()))
    counts = [_COUNTS.get(word) or (int(word) if re.fullmatch("[1-9][0-9]?", word) else 0) for word in words(question)]
    return min(max(counts, default=0), 20) or ENOUGH


def _ground_truth(inputs: Inputs, params: Params) -> Verdict:
    same = same_value(text(inputs, "generated_value"), text(inputs, "expected_value"))
    verb = "equals" if same else "does not equal"
    return passed(same, f"local heuristic: the value {verb} the expected one, case, punctuation and articles aside")


def _content(value: str) -> frozenset[str]:
    """The stems of the words that carry meaning; stray single letters do not, digits and CJK characters do."""
    found = (word for word in words(value) if word not in _STOPWORDS)
    return frozenset(word[:STEM] for word in found if len(word) > 1 or not word.isascii() or word.isdigit())


def _plain(sentence: str) -> frozenset[str]:
    """Its content, with its negations."""
    spelled_out = _NEGATED.sub("not", sentence.lower().replace("’", "'"))  # noqa: RUF001
    return _content(spelled_out) | (_NEGATIONS & {*words(spelled_out)})


def _share(found: Sequence[float]) -> float:
    return sum(found) / max(len(found), 1)


SCORERS: Final[Mapping[str, Scorer]] = {
    "groundedness": _supported(0.7),
    "is_factually_consistent": _supported(0.5),
    "detect_hallucination": _supported(1.0),
    "context_adherence": _adherence,
    "factual_accuracy": _accuracy,
    "chunk_attribution": _attribution,
    "chunk_utilization": _utilization,
    "context_relevance": _relevance,
    "completeness": _completeness,
    "ground_truth_match": _ground_truth,
}
