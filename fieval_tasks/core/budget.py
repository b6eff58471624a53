"""Prices of evaluations, and the hard ends of a run's spending: how many further evaluations a run may send.

All exact: a price is the decimal number that was typed, and no float.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Context
from fractions import Fraction
from typing import Annotated, NamedTuple

from pydantic import BeforeValidator

from fieval_tasks.core.gates import NUMBER
from fieval_tasks.core.quantities import as_written, checked
from fieval_tasks.core.spelling import did_you_mean, nearest


def amount(text: str) -> Fraction:
    """`0.002` -> exactly that. Raises ValueError for anything but a decimal number of 15 digits on each side at most."""
    if not re.fullmatch(NUMBER, text.strip()):
        raise ValueError(f"{text!r} is not an amount: write a number such as 0.002, without a currency")
    return Fraction(text.strip())


Amount = Annotated[str, BeforeValidator(as_written), checked(amount)]
"""Text such as 0.002, kept as it was written; a number is read as the text that it is written as."""


class HardEnd(NamedTuple):
    """A hard end that a run has come to."""

    option: str
    bound: str
    enough: str
    """The bound that would do for all that is left, if nothing is sent twice."""


@dataclass(frozen=True)
class Budget:
    """What a run may send at most, over all its processes. Lost replies and repeated submissions count as evaluations."""

    evaluations: int | None = None
    """`--max-items`; None: without a bound."""
    cost: Fraction | None = None
    """`--max-cost`; None: without a bound."""
    prices: Mapping[str, Fraction] = field(default_factory=dict)
    """Check -> the price of one evaluation. A check without a judge costs nothing."""

    @property
    def is_bounded(self) -> bool:
        return self.evaluations is not None or self.cost is not None

    def cost_of(self, sent: Mapping[str, int]) -> Fraction:
        """The cost of so many evaluations of each check."""
        return sum((self.prices.get(check, Fraction()) * n for check, n in sent.items()), Fraction())

    def room(self, sent: Mapping[str, int], check: str, wanted: int) -> int:
        """How many of the `wanted` further evaluations of a check may be sent, after those in `sent` (check -> evaluations)."""
        rooms = [wanted]
        if self.evaluations is not None:
            rooms.append(self.evaluations - sum(sent.values()))
        if self.cost is not None and (price := self.prices.get(check)):
            rooms.append((self.cost - self.cost_of(sent)) // price)
        return max(0, min(rooms))

    def ends_reached(self, sent: Mapping[str, int], left: Mapping[str, int]) -> list[HardEnd]:
        """The ends that keep what is left of each check from being sent; empty while there is room for one of each."""
        if all(self.room(sent, check, 1) for check in left):
            return []
        after, found = Counter(sent) + Counter(left), []
        if self.evaluations is not None and after.total() > self.evaluations:
            found.append(HardEnd("--max-items", str(self.evaluations), str(after.total())))
        if self.cost is not None and self.cost_of(after) > self.cost:
            bound, enough = (written(cost).replace(",", "") for cost in (self.cost, self.cost_of(after)))
            found.append(HardEnd("--max-cost", bound, enough))
        return found


UNBOUNDED = Budget()


def budget_of(
    evaluations: int | None, cost: str | None, prices: Mapping[str, str], models: Mapping[str, str | None]
) -> Budget:
    """The budget of a plan's fields, with its prices by model. `models`: check -> its judge model; None: it has no judge."""
    by_check = {check: amount(prices[model]) for check, model in models.items() if model and model in prices}
    return Budget(evaluations, None if cost is None else amount(cost), by_check)


def unpriced(prices: Collection[str], models: Iterable[str | None]) -> list[str]:
    """The judge models without a price, in their order."""
    return [model for model in dict.fromkeys(models) if model is not None and model not in prices]


def budget_problems(cost: str | None, prices: Mapping[str, str], models: Iterable[str | None]) -> Iterator[str]:
    """A sentence for each reason why a plan's `max_cost` can't be kept with these judge models."""
    if cost is None:
        return
    models = list(models)
    for model in unpriced(prices, models):
        meant = did_you_mean(nearest(model, [priced for priced in prices if priced not in models]))
        yield f"--max-cost {cost}: {model} has no price, so no cost can be kept to; add --price {model}=X{meant}"
    known = [amount(prices[model]) for model in models if model and model in prices]
    if known and amount(cost) < min(known):
        yield f"--max-cost {cost} does not pay for one evaluation: the cheapest costs {written(min(known))}"


def ends_in_words(
    evaluations: int | None, cost: str | None, prices: Collection[str], models: Iterable[str | None]
) -> Iterator[str]:
    """Sentences on a plan's hard ends, and on what its prices leave out, for the user before anything is sent."""
    if evaluations is not None:
        yield f"--max-items {evaluations}: {evaluations:,} evaluations at most are sent, those that are sent again included"
    if cost is not None:
        yield f"--max-cost {cost}: no more than that is spent, and what is sent again counts"
    if prices and (without := unpriced(prices, models)):
        yield f"{', '.join(without)} has no price, so the cost is without its evaluations (--price {without[0]}=X)"


def written(exact: Fraction) -> str:
    """An amount with all its digits: 2.96, 0.002, 1,250. Only for what has a finite decimal form, as sums of prices have."""
    # A budget of 15 digits on each side, spent a billion times, has less than 60 digits.
    return f"{Context(prec=60).divide(exact.numerator, exact.denominator):,f}"
