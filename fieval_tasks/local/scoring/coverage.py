"""`completeness`: how much of what was asked an answer takes up."""

from __future__ import annotations

import re
from collections.abc import Set
from typing import Final

from fieval_tasks.local.scoring.phrases import is_refusal
from fieval_tasks.local.scoring.tokens import is_content, stem, words
from fieval_tasks.local.verdicts import Inputs, Params, Verdict

ENOUGH: Final = 8
"""New content words looked for when something is to be described, explained or written."""
ECHO: Final = 0.6
"""Weight of taking up the input's topics; the rest is for saying something new."""
ECHO_OF_A_FACT: Final = 0.3
"""The same for a plain question, whose whole answer may be one new word."""
REFUSED: Final = 0.1
"""Highest score of an answer that declines to answer."""
CUT_OFF: Final = 0.8
"""What is left of the score of prose that stops in the middle of a sentence."""

_SENTENCE_END: Final = re.compile(r"[.!?]\s")
_LISTED: Final = re.compile(r"\s*(?:[-*•#|+>]|\d+[.):])")
_OPEN_END: Final = re.compile(r"[^\W_]$|[,;(]$")

_PLAIN_QUESTION: Final = re.compile(
    r"\W*(?:who|whom|whose|when|where|which|how (?:many|much|old|long|far|tall|big)|what(?:'s| is| are| was| were| year)"
    r"|is|are|was|were|do|does|did|can|has|have|will)\b",
    re.IGNORECASE,
)
_NEXT_QUESTION: Final = re.compile(
    r"\?+|\b(?:and|or|also|,)\s+(?=(?:who|when|where|which|why|how|what)\b)|;", re.IGNORECASE
)
_NUMBER_WORDS: Final = {
    word: number
    for number, word in enumerate(("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"), start=2)
}
_TASKS: Final = """
    answer compare compose compute convert create define describe design discuss draft edit explain find generate give
    identify list make mention name outline please produce provide rewrite sentence show suggest summarize tell text
    translate use using word write following given noinput
"""
_TASK_WORDS: Final = frozenset(map(stem, _TASKS.split()))


def completeness(inputs: Inputs, params: Params) -> Verdict:
    """Score 0..1: the share of new content words looked for, weighed by the share of topics taken up."""
    asked, answer = _text(inputs["input"]), _text(inputs["output"])
    topics, said = _topics(asked), {stem(word) for word in words(answer) if is_content(word)}
    taken_up, new = topics & said, said - {stem(word) for word in words(asked)}
    wanted = _wanted(asked)
    echo = ECHO_OF_A_FACT if wanted < ENOUGH and _questions(asked) == 1 else ECHO
    uptake = len(taken_up) / len(topics) if topics else 1.0
    score = min(1.0, len(new) / wanted) * (1 - echo + echo * uptake)
    reason = (
        f"local heuristic: {len(taken_up)} of {len(topics)} topics of the input taken up, "
        f"{len(new)} new content words ({wanted} looked for)"
    )
    if is_refusal(answer):
        return Verdict(round(min(score, REFUSED), 4), f"{reason}; it reads as a refusal to answer")
    if _is_cut_off(answer):
        return Verdict(round(score * CUT_OFF, 4), f"{reason}; it stops in the middle of a sentence")
    return Verdict(round(score, 4), reason)


def _is_cut_off(answer: str) -> bool:
    """True for prose (full stops, and no list at its end) whose last character ends no sentence."""
    last_line = answer.strip().rpartition("\n")[2]
    is_prose = _SENTENCE_END.search(answer) is not None and _LISTED.match(last_line) is None
    return is_prose and _OPEN_END.search(last_line) is not None


def _topics(asked: str) -> Set[str]:
    return {stem(word) for word in words(asked) if is_content(word) and word not in _NUMBER_WORDS} - _TASK_WORDS


def _wanted(asked: str) -> int:
    """How many new content words would make a whole answer."""
    counts = [
        _NUMBER_WORDS.get(word) or (int(word) if word.isdecimal() and len(word) < 3 else 0) for word in words(asked)
    ]
    if _PLAIN_QUESTION.match(asked):
        return _questions(asked)
    return max(min(max(counts, default=0), 20), 1) if any(counts) else ENOUGH


def _questions(asked: str) -> int:
    return max(1, sum(1 for part in _NEXT_QUESTION.split(asked) if part.strip()))


def _text(value: str | list[str]) -> str:
    return value if isinstance(value, str) else "\n".join(value)
