from __future__ import annotations

import codecs
import csv
import json
import math
import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from xml.etree import ElementTree

import pyarrow.parquet as pq
import pytest
from hypothesis import given

from fieval_tasks.core.items import Result
from fieval_tasks.report.caps import Caps
from fieval_tasks.report.columns import Columns, kinds
from fieval_tasks.report.folder import FILES
from fieval_tasks.report.output import parquet_missing, parquet_schema, write_report, write_results
from fieval_tasks.report.record import FIELDS
from fieval_tasks.report.summary import GateOutcome
from tests.report.report_examples import RUNS, facts, failed, judged, scored, small

NAMES = {"results.jsonl", "results.csv", "results.parquet", "junit.xml"}


def strict(text: str) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    return dict(json.loads(text, parse_constant=refuse))


def jsonl(folder: Path) -> list[dict[str, Any]]:
    return [strict(line) for line in (folder / "results.jsonl").read_text(encoding="utf-8").splitlines()]


def cells(folder: Path) -> list[dict[str, str]]:
    with (folder / "results.csv").open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def decoded(line: dict[str, Any]) -> Result:
    times = {name: line[name] and datetime.fromisoformat(line[name]) for name in ("submitted_at", "finished_at")}
    return Result(**line | times)


@given(RUNS)
def test_a_line_of_jsonl_reads_back_as_the_result_it_was(run: list[Result]) -> None:
    with TemporaryDirectory() as folder:
        assert write_results(facts(), run, Path(folder)).items.total == len(run)
        lines = jsonl(Path(folder))
    assert [decoded(line) for line in lines] == run
    assert all(tuple(line) == FIELDS for line in lines)


@given(RUNS)
def test_all_three_files_hold_every_result(run: list[Result]) -> None:
    with TemporaryDirectory() as folder:
        write_results(facts(), run, Path(folder))
        assert len(jsonl(Path(folder))) == len(cells(Path(folder))) == len(run)
        table = pq.read_table(Path(folder) / "results.parquet")
    assert table.num_rows == len(run)
    assert table.schema.equals(parquet_schema(Columns.from_facts(facts())))
    assert table["score"].to_pylist() == [result.score for result in run]
    outputs = [(result.inputs or {}).get("output") for result in run]
    assert table["inputs.output"].to_pylist() == outputs


def test_csv_and_parquet_hold_nested_fields_as_json(tmp_path: Path) -> None:
    choice = replace(judged(1, True), value={"choice": "always", "score": 1.0}, passed=None)
    write_results(facts(), [choice, replace(choice, value=["joy", "love"]), failed(2)], tmp_path)
    values = ['{"choice": "always", "score": 1.0}', '["joy", "love"]', None]
    errors = [None, None, '{"kind": "refused", "message": "output: may not be blank"}']
    table = pq.read_table(tmp_path / "results.parquet")
    assert table["value"].to_pylist() == values
    assert table["error"].to_pylist() == errors
    assert [row["value"] for row in cells(tmp_path)] == [value or "" for value in values]
    assert [row["passed"] for row in cells(tmp_path)] == ["", "", ""]


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_no_file_ever_holds_a_number_that_is_none(tmp_path: Path, odd: float) -> None:
    run = [
        replace(scored(1, odd), runtime_ms=odd),
        replace(scored(2, 0.5), value={"choice": "x", "score": odd}),
    ]
    write_report(write_results(facts(wall_seconds=odd), run, tmp_path), tmp_path)
    assert [line["score"] for line in jsonl(tmp_path)] == [None, 0.5]
    assert strict((tmp_path / "summary.json").read_text())["wall_seconds"] is None
    assert pq.read_table(tmp_path / "results.parquet")["score"].to_pylist() == [None, 0.5]
    for name in ("results.csv", "results.jsonl", "summary.json", "junit.xml", "report.html", "report.md"):
        data = re.sub(
            "<script>.*?</script>", "", (tmp_path / name).read_text(), flags=re.DOTALL
        )  # the page's own program
        assert not re.search(r"\b(nan|inf|infinity)\b", data, re.IGNORECASE), name


def test_times_are_written_in_utc_with_their_offset(tmp_path: Path) -> None:
    paris = datetime(2026, 1, 1, 12, 0, tzinfo=timezone(timedelta(hours=1)))
    write_results(
        facts(), [replace(judged(1, True), submitted_at=paris, finished_at=datetime(2026, 1, 1, 12, 0))], tmp_path
    )
    (line,) = jsonl(tmp_path)
    assert line["submitted_at"] == "2026-01-01T11:00:00.000000+00:00"
    assert line["finished_at"] == "2026-01-01T12:00:00.000000+00:00"


def test_a_run_cut_off_leaves_the_files_that_were_there(tmp_path: Path) -> None:
    write_results(facts(), small(), tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def cut_off() -> Iterator[Result]:
        yield from small() * 1000
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_results(facts(), cut_off(), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert set(before) == NAMES


def test_an_empty_run_still_has_all_its_files(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "folder"
    write_report(write_results(facts(), [], folder), folder)
    assert {path.name for path in folder.iterdir()} == set(FILES)
    assert pq.read_table(folder / "results.parquet").num_rows == 0


def junit(folder: Path, run: list[Result]) -> ElementTree.Element:
    write_results(facts(), run, folder)
    return ElementTree.parse(folder / "junit.xml").getroot()


def assert_counts_are_right(root: ElementTree.Element) -> None:
    for node in (root, *root):
        for tag, name in (("testcase", "tests"), ("failure", "failures"), ("error", "errors"), ("skipped", "skipped")):
            if (node, name) != (root, "skipped"):  # for which Jenkins' schema has no place
                assert len(list(node.iter(tag))) == int(node.get(name, "-1"))


def test_junit_has_a_suite_per_check_and_a_case_per_item(tmp_path: Path) -> None:
    root = junit(tmp_path, small())
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == ["groundedness", "fluency", "tone"]
    first = suites["groundedness"]
    assert [first.get(name) for name in ("tests", "failures", "errors", "skipped")] == ["4", "1", "1", "0"]
    assert [case[0].tag for case in first] == ["system-out", "failure", "system-out", "error"]
    assert {len(case) for case in first} == {1}
    assert first[3][0].get("type") == "refused"
    assert [case[0].tag for case in suites["fluency"]] == ["system-out"] * 3 + ["skipped"]
    assert suites["tone"][3][0].tag == "skipped"


@given(RUNS)
def test_junit_counts_what_it_contains(run: list[Result]) -> None:
    with TemporaryDirectory() as folder:
        root = junit(Path(folder), run)
    assert_counts_are_right(root)


@given(RUNS)
def test_every_file_tells_of_the_same_items(run: list[Result]) -> None:
    """Also where a verdict comes while they are written: the results are asked for once."""
    once = iter(run)
    with TemporaryDirectory() as folder:
        report = write_results(facts(), once, Path(folder))
        write_report(report, Path(folder))
        told = strict((Path(folder) / "summary.json").read_text())["items"]
        root = ElementTree.parse(Path(folder) / "junit.xml").getroot()
        lines, csv_rows = jsonl(Path(folder)), cells(Path(folder))
        table = pq.read_table(Path(folder) / "results.parquet")
    status = Counter(result.status for result in run)
    counted = {name: status[name] for name in ("scored", "failed", "pending", "not_needed")}
    assert told == counted | {"total": len(run), "reused": 0}
    assert Counter(line["status"] for line in lines) == status
    assert Counter(row["status"] for row in csv_rows) == status
    assert Counter(table["status"].to_pylist()) == status
    assert int(root.get("tests", "")) == len(run)
    assert int(root.get("errors", "")) == status["failed"]
    assert sum(int(suite.get("skipped", "")) for suite in root) == status["pending"]
    assert int(root.get("failures", "")) == sum(result.passed is False for result in run)


def test_junit_tells_no_time_that_can_not_be(tmp_path: Path) -> None:
    times = [
        case.get("time")
        for case in junit(tmp_path, [judged(1, True, runtime_ms=odd) for odd in (-5.0, 1500.0)]).iter("testcase")
    ]
    assert times == [None, "1.500"]


def test_a_spreadsheet_is_told_that_the_csv_file_is_utf8(tmp_path: Path) -> None:
    write_results(facts(), [], tmp_path)
    assert (tmp_path / "results.csv").read_bytes().startswith(codecs.BOM_UTF8 + b"item_id,row,")


def test_results_with_long_inputs_are_written_in_small_batches(tmp_path: Path) -> None:
    run = [judged(n, True, inputs={"output": "x" * 6}) for n in range(1, 6)]
    write_results(facts(), run, tmp_path, caps=Caps(batch_text=10))
    assert pq.ParquetFile(tmp_path / "results.parquet").num_row_groups == 3
    assert [line["inputs"] for line in jsonl(tmp_path)] == [{"output": "x" * 6}] * 5


def test_where_there_are_gates_they_are_the_cases_that_fail(tmp_path: Path) -> None:
    outcomes = [
        GateOutcome("groundedness.pass_rate >= 0.5", "PASS", sentence="groundedness.pass_rate is 0.6667"),
        GateOutcome("groundedness.pass_rate >= 0.9", "FAIL", sentence="groundedness.pass_rate is 0.6667"),
        GateOutcome("tone.failures <= 0", "UNDECIDED", sentence="1 item has no verdict"),
    ]
    gated = facts(gates=tuple(outcome.gate for outcome in outcomes))
    report = write_results(gated, small(), tmp_path, decide=lambda counted: counted.with_outcome(1, outcomes))
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    gates, *checks = root
    assert report.facts.exit_code == 1
    assert gates.get("name") == "gates"
    assert [(case.get("name"), case[0].tag, case[0].get("type")) for case in gates] == [
        ("groundedness.pass_rate >= 0.5", "system-out", None),
        ("groundedness.pass_rate >= 0.9", "failure", "FAIL"),
        ("tone.failures <= 0", "error", "UNDECIDED"),
    ]
    assert [suite.get("failures") for suite in checks] == ["0"] * len(checks)
    assert_counts_are_right(root)


def test_columns_that_are_kept_stand_beside_each_result_with_their_types(tmp_path: Path) -> None:
    rows: list[dict[str, Any]] = [
        {"lang": "fr", "turns": 3, "cost": 1, "ok": True, "tags": ["a", "é"], "row": 7, "odd": 1, "none": None},
        {"lang": None, "turns": 2**40, "cost": 0.5, "ok": None, "tags": {"k": 1}, "row": 8, "odd": "x", "none": None},
    ]
    run = [judged(n, True, kept=row) for n, row in enumerate(rows, 1)]
    write_results(facts(kept=kinds(rows)), run, tmp_path)
    assert [line["columns"] for line in jsonl(tmp_path)] == rows
    table = pq.read_table(tmp_path / "results.parquet")
    names = ["lang", "turns", "cost", "ok", "tags", "columns.row", "odd", "none"]
    assert table.schema.names[-8:] == names
    assert [str(table.schema.field(name).type) for name in names] == [
        "string", "int64", "double", "bool", "string", "int64", "string", "string",
    ]  # fmt: skip
    assert table["turns"].to_pylist() == [3, 2**40]
    assert table["tags"].to_pylist() == ['["a", "é"]', '{"k": 1}']
    assert table["odd"].to_pylist() == ["1", "x"]
    assert [row["columns.row"] for row in cells(tmp_path)] == ["7", "8"]
    assert [row["ok"] for row in cells(tmp_path)] == ["true", ""]


def test_without_a_column_to_keep_there_is_none(tmp_path: Path) -> None:
    write_results(facts(), [judged(1, True)], tmp_path)
    assert "columns" not in jsonl(tmp_path)[0]


def test_without_pyarrow_all_but_the_parquet_file_is_written_and_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "results.parquet").write_bytes(b"of an earlier report, which it would contradict")
    assert parquet_missing() == ""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    write_report(write_results(facts(), small(), tmp_path), tmp_path)
    assert parquet_missing() == ("results.parquet is not written without pyarrow: pip install pyarrow")
    assert {path.name for path in tmp_path.iterdir()} == set(FILES) - {"results.parquet"}
    assert [line["status"] for line in jsonl(tmp_path)] == [result.status for result in small()]
