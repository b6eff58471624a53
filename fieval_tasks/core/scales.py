"""What a check's verdicts are measured by: from where to where its figures go, and which side is good."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Literal, TypeAlias

from fieval_tasks.core.spelling import did_you_mean, nearest

Direction: TypeAlias = Literal["higher", "lower"]


@dataclass(frozen=True)
class Scale:
    """A check's scale."""

    output: str
    """The template's output type: "Pass/Fail", "score", "numeric", "choices" or "reason"."""
    low: float = 0.0
    high: float = 1.0
    """The ends of its figures; infinite where there is none."""
    better: Direction = "higher"
    """Which figures are good."""
    turned: str = ""
    """How the platform turns an error rate or a distance, so that high is good; empty where nothing is turned."""
    good: tuple[str, ...] = ()
    """Of choices: those that pass. Empty: nobody said which are good."""

    @property
    def has_passes(self) -> bool:
        """Whether each verdict passes or fails, so that there is a pass rate."""
        return self.output == "Pass/Fail" or bool(self.good)

    @property
    def has_scores(self) -> bool:
        """Whether each verdict has a score from 0 to 1. Some choices have one; the catalogue does not say which."""
        return self.is_unit and self.output not in ("choices", "reason")

    @property
    def is_unit(self) -> bool:
        """Whether its figures are the scores of results: from 0 to 1. Else they are the verdicts' values."""
        return (self.low, self.high) == (0.0, 1.0)

    def figure(self, score: float | None, value: object) -> float | None:
        """A verdict's figure on the scale; None where it has none."""
        found = score if self.is_unit else value
        return found if isinstance(found, (int, float)) and self.low <= found <= self.high else None

    @property
    def limits(self) -> str:
        """`between 0 and 1 (100%)`, or `at 0 or above`."""
        if self.high == inf:
            return f"at {self.low:g} or above"
        return f"between {self.low:g} and {self.high:g}" + (" (100%)" if self.is_unit else "")

    def passes(self, value: object) -> bool | None:
        """Whether a verdict's choices are all among the good ones; None where it has no choice, or no choice is good."""
        named = [value.get("choice")] if isinstance(value, dict) else value if isinstance(value, list) else [value]
        choices = folded(choice for choice in named if choice is not None)
        return choices <= folded(self.good) if choices and self.good else None


def scale_of(template: str, output: str, good: Sequence[str] = ()) -> Scale:
    """The scale of a template by its name and output type. `good`: its good choices, as the user says.

    A template that the tables don't know scores from 0 to 1, and high is good: the catalogue has no field for either.
    """
    known = _OWN.get(template)
    if known is not None and known.output == output:
        return known
    return replace(Scale(output), turned=_TURNED.get(template, ""), good=tuple(good) if output == "choices" else ())


@dataclass(frozen=True)
class Offer:
    """What a check's template answers with."""

    template: str
    output: str
    choices: tuple[str, ...]
    """Empty: the catalogue does not tell them, or it answers with something else."""


def good_of(good: Mapping[str, tuple[str, ...]], check: str, template: str) -> tuple[str, ...]:
    """The choices that are said to be good of that check, by its name or its template's; none where nothing is said."""
    return next((good[name] for name in (check, template) if name in good), ())


def choice_problems(good: Mapping[str, tuple[str, ...]], offers: Mapping[str, Offer]) -> Iterator[str]:
    """A sentence for each good choice that no verdict can be. `offers`: of each check, by its name."""
    names = dict.fromkeys(name for check, offer in offers.items() for name in (check, offer.template))
    for name in good:
        if name not in names:
            meant = did_you_mean(nearest(name, names))
            yield f"good {name}: there is no check of that name (checks: {', '.join(offers)}){meant}"
    for check, offer in offers.items():
        said, known = good_of(good, check, offer.template), folded(offer.choices)
        if said and offer.output != "choices":
            yield f"good {check}: {offer.template} answers with {offer.output} and not with choices; leave it out"
            continue
        for choice in said if known else ():
            if not folded([choice]) <= known:
                meant = did_you_mean(nearest(choice, offer.choices))
                yield f"good {check}: {choice!r} is none of its choices ({', '.join(offer.choices)}){meant}"


def folded(choices: Iterable[object]) -> frozenset[str]:
    """The choices as they are compared: in any order, and in capitals or not."""
    return frozenset(str(choice).strip().casefold() for choice in choices)


_RATE, _DISTANCE = "1 - {}", "1 / (1 + {})"
# Read in the code of the platform's system templates (future-agi/future-agi, futureagi/model_hub/system_evals/function), and
# seen on the wire: a word error rate of 400 % is answered with 0.0, an RMSE of 4.24 with 0.19. Correlations and kappas, from
# -1 to 1 elsewhere, and readability and PSNR are answered from 0 to 1, too. So of all system templates only one keeps a
# scale of its own.
_TURNED = {
    "character_error_rate": _RATE.format("the character error rate"),
    "match_error_rate": _RATE.format("the match error rate"),
    "repetition_rate": _RATE.format("the repetition rate"),
    "translation_edit_rate": _RATE.format("the edit rate"),
    "word_error_rate": _RATE.format("the word error rate"),
    "word_info_lost": _RATE.format("the information lost"),
    "log_loss": _DISTANCE.format("the loss"),
    "rmse": _DISTANCE.format("the error"),
    "code_complexity": "1 for the simplest code, less for each branch",
}
"""Template -> what its score is, although it is called by what should be low."""
_OWN = {"fid_score": Scale("numeric", 0.0, inf, "lower")}
"""The Fréchet distance between two sets of pictures: no score, and 0 is best."""
