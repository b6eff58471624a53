"""`readability_score`: how easily a text reads."""

from __future__ import annotations

import re
from typing import Final

from fieval_tasks.local.scoring.readings import text
from fieval_tasks.local.scoring.tokens import sentences
from fieval_tasks.local.verdicts import Inputs, Params, Verdict

_WORD: Final = re.compile(r"[A-Za-z]+(?:'[a-z]+)?")
_VOWELS: Final = re.compile(r"[aeiouy]+")


def readability_score(inputs: Inputs, params: Params) -> Verdict:
    """Score: Flesch reading ease (1948) over 100, within 0..1; syllables are counted as groups of vowels."""
    found = _WORD.findall(text(inputs, "text"))
    if not found:
        return Verdict(0.0, "No English words to read")
    per_sentence = len(found) / max(len(sentences(text(inputs, "text"))), 1)
    per_word = sum(map(_syllables, found)) / len(found)
    ease = 206.835 - 1.015 * per_sentence - 84.6 * per_word
    return Verdict(round(min(1.0, max(0.0, ease / 100)), 4), f"Flesch reading ease: {ease:.1f}")


def _syllables(word: str) -> int:
    lower = word.lower()
    groups = len(_VOWELS.findall(lower))
    silent = lower.endswith("e") and not lower.endswith(("le", "ee"))
    return max(1, groups - silent)
