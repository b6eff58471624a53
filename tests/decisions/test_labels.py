from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.decisions import labels as module
from fieval_tasks.decisions.agreement import Confusion, Corrected
from fieval_tasks.decisions.labels import NotCorrectable, corrected, kappa, ppi, transferred

CELLS = st.builds(Confusion, *[st.integers(0, 60)] * 4)
COUNTS = st.integers(0, 400)
RUNS = 2000
JUDGE = (0.9, 0.7)
"""How often it is right on what people pass, and on what they fail."""


def asked(confusion: Confusion, passed: int, failed: int, by: Callable[..., Corrected] = corrected) -> Corrected | None:
    try:
        return by(confusion, passed, failed)
    except NotCorrectable:
        return None


# -- what the interval holds ----------------------------------------------------------------------------------------


def judged(random: np.random.Generator, n: int, rate: float) -> tuple[Confusion, int, int]:
    """`n` labelled items of that true rate, and how many of them the judge passed and failed."""
    passed = random.binomial(n, rate)
    both, none = random.binomial(passed, JUDGE[0]), random.binomial(n - passed, JUDGE[1])
    confusion = Confusion(both, n - passed - none, passed - both, none)
    return confusion, both + n - passed - none, passed - both + none


def coverage(found: Iterator[Corrected | None], rate: float) -> float:
    held = [one is None or one.interval[0] <= rate <= one.interval[1] for one in found]
    assert len(held) == RUNS
    return sum(held) / RUNS


@pytest.mark.parametrize("labels", [30, 100, 300])
def test_the_corrected_rate_of_labelled_items_is_held_at_its_level(labels: int) -> None:
    random = np.random.default_rng(labels)
    runs = ((judged(random, labels, 0.72), judged(random, 700 - labels, 0.72)) for _ in range(RUNS))
    held = coverage((asked(labelled[0], *others[1:]) for labelled, others in runs), 0.72)
    assert held == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("labels", [30, 100, 300])
def test_the_corrected_rate_of_other_items_is_held_at_its_level(labels: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DRAWS", 800)  # as many as take no time
    random = np.random.default_rng(labels)
    runs = ((judged(random, labels, 0.6)[0], judged(random, 1000, 0.72)) for _ in range(RUNS))
    held = coverage((asked(confusion, *others[1:], by=transferred) for confusion, others in runs), 0.72)
    assert held == pytest.approx(0.95, abs=0.015)


def test_a_judge_that_passes_too_much_is_corrected_downwards() -> None:
    found = corrected(Confusion(65, 8, 7, 20), 656, 244)
    assert found.judge_rate == pytest.approx(0.729)
    assert found.value == pytest.approx(0.72, abs=0.01)
    assert found.interval[0] < 0.72 < found.interval[1]
    assert found.interval[1] - found.interval[0] < 0.18  # that of the labels alone


# -- laws -----------------------------------------------------------------------------------------------------------


@given(CELLS, COUNTS, COUNTS, st.sampled_from([corrected, transferred]))
def test_the_value_lies_in_its_interval_and_that_within_0_and_1(
    confusion: Confusion, passed: int, failed: int, by: Callable[..., Corrected]
) -> None:
    if found := asked(confusion, passed, failed, by):
        low, high = found.interval
        assert 0 <= low <= found.value <= high <= 1
        assert low < high


@given(CELLS, COUNTS, COUNTS)
def test_failures_and_passes_are_treated_alike(confusion: Confusion, passed: int, failed: int) -> None:
    one = asked(confusion, passed, failed)
    other = asked(Confusion(*reversed(confusion.cells)), failed, passed)
    assert (one is None) == (other is None)
    if one and other:
        assert one.value == pytest.approx(1 - other.value)
        assert one.interval == pytest.approx((1 - other.interval[1], 1 - other.interval[0]))


@given(CELLS, COUNTS, COUNTS)
def test_more_confidence_takes_a_wider_interval(confusion: Confusion, passed: int, failed: int) -> None:
    for by in (corrected, transferred):
        narrow, wide = (asked(confusion, passed, failed, partial(by, confidence=level)) for level in (0.8, 0.99))
        if narrow and wide:
            assert wide.interval[0] <= narrow.interval[0] <= narrow.interval[1] <= wide.interval[1]
        assert not narrow or wide, "what is possible at a low confidence is at a high one"


@given(st.lists(st.tuples(st.booleans(), st.booleans())))
def test_a_confusion_counts_every_pair_once(pairs: list[tuple[bool, bool]]) -> None:
    confusion = Confusion.of(pairs)
    assert confusion.n == len(pairs) == confusion.passed + confusion.failed
    assert confusion.passed == sum(person for _, person in pairs)
    assert confusion.both_passed + confusion.judge_only == sum(judge for judge, _ in pairs)


# -- bad days -------------------------------------------------------------------------------------------------------


def test_a_run_whose_items_are_all_labelled_is_judged_by_the_labels() -> None:
    found = corrected(Confusion(20, 5, 3, 12), 0, 0)
    assert (found.method, found.value) == ("labels", 23 / 40)
    assert found.interval[0] < 23 / 40 < found.interval[1]


def test_labels_that_are_all_passed_leave_a_width() -> None:
    found = corrected(Confusion(30, 0, 0, 0), 970, 0)
    assert found.value == found.interval[1] == 1
    assert found.interval[0] < 0.97


CHANCE = [(3, 7, 7, 3), (3, 3, 7, 7), (0, 10, 10, 0)]
IMPOSSIBLE = "of these items, which by the labels of other items can't be"


@pytest.mark.parametrize(
    ("by", "cells", "rest", "why"),
    [
        (corrected, (0, 0, 0, 0), (50, 50), "there are none"),
        (corrected, (1, 0, 0, 0), (50, 50), "there is 1"),
        *((corrected, cells, (70, 30), "no better than chance") for cells in CHANCE),
        *((transferred, cells, (70, 30), "no better than chance") for cells in CHANCE),
        (corrected, (20, 10, 0, 0), (970, 0), "passes 100 % of what people pass, and fails 0 % of what they fail"),
        (transferred, (20, 0, 5, 0), (70, 30), "all 25 labelled items are passed"),
        (transferred, (0, 5, 0, 20), (70, 30), "all 25 labelled items are failed"),
        (transferred, (70, 60, 60, 110), (1000, 0), f"it passes 100 % {IMPOSSIBLE}"),
        (transferred, (70, 60, 60, 110), (0, 1000), f"it passes 0 % {IMPOSSIBLE}"),
        (transferred, (20, 5, 5, 20), (0, 0), "no verdicts"),
    ],
)
def test_labels_that_allow_no_correction_are_refused_and_it_is_said_why(
    by: Callable[..., Corrected], cells: tuple[int, ...], rest: tuple[int, int], why: str
) -> None:
    with pytest.raises(NotCorrectable, match=why):
        by(Confusion(*cells), *rest)


def test_a_judge_just_above_chance_is_taken() -> None:
    assert corrected(Confusion(51, 50, 49, 51), 50, 50)


# -- agreement with others ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("cells", [(60, 12, 5, 23), (20, 3, 1, 6), (9, 1, 14, 6)])
@pytest.mark.parametrize("others", [(640, 260), (30, 40)])
def test_ppi_is_that_of_its_authors(cells: tuple[int, int, int, int], others: tuple[int, int]) -> None:
    reference = pytest.importorskip("ppi_py", reason="ppi-python, the authors' own, is not installed")
    judge, person = np.repeat([1.0, 1, 0, 0], cells), np.repeat([1.0, 0, 1, 0], cells)
    unlabelled = np.repeat([1.0, 0.0], others)
    ours, theirs = ppi(cells, *others), reference.ppi_mean_ci(person, judge, unlabelled, alpha=0.05)
    assert ours.point == pytest.approx(float(np.mean(theirs)), abs=1e-9)
    assert ours.standard_error == pytest.approx(float(theirs[1][0] - theirs[0][0]) / 2 / 1.959964, rel=0.05)
    assert corrected(Confusion(*cells), *others).value == pytest.approx(ours.point)


def test_rogan_and_gladen_s_rate_is_that_of_truescore_where_it_has_one() -> None:
    from truescore.correct import rogan_gladen_estimate

    cells = (60, 12, 5, 23)
    judge, person = np.repeat([1, 1, 0, 0], cells), np.repeat([1, 0, 1, 0], cells)
    theirs = rogan_gladen_estimate(judge, person, np.arange(100))
    assert transferred(Confusion(*cells), 72, 28).value == pytest.approx(theirs.point)


def test_kappa_is_known() -> None:
    assert kappa(Confusion(20, 5, 10, 15)) == pytest.approx(0.4)  # the example of Wikipedia's page on it
    assert kappa(Confusion(10, 0, 0, 0)) == 1


def test_what_takes_a_second_to_import_is_imported_for_a_correction_only() -> None:
    code = (
        "import sys, fieval_tasks.decisions.agreement as _; print([m for m in ('numpy', 'scipy') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
