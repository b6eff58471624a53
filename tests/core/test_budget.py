"""Budgets are exact, and leave room for no more than they allow."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.core.budget import Budget, amount, budget_of, budget_problems, unpriced, written

CENTS = st.decimals("0.0001", "20", places=4, allow_nan=False)


@pytest.mark.parametrize("text", ["0.002", " 12 ", ".5", "0", "123456789012345.000000000000001"])
def test_an_amount_is_exactly_the_number_that_was_typed(text: str) -> None:
    assert amount(text) == Fraction(text.strip())


@pytest.mark.parametrize("text", ["", "-1", "$2", "1e3", "0x1", "1,5", "1/3", "nan", "1" * 16])
def test_anything_else_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(ValueError, match=r"write a number such as 0\.002, without a currency"):
        amount(text)


@given(st.integers(0, 10**12), st.integers(0, 12))
def test_an_amount_is_written_with_all_its_digits(units: int, places: int) -> None:
    exact = Fraction(units, 10**places)
    assert Fraction(written(exact).replace(",", "")) == exact


def test_a_thousand_tenths_of_a_cent_are_one_and_not_a_float_near_it() -> None:
    budget = Budget(prices={"a": amount("0.001"), "b": amount("0.002")})
    assert budget.cost_of({"a": 1_000, "b": 3, "code": 7}) == 1 + Fraction(6, 1_000)
    assert written(budget.cost_of({"a": 1_000, "b": 3})) == "1.006"


@given(
    st.none() | st.integers(1, 200),
    st.none() | CENTS,
    CENTS,
    CENTS,
    st.lists(st.tuples(st.sampled_from(["a", "b", "code"]), st.integers(1, 12)), max_size=60),
)
def test_whoever_sends_what_there_is_room_for_never_goes_beyond_and_leaves_no_room_unused(
    evaluations: int | None, cost: object, a: object, b: object, requests: list[tuple[str, int]]
) -> None:
    bound = None if cost is None else Fraction(str(cost))
    budget = Budget(evaluations, bound, {"a": Fraction(str(a)), "b": Fraction(str(b))})
    sent = {"a": 0, "b": 0, "code": 0}
    for check, wanted in requests:
        fitting = budget.room(sent, check, wanted)
        assert 0 <= fitting <= wanted
        sent[check] += fitting
        assert evaluations is None or sum(sent.values()) <= evaluations
        assert bound is None or budget.cost_of(sent) <= bound
        if fitting < wanted:
            one_more = {**sent, check: sent[check] + 1}
            assert (evaluations is not None and sum(one_more.values()) > evaluations) or (
                bound is not None and budget.cost_of(one_more) > bound
            )


def test_more_than_the_budget_that_was_sent_before_leaves_no_room_and_no_negative_one() -> None:
    assert Budget(10).room({"a": 15}, "a", 3) == 0


def test_a_cost_without_a_price_of_a_model_in_use_is_refused_and_names_the_likely_slip() -> None:
    [problem] = budget_problems("5", {"turing_flsh": "0.002"}, ["turing_flash", None])
    assert problem == (
        "--max-cost 5: turing_flash has no price, so no cost can be kept to; add --price turing_flash=X; "
        "did you mean 'turing_flsh'?"
    )
    [problem] = budget_problems("5", {"turing_flash": "0.002"}, ["turing_flash", "turing_small"])
    assert problem.endswith("add --price turing_small=X"), "a price that another check needs is no slip"
    assert not [*budget_problems(None, {}, ["turing_flash"])]
    assert not [*budget_problems("5", {}, [None])], "a template of plain code has no judge to pay"
    assert unpriced({"m": "1"}, ["m", None, "n", "n"]) == ["n"]


def test_a_cost_below_one_evaluation_is_refused() -> None:
    [problem] = budget_problems("0.001", {"m": "0.002"}, ["m"])
    assert problem == "--max-cost 0.001 does not pay for one evaluation: the cheapest costs 0.002"


def test_prices_by_model_become_prices_by_check() -> None:
    budget = budget_of(5, "1", {"m": "0.25", "unused": "9"}, {"tone": "m", "json": None})
    assert (budget.evaluations, budget.cost, budget.prices) == (5, Fraction(1), {"tone": Fraction(1, 4)})
