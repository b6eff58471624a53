"""Which items decide a gate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from fieval_tasks.core.gates import Gate, GateVerdict
from fieval_tasks.core.items import Result
from fieval_tasks.report.deciding import Deciding, deciding
from fieval_tasks.report.pages import html
from fieval_tasks.report.summary import GateOutcome
from tests.report.report_examples import failed, item, judged, reported, scored


def found(text: str, verdict: str, run: list[Result]) -> Deciding:
    gate = GateOutcome.of(Gate.parse(text), GateVerdict(verdict), "…")
    return deciding(gate, reported(run, segments={"lang": None}))


HALF = [judged(row, row % 2 == 0) for row in range(10)]
"""Ten rows of which five pass."""


@pytest.mark.parametrize(
    ("gate", "verdict", "run", "said"),
    [
        (">= 0.7", "FAIL", HALF, "these 5 items that did not pass decide it: had 2 of them passed, the gate would pass"),
        (
            ">= 0.9", "FAIL", [*HALF, failed(11), item(12)],
            "these 5 items that did not pass decide it: had 4 of them, and all 2 without a verdict, passed, the gate would pass",
        ),
        (">= 0.55", "UNDECIDED", [*HALF, failed(11), item(12)], "these 2 items without a verdict decide it: the gate passes if all of them pass"),
        (">= 0.5", "UNDECIDED", [*HALF, failed(11), item(12)], "these 2 items without a verdict decide it: the gate passes if 1 or more of them pass"),
        ("> 0.5", "UNDECIDED", [*HALF, item(12)], "this item without a verdict decides it: the gate passes if it passes"),
        (">= 0.3", "PASS", HALF, "2 more items could fail, and it would still pass"),
        (">= 0.5", "PASS", HALF, "one more item that does not pass, and it would fail"),
    ],
)  # fmt: skip
def test_a_floor_of_a_pass_rate_says_how_many_verdicts_it_hangs_on(
    gate: str, verdict: str, run: list[Result], said: str
) -> None:
    assert found(f"groundedness.pass_rate {gate}", verdict, run).sentence == said


def test_the_links_lead_to_the_items_of_the_gates_check_and_segment() -> None:
    run = [judged(row, row > 2, traits={"lang": "fr" if row % 2 else "de"}) for row in range(6)]
    assert found("groundedness.pass_rate[lang=fr] >= 0.9", "FAIL", run).views == {
        "not passed": {"check": "groundedness", "segment": "lang:fr", "verdict": "not passed"}
    }
    assert found("failures <= 0", "FAIL", [failed(1)]).views == {"unmeasured": {"verdict": "unmeasured"}}
    assert found("groundedness.regressions == 0", "FAIL", run).views == {
        "regressions": {"check": "groundedness", "change": "regression"}
    }
    assert found("fluency.mean >= 0.9", "FAIL", [scored(1, 0.5)]).views == {
        "lowest scores first": {"check": "fluency", "sort": "score"}
    }


def test_a_gate_by_a_sample_or_settled_early_names_no_number_of_verdicts_that_would_change_it() -> None:
    outcome = GateOutcome.of(Gate.parse("groundedness.pass_rate >= 0.9"), GateVerdict.FAIL, "…", interval=(0.2, 0.8))
    said = deciding(outcome, reported(HALF)).sentence
    assert said == "these 5 items that did not pass decide it"
    early = replace(outcome, interval=None, settled_after=4)
    assert deciding(early, reported(HALF)).sentence == said


def test_few_deciding_items_are_named_with_links_and_many_are_only_linked() -> None:
    gate = GateOutcome.of(Gate.parse("groundedness.pass_rate >= 0.95"), GateVerdict.FAIL, "…")
    few = html(reported([judged(row, row > 7) for row in range(1, 40)]).with_outcome(1, [gate]))
    assert "these 7 items that did not pass decide it" in few
    assert (
        '<a href="#item=s-7&amp;of=groundedness"><code>s-7</code></a> (<a href="#check=groundedness&amp;verdict=not%20passed">'
        in few
    )
    many = html(reported([judged(row, row > 20) for row in range(1, 40)]).with_outcome(1, [gate]))
    assert "these 20 items that did not pass decide it" in many
    assert "<code>s-20</code></a> (<a" not in many


def test_a_ceiling_says_how_many_fewer_it_would_let_pass() -> None:
    run = [*HALF, failed(11), failed(12), failed(13)]
    said = found("failures <= 1", "FAIL", run)
    assert said.sentence == "these 3 items without a verdict decide it: with 2 fewer the gate would pass"
    assert [one.item_id for one in said.items] == ["s-11", "s-12", "s-13"]
    assert found("failures < 10%", "FAIL", run).sentence.endswith("with 2 fewer the gate would pass")


def test_of_what_cannot_be_read_as_a_gate_or_has_no_rows_nothing_is_said() -> None:
    report = reported(HALF)
    for text in ("anything", "other.pass_rate >= 0.5"):
        assert not deciding(GateOutcome(text, "FAIL"), report).sentence
