"""Text as the heuristics see it: sentences, words, and the words that carry meaning."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Final

_SENTENCE_END: Final = re.compile(r"(?<=[.!?。！？])[\"')\]]*\s+|\n+|(?<=[。！？])")  # noqa: RUF001
_CJK: Final = re.compile(r"([\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af])")
_WORD: Final = re.compile(r"\w+(?:[.,]\d+)*", re.UNICODE)
_NOT: Final = re.compile(r"\b(?:can't|cannot|won't|([a-z]+)n't)\b")

_STOPWORDS: Final = """
    a about above after again all also am an and any are as at be because been before being below between both but
    by can could did do does doing don down during each few for from further get had has have having he her here hers
    him his how i if in into is it its itself just let me more most much must my no nor not now of off on once only
    or other our ours out over own per please same shall she should so some such than that the their theirs them then
    there these they this those through to too under until up upon us very was we were what when where whether which
    while who whom whose why will with within without would yes yet you your yours
"""
STOPWORDS: Final = frozenset(_STOPWORDS.split())

NEGATIONS: Final = frozenset({"not", "never", "no", "none", "neither", "nor", "cannot"})


def sentences(text: str) -> list[str]:
    """The sentences and lines of a text, bullets and blank ones dropped."""
    parts = (part.strip().lstrip("-*•#> ").strip() for part in _SENTENCE_END.split(text))
    return [part for part in parts if part]


def words(text: str) -> list[str]:
    """Lower-case words and numbers, in order; each CJK character is a word of its own."""
    return _WORD.findall(_CJK.sub(r" \1 ", text.lower().replace("’", "'")))  # noqa: RUF001


def stems(text: str) -> list[str]:
    """The words that carry meaning, in order, stemmed."""
    return [stem(word) for word in words(text) if is_content(word)]


def is_content(word: str) -> bool:
    """False for function words and for stray single letters; digits and CJK characters count."""
    return word not in STOPWORDS and word not in NEGATIONS and (len(word) > 1 or not word.isascii() or word.isdigit())


def spelled_out(text: str) -> str:
    """The text with `isn't` as `is not` and the like, so that a negation is a word of its own."""
    return _NOT.sub(lambda match: f"{match[1] or 'can'} not", text.lower().replace("’", "'"))  # noqa: RUF001


@lru_cache(maxsize=65536)
def stem(word: str) -> str:
    """A crude stem: plural and verb endings off, so that `orbits`, `orbiting` and `orbited` agree."""
    if len(word) <= 3 or not word.isascii() or not word.isalpha():
        return word
    for ending, replacement in _ENDINGS:
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            word = word[: -len(ending)] + replacement
            break
    if len(word) > 3 and word[-1] == word[-2] and word[-1] not in "aeiouls":
        word = word[:-1]
    return word[:-1] if word.endswith("e") and len(word) > 3 else word


_ENDINGS: Final = (
    ("ies", "y"),
    ("sses", "ss"),
    ("ied", "y"),
    ("xes", "x"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("ingly", ""),
    ("edly", ""),
    ("ing", ""),
    ("ed", ""),
    ("ly", ""),
    ("ss", "ss"),
    ("us", "us"),
    ("is", "is"),
    ("s", ""),
)
