"""Judge templates about a text and the context it should rest on.

A claim is a sentence of the output that says something. Its *support*, from 0 to 1, is how much of it stands in the
context: the mean of the share of its content words that occur there and of the share of its word pairs that do (ROUGE-2
precision, Lin 2004). A claim with a name or a number that the context lacks has half of that, and one that is denied by
the sentence closest to it has none. `python -m benchmarks agreement` says how far that agrees with people.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from fieval_tasks.local.scoring.tokens import NEGATIONS, is_content, sentences, spelled_out, stem, stems, words
from fieval_tasks.local.verdicts import Inputs, Params, Verdict, passed

Text = str | list[str]

SUPPORTED_FROM: Final = 0.55
"""Support from which a claim counts as supported. On 239 summaries with people's judgements (QAGS, XSUM) the share of right
verdicts, both kinds weighed alike, is highest between 0.54 and 0.56."""
SAME_SENTENCE_FROM: Final = 0.8
"""Share of a claim's content words from which a sentence of the context speaks of the same, so that it may deny it."""
GROUNDED_FROM: Final = 0.7
"""Share of supported claims from which a text counts as grounded."""
CONSISTENT_FROM: Final = 0.5
USED_FROM: Final = 0.5
"""Share of a context sentence's content words from which the output is taken to use it."""

_NAME: Final = re.compile(r"\b[A-Z][\w-]+")
_COURTESY: Final = re.compile(
    r"(?:sure|certainly|of course|i hope|hope this|let me know|feel free|here (?:is|are)|thank)\b", re.IGNORECASE
)
_OPENING_WORD: Final = re.compile(r"(?:ly|ing|ed)$")


@dataclass(frozen=True)
class Context:
    """What a text should rest on."""

    words: frozenset[str]
    stems: frozenset[str]
    pairs: frozenset[tuple[str, str]]
    sentences: Sequence[frozenset[str]]
    """The stems of each, with its negations."""

    @classmethod
    def of(cls, text: str) -> Context:
        said = words(text)
        parts = dict.fromkeys(frozenset(_plain(sentence)) for sentence in sentences(text))
        return cls(frozenset(said), frozenset(map(stem, said)), frozenset(pairwise(said)), [*parts])

    def supports(self, claim: str) -> float:
        """0 to 1."""
        if self.denies(claim):
            return 0.0
        said = words(claim)
        covered = _share([stem(word) in self.stems for word in said if is_content(word)])
        support = (covered + _share([pair in self.pairs for pair in pairwise(said)], otherwise=covered)) / 2
        return support / 2 if self._lacks_something_named_in(claim) else support

    def denies(self, claim: str) -> bool:
        """One of the two says "not", of the same."""
        said = frozenset(_plain(claim))
        content = said - NEGATIONS
        closest = max(self.sentences, key=lambda sentence: len(sentence & content), default=frozenset())
        is_same = len(closest & content) >= SAME_SENTENCE_FROM * len(content)
        return is_same and bool(closest & NEGATIONS) != bool(said & NEGATIONS)

    def _lacks_something_named_in(self, claim: str) -> bool:
        """A capitalised word or a number; an opening word only where it looks like a name."""
        numbers = (word for word in words(claim) if word[0].isdigit())
        names = (
            name[0]
            for name in _NAME.finditer(claim)
            if is_content(name[0].lower()) and not (name.start() == 0 and _OPENING_WORD.search(name[0]))
        )
        lacks_number = any(number not in self.words for number in numbers)
        return lacks_number or any(stem(word) not in self.stems for name in names for word in words(name))


@dataclass(frozen=True)
class Tally:
    """What became of the claims of a text."""

    support: Sequence[float]
    """Of each claim."""
    contradicted: int

    @property
    def supported(self) -> int:
        return sum(support >= SUPPORTED_FROM for support in self.support)

    @property
    def share(self) -> float:
        """Supported claims out of all; 1.0 where there is nothing to support."""
        return self.supported / len(self.support) if self.support else 1.0

    @property
    def mean(self) -> float:
        """Support of the claims; 1.0 where there are none."""
        return sum(self.support) / len(self.support) if self.support else 1.0

    def __str__(self) -> str:
        if not self.support:
            return "local heuristic: the output makes no claim that could be checked"
        text = f"local heuristic: {self.supported} of {len(self.support)} output sentences supported by the context"
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
    return Verdict(tally.mean, f"{tally}; mean support {tally.mean:.2f}")


def factual_accuracy(inputs: Inputs, params: Params) -> Verdict:
    tally = _tally(inputs)
    score = max(0.0, tally.share - tally.contradicted / max(1, len(tally.support)))
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


def _tally(inputs: Inputs) -> Tally:
    context, claims = Context.of(_joined(inputs["context"])), _claims(_joined(inputs["output"]))
    return Tally([context.supports(claim) for claim in claims], sum(map(context.denies, claims)))


def _claims(output: str) -> list[str]:
    return [
        sentence
        for sentence in sentences(output)
        if not sentence.endswith("?") and not _COURTESY.match(sentence) and any(map(is_content, words(sentence)))
    ]


def _plain(sentence: str) -> list[str]:
    """Its stems and its negations."""
    return [stem(word) for word in words(spelled_out(sentence)) if word in NEGATIONS or is_content(word)]


def _share(found: Sequence[bool], *, otherwise: float = 0.0) -> float:
    return sum(found) / len(found) if found else otherwise


def _used(inputs: Inputs) -> tuple[int, int]:
    said = set(stems(_joined(inputs["output"])))
    parts = [set(found) for sentence in sentences(_joined(inputs["context"])) if (found := stems(sentence))]
    return sum(len(part & said) >= USED_FROM * len(part) for part in parts), len(parts)


def _joined(text: Text) -> str:
    return text if isinstance(text, str) else "\n".join(text)


def _against(share: float, bar: float) -> str:
    return f"{share:.2f} {'>=' if share >= bar else '<'} {bar:g}"
