"""Sheets for people: drawn at random, written blind, and read back whatever a spreadsheet did to them."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.items import Item, Result, Scored, Ticket
from fieval_tasks.ledger.book import Book
from fieval_tasks.ledger.calibrations import Calibrations, LabelDraw
from fieval_tasks.ledger.changes import Decided, Sending, Submitted
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.sheets import draw, drawable, labels_of, matching, read_sheet, write_sheet

NOON = datetime(2026, 8, 1, 12, tzinfo=timezone.utc)
CHECK = CheckRecord("tone", "tone", "turing_flash", {}, "Pass/Fail", {"output": "answer"})
ODD = [
    "=1+1",
    "+cmd|' /C calc'!A0",
    "-x",
    "@sum",
    "two\nlines",
    'said "no"',
    "ünï☃ \u0627",
    ";=A1",
    "'tis",
    "\t=1",
    "1,5",
    "NULL",
    " a ",
]
SECRET = "the judge's own words"


@pytest.fixture
def book(tmp_path: Path) -> Iterator[Book]:
    """A run of 60 items; of the first 50 every third is failed by the judge, and the rest have no verdict."""
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        run = Run("mine", NOON, "a.csv", "f" * 64, "async", "local", (CHECK,), {}, ())
        rows = [
            (Item(n, ident(n), n + 1, "tone", "tone", None, {"output": ODD[n % len(ODD)]}, f"{n}"), None)
            for n in range(60)
        ]
        ledger.create(run, rows, chunk_size=60)
        book = ledger.book("mine")
        book.apply([Sending((*range(60),)), Submitted(tuple(Ticket(n, f"e-{n}") for n in range(60)), NOON)])
        book.apply([Decided(n, Scored("Passed", 1.0, n % 3 > 0, SECRET, 1.0), NOON) for n in range(50)])
        yield book


def ident(n: int) -> str:
    return f"{ODD[n].strip()}{n}" if n < len(ODD) else f"id-{n}"


def made(drawn: list[Result], **said: Any) -> LabelDraw:
    return LabelDraw(
        **{"run_id": "mine", "check_name": "tone", "at": NOON, "policy": "", "seed": 0, "of": 50, **said},
        items=[one.item_id for one in drawn],
    )


def rows_in(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        return [*csv.DictReader(file)]


def labelled(path: Path, to: Path, labels: dict[str, str], *, delimiter: str = ",") -> Path:
    """The sheet as somebody saves it who wrote these labels, by the ids as they are shown."""
    rows = rows_in(path)
    with to.open("w", encoding="utf-8-sig", newline="") as file:
        sheet = csv.DictWriter(file, list(rows[0]), delimiter=delimiter)
        sheet.writeheader()
        sheet.writerows(row | {"label": labels.get(row["item_id"], "")} for row in rows)
    return to


# -- drawing -------------------------------------------------------------------------------------------------------


def test_only_items_with_a_verdict_are_drawn_each_once(book: Book) -> None:
    drawn, of = draw(book, "tone", n=100, seed=0)
    assert of == len(drawn) == len({one.item_id for one in drawn}) == 50
    assert {one.item_id for one in drawn} == {ident(n) for n in range(50)}
    assert [one.item_id for one in drawable(book, "tone")] == [ident(n) for n in range(50)]


def test_a_draw_is_the_same_for_the_same_seed_and_a_larger_one_begins_with_it(book: Book) -> None:
    small, large = (draw(book, "tone", n=n, seed=7)[0] for n in (10, 30))
    assert [one.item_id for one in large[:10]] == [one.item_id for one in small]
    assert {one.item_id for one in draw(book, "tone", n=10, seed=8)[0]} != {one.item_id for one in small}


def test_every_item_is_drawn_as_often_as_another(book: Book) -> None:
    seen = [one.item_id for seed in range(200) for one in draw(book, "tone", n=10, seed=seed)[0]]
    assert all(15 < seen.count(ident(n)) < 75 for n in range(50)), "40 times each, give or take"


# -- writing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["sheet.csv", "sheet.jsonl"])
def test_a_sheet_tells_nothing_of_the_judge(book: Book, tmp_path: Path, name: str) -> None:
    drawn, _ = draw(book, "tone", n=20, seed=0)
    write_sheet(tmp_path / name, drawn, made(drawn, policy="strict"))
    text = (tmp_path / name).read_text(encoding="utf-8-sig")
    assert SECRET not in text
    assert not {"passed", "score", "value", "reason"} & {*text.casefold().replace('"', " ").replace(",", " ").split()}
    assert text.count("strict") == 20


def test_a_sheet_is_never_written_over(book: Book, tmp_path: Path) -> None:
    drawn, _ = draw(book, "tone", n=5, seed=0)
    write_sheet(tmp_path / "sheet.csv", drawn, made(drawn))
    with pytest.raises(PlanError, match="may hold labels"):
        write_sheet(tmp_path / "sheet.csv", drawn, made(drawn))


def test_no_cell_of_a_sheet_is_a_formula_and_in_jsonl_every_text_is_as_it_was(book: Book, tmp_path: Path) -> None:
    drawn, _ = draw(book, "tone", n=50, seed=0)
    write_sheet(tmp_path / "sheet.csv", drawn, made(drawn))
    write_sheet(tmp_path / "sheet.jsonl", drawn, made(drawn))
    cells = [cell for row in rows_in(tmp_path / "sheet.csv") for cell in row.values()]
    assert not [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t")]
    lines = [json.loads(line) for line in (tmp_path / "sheet.jsonl").read_text().splitlines()]
    assert [(line["item_id"], line["inputs.output"]) for line in lines] == [
        (one.item_id, (one.inputs or {})["output"]) for one in drawn
    ]


def test_texts_that_are_too_long_for_a_cell_are_counted(book: Book, tmp_path: Path) -> None:
    drawn, _ = draw(book, "tone", n=5, seed=0)
    long = Result(**{**vars(drawn[0]), "inputs": {"output": "x" * 40_000}})
    assert write_sheet(tmp_path / "sheet.csv", [long, *drawn[1:]], made(drawn)) == 1
    assert write_sheet(tmp_path / "sheet.jsonl", [long, *drawn[1:]], made(drawn)) == 0


# -- reading -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_labels_come_back_for_the_items_they_were_given_to(book: Book, tmp_path: Path, delimiter: str) -> None:
    drawn, _ = draw(book, "tone", n=50, seed=0)
    write_sheet(tmp_path / "sheet.csv", drawn, made(drawn))
    shown = [row["item_id"] for row in rows_in(tmp_path / "sheet.csv")]
    words = dict(
        zip(shown, ["pass", " FAIL", "Yes", "no ", "1", "0", "TRUE", "False", "passed", "Failed"] * 5, strict=True)
    )
    back = read_sheet(str(labelled(tmp_path / "sheet.csv", tmp_path / "back.csv", words, delimiter=delimiter)))
    assert labels_of(back, made(drawn)) == {one.item_id: n % 2 == 0 for n, one in enumerate(drawn)}
    assert back.belongs_to == {"check": "tone", "run": "mine"}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    ids=st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).filter(str.strip), min_size=1, unique=True
    ),
    name=st.sampled_from(["any.csv", "any.jsonl"]),
)
def test_any_id_comes_back(ids: list[str], name: str, tmp_path: Path) -> None:
    drawn = [result(item_id) for item_id in ids]
    path = tmp_path / name
    path.unlink(missing_ok=True)
    write_sheet(path, drawn, made(drawn))
    if name == "any.csv":
        labelled(path, path, dict.fromkeys((row["item_id"] for row in rows_in(path)), "pass"))
    else:
        path.write_text(path.read_text().replace('"label": ""', '"label": true'))
    assert labels_of(read_sheet(str(path)), made(drawn)) == dict.fromkeys(ids, True)


def result(item_id: str) -> Result:
    return Result(
        item_id, 1, "tone", "tone", None, "scored", "Passed", 1.0, True, None, None, None, None, None, 1, NOON, NOON,
        inputs={"output": item_id},
    )  # fmt: skip


def sheet(tmp_path: Path, *rows: tuple[str, str], head: tuple[str, ...] = ("item_id", "label")) -> str:
    path = tmp_path / "own.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    return str(path)


@pytest.mark.parametrize(
    ("item_id", "shown"),
    [
        ("007", "7"),
        ("812345678901", "8.12346E+11"),
        ("812345678901", "8,12346E+11"),
        ("12345e67", "1.2345E+71"),
        ("00123456789012345678", "1.23457E+17"),
        ("1.50", "1.5"),
        ("+5", "5"),
        ("1e5", "100000"),
        ("100000000000", "1E+11"),
    ],
)
def test_an_id_that_a_spreadsheet_took_for_a_number_is_known_again(tmp_path: Path, item_id: str, shown: str) -> None:
    drawn = made([result(item_id), result("id-1"), result("17")])
    back = read_sheet(sheet(tmp_path, (shown, "pass"), ("id-1", "fail")))
    assert labels_of(back, drawn) == {item_id: True, "id-1": False}


@pytest.mark.parametrize(
    ("ids", "shown"),
    [
        (["007", "07"], "7"),
        (["812345678901", "812345678902"], "8.12346E+11"),
        (["id-1"], "7"),
        (["8"], "7"),
        (["1e999"], "7"),
    ],
)
def test_one_that_could_be_two_is_not(tmp_path: Path, ids: list[str], shown: str) -> None:
    back = read_sheet(sheet(tmp_path, (shown, "pass")))
    with pytest.raises(PlanError, match="is not among the"):
        labels_of(back, made([result(item_id) for item_id in ids]))


def test_what_is_no_label_is_named_with_its_row_and_column(tmp_path: Path) -> None:
    with pytest.raises(PlanError) as refused:
        read_sheet(sheet(tmp_path, ("a", "pass"), ("b", "maybe"), ("c", "2"), ("", "pass")))
    assert [problem.split(";")[0] for problem in refused.value.problems] == [
        "own.csv, row 2, column label: 'maybe' is no label",
        "own.csv, row 3, column label: '2' is no label",
        "own.csv, row 4, column item_id: it is blank",
    ]


def test_many_problems_are_counted(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="and 15 more problems like these"):
        read_sheet(sheet(tmp_path, *((f"id-{n}", "perhaps") for n in range(25))))


def test_two_labels_of_an_item_are_refused_and_one_that_is_given_twice_counts_once(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match="row 3: item 'a' has another label in row 1"):
        read_sheet(sheet(tmp_path, ("a", "pass"), ("b", "pass"), ("a", "no")))
    assert read_sheet(sheet(tmp_path, ("a", "pass"), ("a", "yes"), ("a", ""))).labels["a"][0] is True


@pytest.mark.parametrize("rows", [(), (("a", ""), ("b", " "))])
def test_a_sheet_without_labels_is_refused(tmp_path: Path, rows: tuple[tuple[str, str], ...]) -> None:
    with pytest.raises(PlanError, match=r"no rows|no labels yet"):
        read_sheet(sheet(tmp_path, *rows))


def test_a_column_that_is_missing_is_named_with_those_that_are_there(tmp_path: Path) -> None:
    with pytest.raises(
        PlanError, match=r"column 'label' is not in own.csv .it has: item_id, labels.*did you mean 'labels'"
    ):
        read_sheet(sheet(tmp_path, ("a", "pass"), head=("item_id", "labels")))


def test_labels_of_items_that_were_not_drawn_are_refused(book: Book, tmp_path: Path) -> None:
    drawn, _ = draw(book, "tone", n=5, seed=0)
    back = read_sheet(sheet(tmp_path, (drawn[0].item_id, "pass"), ("chosen", "fail")))
    with pytest.raises(PlanError, match="row 2: item 'chosen' is not among the 5 that were drawn of tone in run mine"):
        labels_of(back, made(drawn))


def test_a_sheet_finds_its_draw_among_others(book: Book, tmp_path: Path) -> None:
    small, large, other = (draw(book, "tone", n=n, seed=seed)[0] for n, seed in ((5, 0), (20, 0), (5, 1)))
    draws = [made(large), made(other, seed=1), made(small), made(small, run_id="theirs")]
    write_sheet(tmp_path / "small.csv", small, made(small))
    words = {row["item_id"]: "pass" for row in rows_in(tmp_path / "small.csv")}
    back = read_sheet(str(labelled(tmp_path / "small.csv", tmp_path / "back.csv", words)))
    assert matching(back, draws) is draws[2]
    with pytest.raises(PlanError, match="was not drawn from this ledger"):
        matching(back, draws[3:])


def test_a_ledger_keeps_draws(book: Book, tmp_path: Path) -> None:
    drawn, _ = draw(book, "tone", n=5, seed=0)
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        kept = Calibrations(ledger.database)
        kept.record_draw(made(drawn))
        kept.record_draw(made(drawn))  # as after a commit whose answer was lost
        assert kept.draws() == kept.draws("mine", "tone") == [made(drawn)]
        assert kept.draws("theirs") == kept.draws("mine", "other") == []
        ledger.forget("mine")
        assert kept.draws() == []
