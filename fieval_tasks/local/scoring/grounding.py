"""Judge templates about a text and the context it should rest on.

A claim is a sentence of the output that says something. The context supports it when the entailment heuristic of
the `ai-evaluation` package finds it covered by up to three context sentences, and it brings in no name of its own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from fieval_tasks.local.scoring.entailment import Relation, relation
from fieval_tasks.local.scoring.tokens import NEGATIONS, is_content, sentences, spelled_out, stem, stems, words
from fieval_tasks.local.verdicts import Inputs, Params, Verdict, passed

Text = str | list[str]

GROUNDED_FROM: Final = 0.7
"""Share of supported claims from which a text counts as grounded."""
CONSISTENT_FROM: Final = 0.5
EVIDENCE: Final = 3
"""Sentences of context that may together support one claim."""
USED_FROM: Final = 0.5
"""Share of a context sentence's content words from which the output is taken to use it."""

_NAME: Final = re.compile(r"\b[A-Z][\w-]+")
_COURTESY: Final = re.compile(
    r"(?:sure|certainly|of course|i hope|hope this|let me know|feel free|here (?:is|are)|thank)\b", re.IGNORECASE
)
_OPENING_WORD: Final = re.compile(r"(?:ly|ing|ed)$")


class Standing(Enum):
    """Where the context leaves a claim."""

    SUPPORTED = "supported"
    CONTRADICTED = "contradicted"
    UNSUPPORTED = "not supported"


@dataclass(frozen=True)
class Tally:
    """The claims of a text, counted by standing."""

    claims: int
    supported: int
    contradicted: int

    @property
    def share(self) -> float:
        """Supported claims out of all; 1.0 where there is nothing to support."""
        return self.supported / self.claims if self.claims else 1.0

    def __str__(self) -> str:
        if not self.claims:
            return "local heuristic: the output makes no claim that could be checked"
        text = f"local heuristic: {self.supported} of {self.claims} output sentences supported by the context"
        return f"{text}, {self.contradicted} contradicted" if self.contradicted else text


def groundedness(inputs: Inputs, params: Params) -> Verdict:
    tally = _tally(inputs)
    grounded = tally.share >= GROUNDED_FROM and not tally.contradicted
    return passed(grounded, f"{tally} ({_against(tally.share, GROUNDED_FROM)})")


def detect_hallucination(inputs: Inputs, params: Params) -> Verdict:
    tally = _tally(inputs)
    return passed(tally.share == 1.0, f"{tally} ({_against(tally.share, 1.0)})")


def is_factually_consistent(inputs: Inputs, params: Params) -> Verdict:
    tally = _tally(inputs)
    consistent = tally.share >= CONSISTENT_FROM and not tally.contradicted
    return passed(consistent, f"{tally} ({_against(tally.share, CONSISTENT_FROM)})")


def context_adherence(inputs: Inputs, params: Params) -> Verdict:
    tally = _tally(inputs)
    return Verdict(tally.share, str(tally))


def factual_accuracy(inputs: Inputs, params: Params) -> Verdict:
    tally = _tally(inputs)
    score = max(0.0, tally.share - tally.contradicted / max(1, tally.claims))
    return Verdict(score, f"{tally}; a contradiction cancels a supported sentence")


def chunk_attribution(inputs: Inputs, params: Params) -> Verdict:
    used, total = _used(inputs)
    return passed(used > 0, f"local heuristic: {used} of {total} context sentences used by the output")


def chunk_utilization(inputs: Inputs, params: Params) -> Verdict:
    used, total = _used(inputs)
    return Verdict(
        used / total if total else 0.0, f"local heuristic: {used} of {total} context sentences used by the output"
    )


def context_relevance(inputs: Inputs, params: Params) -> Verdict:
    asked = set(stems(_joined(inputs["input"])))
    met = asked & set(stems(_joined(inputs["context"])))
    score = len(met) / len(asked) if asked else 0.0
    return Verdict(
        score, f"local heuristic: {len(met)} of {len(asked)} content words of the input occur in the context"
    )


def standings(output: str, context: str) -> list[tuple[str, Standing]]:
    """Each claim of the output, and where the context leaves it."""
    grounds = list(dict.fromkeys(frozenset(_plain(sentence)) for sentence in sentences(context)))
    vocabulary = frozenset(stem(word) for word in words(context))
    return [(claim, _standing(claim, grounds, vocabulary)) for claim in _claims(output)]


def _tally(inputs: Inputs) -> Tally:
    found = [standing for _, standing in standings(_joined(inputs["output"]), _joined(inputs["context"]))]
    return Tally(len(found), found.count(Standing.SUPPORTED), found.count(Standing.CONTRADICTED))


def _claims(output: str) -> list[str]:
    return [
        sentence
        for sentence in sentences(output)
        if not sentence.endswith("?") and not _COURTESY.match(sentence) and any(map(is_content, words(sentence)))
    ]


def _standing(claim: str, grounds: list[frozenset[str]], vocabulary: frozenset[str]) -> Standing:
    said = frozenset(_plain(claim))
    evidence = _evidence(said, grounds)
    if not evidence:
        return Standing.UNSUPPORTED
    denies = bool(said & NEGATIONS)
    if _relation(evidence[:1], said) is Relation.CONTRADICTS and denies != bool(evidence[0] & NEGATIONS):
        return Standing.CONTRADICTED
    # A "not" in a sentence that only helps out would read as a contradiction of the whole.
    agreeing = [evidence[0], *(part for part in evidence[1:] if bool(part & NEGATIONS) == denies)]
    found = _relation(agreeing, said)
    if found is Relation.SUPPORTS and not _new_names(claim, vocabulary):
        return Standing.SUPPORTED
    return Standing.CONTRADICTED if found is Relation.CONTRADICTS else Standing.UNSUPPORTED


def _evidence(said: frozenset[str], grounds: list[frozenset[str]]) -> list[frozenset[str]]:
    """The few context sentences that cover most of the claim, the best first."""
    chosen: list[frozenset[str]] = []
    uncovered = said - NEGATIONS
    while uncovered and len(chosen) < EVIDENCE:
        best = max(grounds, key=lambda part: len(part & uncovered), default=frozenset())
        if not best & uncovered:
            break
        chosen.append(best)
        uncovered -= best
    return chosen


def _relation(evidence: Iterable[frozenset[str]], said: frozenset[str]) -> Relation:
    return relation(" ".join(" ".join(sorted(part)) for part in evidence), " ".join(sorted(said)))[0]


def _plain(sentence: str) -> list[str]:
    """A sentence as the heuristic should see it: stems, numbers and negations."""
    return [stem(word) for word in words(spelled_out(sentence)) if word in NEGATIONS or is_content(word)]


def _new_names(claim: str, vocabulary: frozenset[str]) -> list[str]:
    """Capitalised words the context never mentions; an opening word only where it looks like a name."""
    return [
        match[0]
        for match in _NAME.finditer(claim)
        if is_content(match[0].lower())
        and not (match.start() == 0 and _OPENING_WORD.search(match[0]))
        and not all(stem(word) in vocabulary for word in words(match[0]))
    ]


def _used(inputs: Inputs) -> tuple[int, int]:
    said = set(stems(_joined(inputs["output"])))
    parts = [set(found) for sentence in sentences(_joined(inputs["context"])) if (found := stems(sentence))]
    return sum(len(part & said) >= USED_FROM * len(part) for part in parts), len(parts)


def _joined(text: Text) -> str:
    return text if isinstance(text, str) else "\n".join(text)


def _against(share: float, bar: float) -> str:
    return f"{share:.2f} {'>=' if share >= bar else '<'} {bar:g}"
