"""junit.xml as CI systems read it: by a schema of what they have in common, whatever is in it and however large it would be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree

import pytest
import xmlschema
from hypothesis import given

from fieval_tasks.core.items import Result
from fieval_tasks.report.caps import CAPS, Caps
from fieval_tasks.report.output import write_results
from fieval_tasks.report.summary import GateOutcome
from tests.report.report_examples import HOSTILE, RUNS, facts, failed, hostile, hostile_facts, judged, small
from tests.security import hostile_runs

GATES = [
    GateOutcome("groundedness.pass_rate >= 0.5", "PASS", sentence="it is 0.6667"),
    GateOutcome("groundedness.pass_rate >= 0.9", "FAIL", sentence="it is 0.6667"),
    GateOutcome("tone.failures <= 0", "UNDECIDED", sentence="1 item has no verdict"),
]


@cache
def schema() -> xmlschema.XMLSchema:
    return xmlschema.XMLSchema(Path(__file__).with_name("junit.xsd"))


def root_of(folder: Path) -> ElementTree.Element:
    """The file's root, once it is what every reader takes."""
    schema().validate(folder / "junit.xml")
    return ElementTree.parse(folder / "junit.xml").getroot()


def cases(folder: Path) -> list[tuple[str | None, str]]:
    return [(case.get("name"), case[0].tag) for case in root_of(folder).iter("testcase")]


def test_a_run_with_gates_is_what_jenkins_and_gitlab_read(tmp_path: Path) -> None:
    gated = facts(gates=tuple(gate.gate for gate in GATES))
    write_results(gated, small(), tmp_path, decide=lambda report: report.with_outcome(1, GATES))
    assert [tag for _, tag in cases(tmp_path)[:3]] == ["system-out", "failure", "error"]
    assert [suite.get("time") for suite in root_of(tmp_path)] == ["0.000", "4.500", "0.000", "0.000"]
    skipped = next(root_of(tmp_path).iter("skipped"))
    assert skipped.text == skipped.get("message") == "no verdict yet"


@pytest.mark.parametrize(
    "run", [[], hostile()[: len(HOSTILE)], hostile()[len(HOSTILE) :]], ids=["empty", "judged", "failed"]
)
def test_an_empty_and_a_hostile_run_are_too(tmp_path: Path, run: list[Result]) -> None:
    write_results(hostile_facts() if run else facts(), run, tmp_path)
    assert len(cases(tmp_path)) == len(run)


@pytest.mark.parametrize("text", hostile_runs.TEXTS.values(), ids=hostile_runs.TEXTS.keys())
def test_hostile_names_and_ids_are_too(tmp_path: Path, text: str) -> None:
    run = [replace(result, item_id=f"{result.item_id} {n}") for n, result in enumerate(hostile_runs.results(text))]
    write_results(hostile_runs.facts(text), run, tmp_path)
    assert len(cases(tmp_path)) == len(run)


@given(RUNS)
def test_any_run_is_too(run: list[Result]) -> None:
    with TemporaryDirectory() as folder:
        write_results(facts(), [replace(result, item_id=f"{n}") for n, result in enumerate(run)], Path(folder))
        assert len(cases(Path(folder))) == len(run)


def test_a_row_that_is_put_before_the_others_changes_no_name(tmp_path: Path) -> None:
    """CI systems know a case of the branch it came from again by its name."""
    write_results(facts(), [judged(1, True, item_id="a"), judged(1, True, item_id="a", repeat=1)], tmp_path)
    before = cases(tmp_path)
    moved = [judged(n, True, item_id=one) for n, one in enumerate(("new", "a"), 1)]
    write_results(facts(), [*moved, judged(2, True, item_id="a", repeat=1)], tmp_path)
    assert cases(tmp_path) == [("new", "system-out"), *before]


# -- more than a reader takes ------------------------------------------------------------------------------------------


def many(passed: int, not_passed: int) -> Iterator[Result]:
    """Verdicts with long reasons, those that failed last."""
    yield from (judged(n, True, reason="word " * 40) for n in range(passed))
    yield from (judged(passed + n, False, reason="word " * 40) for n in range(not_passed))
    yield failed(passed + not_passed)


def test_what_does_not_fit_is_counted_and_failures_come_before_the_passed(tmp_path: Path) -> None:
    write_results(facts(), many(200, 20), tmp_path, caps=Caps(junit_bytes=40_000))
    found = cases(tmp_path)
    assert (tmp_path / "junit.xml").stat().st_size < 45_000
    assert [tag for _, tag in found].count("failure") == 20
    assert [tag for _, tag in found].count("error") == 1
    kept = [tag for _, tag in found].count("system-out")
    (rest,) = root_of(tmp_path).iter("skipped")
    assert 0 < kept < 200
    assert found[-1] == ("items that are not in this file", "skipped")
    assert rest.text is not None
    assert rest.text.startswith(f"{200 - kept} more items ({200 - kept} passed): ")
    assert "results.jsonl has every item" in rest.text


def test_gates_always_find_room(tmp_path: Path) -> None:
    gated, caps = facts(gates=tuple(gate.gate for gate in GATES)), Caps(junit_bytes=0)
    write_results(gated, small(), tmp_path, decide=lambda report: report.with_outcome(1, GATES), caps=caps)
    assert [name for name, _ in cases(tmp_path)][:3] == [gate.gate for gate in GATES]
    assert len(cases(tmp_path)) == 3 + 3  # and what each check leaves out


def test_the_bound_is_below_those_of_gitlab() -> None:
    shortest = len('<testcase classname="a" name="b"><system-out>row 1: 1</system-out></testcase>\n')
    assert CAPS.junit_bytes < 30_000_000
    assert CAPS.junit_bytes / shortest < 500_000
