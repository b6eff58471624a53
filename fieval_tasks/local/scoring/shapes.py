"""The shapes in which templates are scored, so that a family of them is a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from fieval_tasks.local.verdicts import Inputs, Params, Unscorable, Verdict, passed

Scorer = Callable[[Inputs, Params], Verdict]
# Reads what a measure takes from an item. Raises Unscorable where it is not there.
Arguments = Callable[[Inputs, Params], tuple[Any, ...]]


def measured(read: Arguments, measures: Mapping[str, tuple[str, Callable[..., Any]]]) -> dict[str, Scorer]:
    """Scorers by template, each a sentence and a measure of what `read` gives.

    A measure gives the score, or the score and the further facts that its sentence names after {0}, the score.
    """

    def scorer(sentence: str, measure: Callable[..., Any]) -> Scorer:
        def score(inputs: Inputs, params: Params) -> Verdict:
            found = measure(*read(inputs, params))
            value, *facts = found if isinstance(found, tuple) else (found,)
            value = min(1.0, max(0.0, float(value)))
            return Verdict(value, sentence.format(value, *facts))

        return score

    return {name: scorer(*measure) for name, measure in measures.items()}


def valid(name: str, read: Callable[[str], object]) -> Scorer:
    """Passes a text that `read` takes, and says what else is wrong with it by the error's words."""

    def check(inputs: Inputs, params: Params) -> Verdict:
        value = inputs["text"] if isinstance(inputs["text"], str) else " ".join(inputs["text"])
        try:
            read(value)
        except RecursionError:
            return passed(False, f"Text is not valid {name}: nested too deeply")
        except (ValueError, SyntaxError) as error:
            return passed(False, f"Text is not valid {name}: {error}")
        return passed(True, f"Text is valid {name}")

    return check


def unit(coefficient: float) -> float:
    """A coefficient from -1 to 1, moved to 0..1."""
    return (coefficient + 1) / 2


def as_many(one: list[Any], other: list[Any], what: str, at_least: int = 1) -> tuple[list[Any], list[Any]]:
    """Both, or Unscorable where they do not go in pairs."""
    if len(one) != len(other) or len(one) < at_least:
        raise Unscorable(
            f"'output' has {len(one)} {what} and 'expected' {len(other)}: they must be as many, and at least {at_least}"
        )
    return one, other
