"""Rows become items: texts, ids, choices of rows, and what must not be sent."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.items import Failed, Item
from fieval_tasks.core.plan import Check, EvaluationPlan
from fieval_tasks.core.templates import bundled_catalogue
from fieval_tasks.data.binding import bind
from fieval_tasks.data.dataset import Dataset, read_dataset
from fieval_tasks.data.intake import first_drawn, in_random_order, items, mark_copies
from fieval_tasks.data.places import place_of
from fieval_tasks.data.selection import Selection, choose
from fieval_tasks.data.values import LARGEST_TEXT, Flaw, text_of, typed

Rows = Callable[[Iterable[Mapping[str, object]]], Dataset]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(st.characters()), inner, max_size=3),
    max_leaves=6,
)


@pytest.fixture
def rows(tmp_path: Path) -> Rows:
    def rows(content: Iterable[Mapping[str, object]]) -> Dataset:
        path = tmp_path / "a.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in content))
        return read_dataset(str(path))

    return rows


def run(dataset: Dataset, *checks: str, **options: Any) -> list[tuple[Item, Failed | None]]:
    plan = EvaluationPlan(checks=tuple(map(Check.parse, checks or ("tone",))))
    selection = Selection(**{name: options.pop(name) for name in ("limit", "sample", "seed") if name in options})
    return list(items(dataset, bind(plan, dataset.columns, bundled_catalogue()), choose(dataset, selection), **options))


def ids(dataset: Dataset, **options: Any) -> list[str]:
    return [item.item_id for item, _ in run(dataset, **options)]


# Texts


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("  as it is \n", "  as it is \n"),
        (True, "true"),
        (False, "false"),
        (7, "7"),
        (0, "0"),
        (1.0, "1.0"),
        (0.1, "0.1"),
        (["a", "é"], '["a", "é"]'),
        (("a", None, math.nan), '["a", null, null]'),
        ([["a"]], '[["a"]]'),
        ({"role": "user", "at": date(2026, 8, 1)}, '{"role": "user", "at": "2026-08-01"}'),
        (datetime(2026, 8, 1, 12, 30), "2026-08-01T12:30:00"),
        (timedelta(seconds=90), "0:01:30"),
        (Decimal("1.10"), "1.10"),
        (UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        ("café".encode(), "café"),
        ({1: [b"x"]}, '{"1": ["x"]}'),
    ],
)
def test_a_value_becomes_the_text_one_expects(value: object, text: str) -> None:
    assert text_of(value) == text


def test_times_of_numpy_are_no_numbers_of_nanoseconds() -> None:
    import numpy as np

    moment = np.datetime64("2026-08-01T12:30:00.000000001", "ns")
    assert text_of(moment) == "2026-08-01T12:30:00.000000001"
    assert text_of(np.array([moment])) == '["2026-08-01T12:30:00.000000001"]'
    assert (
        text_of({"took": np.timedelta64(5, "ns"), "at": np.datetime64("NaT")})
        == '{"took": "5 nanoseconds", "at": null}'
    )


def test_a_member_of_an_enumeration_of_texts_is_its_text() -> None:
    colour = Enum("Colour", {"RED": "red"}, type=str)
    assert text_of(colour.RED) == "red"  # type: ignore[attr-defined]
    assert text_of([colour.RED]) == '["red"]'  # type: ignore[attr-defined]


def test_two_keys_with_one_text_are_a_flaw() -> None:
    assert text_of({1: "a", "1": "b"}) == Flaw("not_text", "has two keys with one text")


def test_values_of_numpy_that_are_kept_are_lists_and_numbers() -> None:
    import numpy as np

    assert [typed(value) for value in (np.array([1, 2]), np.float64(0.5), np.array([]))] == [[1, 2], 0.5, []]


def test_values_of_numpy_and_pandas_become_the_text_of_what_they_hold() -> None:
    import numpy as np
    import pandas as pd

    assert text_of(np.float64(0.5)) == "0.5"
    assert text_of(np.int64(7)) == "7"
    assert text_of(np.bool_(True)) == "true"
    assert text_of(np.str_("x")) == "x"
    assert text_of(np.array(["a", "b"])) == '["a", "b"]'
    assert text_of({"scores": np.array([1, 2])}) == '{"scores": [1, 2]}'
    assert text_of(pd.Timestamp("2026-08-01")) == "2026-08-01T00:00:00"
    for missing in (pd.NA, pd.NaT, np.float64("nan"), np.datetime64("NaT")):
        assert text_of(missing) == Flaw("blank", "is null, which counts as blank")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        *((blank, "blank") for blank in ("", " \n\t", "\u3000", "{}", " []", "null", None, [], {}, math.nan)),
        *((nul, "nul") for nul in ("a\0b", ["a\0b"], {"a\0": 1}, b"\0")),
        *((half, "surrogate") for half in ("a\ud800", ["a\udfff"])),
        *((endless, "not_finite") for endless in (math.inf, -math.inf, [1, math.inf], Decimal("Infinity"))),
        *((strange, "not_text") for strange in (b"caf\xe9", object(), {"a": object()})),
        ("x" * (LARGEST_TEXT + 1), "too_large"),
    ],
)
def test_a_value_that_the_api_would_fail_is_a_flaw(value: object, kind: str) -> None:
    flaw = text_of(value)
    assert isinstance(flaw, Flaw)
    assert flaw.kind == kind


def test_a_value_nested_beyond_reason_is_a_flaw() -> None:
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    assert text_of(deep) == Flaw("not_text", "is nested too deeply")


@given(JSON)
def test_a_text_is_text_that_can_be_sent(value: object) -> None:
    text = text_of(value)
    if isinstance(text, str):
        assert text.strip() not in ("", "{}", "[]", "null")
        assert "\0" not in text
        text.encode()
        if not isinstance(value, str):
            json.loads(text)
    else:
        assert isinstance(text, Flaw)


# Items


@given(table=st.lists(st.fixed_dictionaries({"answer": JSON, "docs": JSON, "question": JSON}), min_size=1, max_size=8))
def test_every_row_comes_out_once_per_check_in_order(
    tmp_path_factory: pytest.TempPathFactory, table: list[dict[str, object]]
) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in table))
    dataset = read_dataset(str(path))
    found = run(dataset, "groundedness", "tone", "is_json")
    assert [item.seq for item, _ in found] == list(range(len(found)))
    assert [(item.row, item.check) for item, _ in found] == [
        (number, check) for number in range(1, len(table) + 1) for check in ("groundedness", "tone", "is_json")
    ]
    assert len({item.item_id for item, _ in found}) == len(table)
    assert found == run(dataset, "groundedness", "tone", "is_json")
    for item, failed in found:
        assert all(text_of(text) == text for text in item.inputs.values())
        assert failed is not None or {"output", "context", "input"} & item.inputs.keys() or "text" in item.inputs
        assert failed is None or failed.stage == "validate"


def test_a_list_is_sent_as_json_text(rows: Rows) -> None:
    ((item, failed),) = run(rows([{"answer": "a", "question": "q", "docs": ["x", "y"]}]), "groundedness")
    assert failed is None
    assert item.inputs == {"output": "a", "context": '["x", "y"]', "input": "q"}


def test_mixed_types_in_one_column_each_have_their_text(rows: Rows) -> None:
    found = run(rows([{"answer": value} for value in ("1", 1, 1.5, True, ["1"], {"a": None})]))
    assert [item.inputs["output"] for item, _ in found] == ["1", "1", "1.5", "true", '["1"]', '{"a": null}']


def test_a_bad_row_is_one_failed_item_that_names_row_key_and_column(rows: Rows) -> None:
    good = {"answer": "a", "question": "q", "docs": "d"}
    table = [
        good,
        {**good, "answer": " "},
        {**good, "docs": "a\0b", "question": "\ud800"},
        {"question": "q", "docs": "d"},
        {**good, "answer": math.inf},
        good,
    ]
    found = run(rows(table), "groundedness")
    assert [failed for _, failed in found] == [
        None,
        Failed("validate", "blank", "row 2: 'output' (column 'answer') is blank"),
        Failed(
            "validate",
            "nul",
            "row 3: 'context' (column 'docs') has a NUL character at position 2;"
            " 'input' (column 'question') has half a surrogate pair at position 1",
        ),
        Failed("validate", "blank", "row 4: 'output' (column 'answer') is missing"),
        Failed("validate", "not_finite", "row 5: 'output' (column 'answer') is inf, which JSON has no number for"),
        None,
    ]
    assert [sorted(item.inputs) for item, _ in found[1:4]] == [["context", "input"], ["output"], ["context", "input"]]


def test_a_row_that_could_not_be_read_fails_once_per_check(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("answer,docs\nyes,because\nno\n")
    dataset = read_dataset(str(tmp_path / "a.csv"))
    found = run(dataset, "groundedness", "tone")
    assert [failed is None for _, failed in found] == [True, True, False, False]
    assert found[2][1] == Failed("validate", "unreadable_row", "row 2: line 3 has 1 fields where the header has 2")


def test_a_blank_optional_key_is_left_out(rows: Rows) -> None:
    ((item, failed),) = run(rows([{"answer": "a", "docs": "d", "question": None}]), "groundedness")
    assert failed is None
    assert item.inputs == {"output": "a", "context": "d"}


def test_a_five_megabyte_answer_is_an_item_like_any_other(rows: Rows) -> None:
    ((item, failed),) = run(rows([{"answer": "word " * 2**20}]))
    assert failed is None
    assert len(item.inputs["output"]) == 5 * 2**20


def test_items_that_the_judge_cant_tell_apart_have_one_fingerprint(rows: Rows) -> None:
    table = [{"answer": "same", "note": 1}, {"answer": "same", "note": 2}, {"answer": "other"}]
    same, too, other = (item for item, _ in run(rows(table)))
    assert same.fingerprint == too.fingerprint != other.fingerprint
    assert same.item_id != too.item_id
    (small, *_) = (item for item, _ in run(rows(table), "tone:turing_small"))
    assert small.fingerprint != same.fingerprint


def test_a_failed_item_never_has_the_fingerprint_of_a_good_one(rows: Rows) -> None:
    table = [{"answer": "a", "docs": "d", "question": question} for question in (None, "a\0b")]
    (good, none), (bad, failed) = run(rows(table), "groundedness")
    assert (none, good.inputs) == (None, bad.inputs)
    assert failed is not None
    assert good.fingerprint != bad.fingerprint


# Ids


def test_an_id_is_that_of_the_content_whatever_stands_around_it(rows: Rows) -> None:
    table = [{"answer": str(number)} for number in range(50)]
    whole = ids(rows(table))
    assert ids(rows(table), limit=10) == whole[:10]
    assert set(ids(rows(table), sample=10, seed=3)) < set(whole)
    assert ids(rows(reversed(table))) == whole[::-1]
    assert all(len(item_id) == 12 and int(item_id, 16) >= 0 for item_id in whole)


def test_repeated_contents_are_counted(rows: Rows) -> None:
    first, other, second, third = ids(rows([{"answer": "a"}, {"answer": "b"}, {"answer": "a"}, {"answer": "a"}]))
    assert (second, third) == (f"{first}-2", f"{first}-3")
    assert other != first


def test_the_same_texts_have_the_same_ids_in_csv_and_jsonl(rows: Rows, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("answer,docs\nyes,é\n")
    assert ids(rows([{"docs": "é", "answer": "yes"}])) == ids(read_dataset(str(tmp_path / "a.csv")))


def test_an_id_column_names_the_items(rows: Rows) -> None:
    assert ids(rows([{"id": 7, "answer": "a"}, {"id": "x", "answer": "b"}]), id_column="id") == ["7", "x"]


def test_repeated_ids_are_refused_with_three_examples_before_any_item(rows: Rows) -> None:
    dataset = rows({"id": number % 5, "answer": "a"} for number in range(20))
    bindings = bind(EvaluationPlan(checks=(Check(template="tone"),)), dataset.columns, bundled_catalogue())
    with pytest.raises(PlanError) as error:
        items(dataset, bindings, id_column="id")
    assert str(error.value) == (
        "ids repeat in column 'id' of a.jsonl: '0' in rows 1, 6, 11 and 1 more, '1' in rows 2, 7, 12 and 1 more,"
        " '2' in rows 3, 8, 13 and 1 more; make them unique, or leave out --id"
    )


def test_blank_ids_are_refused_with_their_rows(rows: Rows) -> None:
    dataset = rows(
        [{"id": "x", "answer": "a"}, {"id": " ", "answer": "a"}, {"answer": "a"}, {"id": "x", "answer": "a"}]
    )
    with pytest.raises(PlanError) as error:
        run(dataset, id_column="id")
    assert error.value.problems == (
        "column 'id' of a.jsonl can't give every row an id: row 2 is blank, row 3 is missing; leave out --id",
        "ids repeat in column 'id' of a.jsonl: 'x' in rows 1, 4; make them unique, or leave out --id",
    )


def test_ids_beyond_the_limit_are_not_asked_about(rows: Rows) -> None:
    assert ids(rows([{"id": "x", "answer": "a"}, {"id": "x", "answer": "b"}]), id_column="id", limit=1) == ["x"]


def test_a_row_that_could_not_be_read_is_called_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"id": 1, "answer": "a"}\n{"id": 2, "answ')
    assert ids(read_dataset(str(tmp_path / "a.jsonl")), id_column="id") == ["1", "row-2"]


# Choosing rows


def test_a_row_that_could_not_be_read_has_the_id_that_it_had_in_earlier_runs(tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('[1]\nnull\n"x"\n7\ntrue\n{"output": "b"}\n')
    found = ids(read_dataset(str(tmp_path / "bad.jsonl")))
    assert found == ["1e371a6c19ac", "8bd547a8ff0b", "3574f172159e", "3532e75bbda6", "eff61c0305c5", "f8f189ad9255"]


def test_no_more_is_read_than_the_chosen_rows_need(rows: Rows) -> None:
    dataset = rows({"answer": str(number)} for number in range(100))
    read: list[int] = []
    whole = dataset.rows

    def counted() -> Iterable[Any]:
        for row in whole():
            read.append(row.number)
            yield row

    dataset.rows = counted  # type: ignore[method-assign,assignment]
    run(dataset, limit=5)
    assert len(read) == 5


def test_columns_that_are_kept_are_typed_as_json_is(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"answer": "x", "lang": "fr", "turns": 3, "deep": {"a": [1, null]}, "none": null}\n{"answer": "y"}\n'
    )
    with read_dataset(str(path)) as dataset:
        keep = [place for name in ("lang", "turns", "deep.a", "none") if (place := place_of(name, dataset.columns))]
        found = [item.kept for item, _ in run(dataset, keep=keep)]
    assert found == [
        {"lang": "fr", "turns": 3, "deep.a": [1, None], "none": None},
        dict.fromkeys(("lang", "turns", "deep.a", "none")),
    ]


def drawn(found: list[tuple[Item, Failed | None]], *, seed: int = 0, width: int = 1) -> list[Item]:
    numbers = sorted({item.row for item, _ in found})
    return [item for item, _ in in_random_order(found, numbers, width, seed)]


def test_rows_are_drawn_in_a_random_order_that_the_seed_decides(rows: Rows) -> None:
    found = run(rows({"input": f"{n}", "output": f"{n}"} for n in range(200)), "tone", "toxicity")
    items = drawn(found, width=2)
    assert [replace(item, drawn=None) for item in items] == [item for item, _ in found]
    assert sorted(item.drawn for item in items if item.drawn is not None) == list(range(400))
    assert [item.drawn for item in items] == [item.drawn for item in drawn(found, width=2)]
    assert [item.drawn for item in items] != [item.drawn for item in drawn(found, width=2, seed=1)]
    for first, second in zip(items[::2], items[1::2], strict=True):  # both checks of a row
        assert (first.row, (first.drawn or 0) + 1) == (second.row, second.drawn)
    early = {item.row for item in items if (item.drawn or 0) < 200}
    assert 30 < sum(row <= 100 for row in early) < 70  # whatever their place in the dataset


def test_of_rows_that_are_the_same_the_one_that_is_drawn_first_is_sent(rows: Rows) -> None:
    found = run(rows({"input": "x", "output": f"{n % 7}"} for n in range(50)))
    items = [(item, None) for item in drawn(found)]
    marked = [item for item, _ in mark_copies(items, first_drawn(items))]
    places = {item.seq: item.drawn or 0 for item in marked}
    assert sum(item.same_as is None for item in marked) == 7
    assert all(places[item.same_as] < places[item.seq] for item in marked if item.same_as is not None)
