"""The examples of docs/prefect.md run as they stand."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLES = DOCS / "examples"


def flows_of(example: str) -> dict[str, Any]:
    return runpy.run_path(str(EXAMPLES / example), run_name="example")


def test_every_example_is_shown_and_run() -> None:
    shown = set(re.findall(r"examples/(\w+\.py)", (DOCS / "prefect.md").read_text(encoding="utf-8")))
    assert shown == {file.name for file in EXAMPLES.glob("*.py")} == {"dataframe.py", "tasks.py", "job.py"}


def test_a_data_frame_is_evaluated_in_a_task(place: Path) -> None:
    assert flows_of("dataframe.py")["check_todays_answers"]() == ["Is there parking?"]


def test_the_steps_of_a_run_are_put_together_in_another_flow(place: Path) -> None:
    rows = [{"output": f"The tower has {n} steps.", "context": "The tower has 2 steps."} for n in range(4)]
    (place / "towers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    assert flows_of("tasks.py")["pass_rate_of"]("towers.jsonl", "groundedness") == 0.25


@pytest.mark.parametrize("given", [[], ["answers.csv"], ["a", "b", "c", "d"]])
def test_an_example_without_its_arguments_says_what_they_are(
    given: list[str], prefect_home: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["tasks.py", *given])
    with pytest.raises(SystemExit, match=r"usage: python tasks\.py DATASET TEMPLATE"):
        runpy.run_path(str(EXAMPLES / "tasks.py"), run_name="__main__")


def test_a_job_is_triggered_in_one_flow_and_waited_for_in_another(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runpy.run_path(str(EXAMPLES / "job.py"), run_name="__main__")
    assert "'total': 20, 'scored': 20" in capsys.readouterr().out
