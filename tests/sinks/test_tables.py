"""A table of the user's own: looked at before anything is sent, and then a row for each item, whatever its texts are."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from shutil import rmtree
from typing import Any

import pytest

from fieval_tasks.core.errors import RowsUnwanted, SinkError
from fieval_tasks.core.items import Result
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.core.sink_names import TableName
from fieval_tasks.ledger.run import Run
from fieval_tasks.report.columns import TABLE
from fieval_tasks.runs.outline import with_sinks
from fieval_tasks.sinks.opening import opened
from fieval_tasks.sinks.sink import Sink
from tests.sinks.conftest import asked, made_by_hand

NOON = datetime(2026, 11, 28, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
SCORED = Result(
    item_id="a", row=1, check="tone", template="tone", model="turing_flash", status="scored", value=["joy", "love"], score=0.5,
    passed=True, reason="for a reason", runtime_ms=12.5, eval_id="e-1", stage=None, error=None, attempts=1, submitted_at=NOON,
    finished_at=NOON, inputs={"output": "so"}, kept={"lang": "fr"},
)  # fmt: skip
PENDING = replace(
    SCORED, item_id="b", row=2, status="pending", value=None, score=None, passed=None, reason=None, finished_at=None
)
FAILED = replace(
    PENDING, item_id="c", row=3, status="failed", stage="evaluate", error={"kind": "hollow", "message": "no"}, kept=None
)


def a_run(name: str = "r") -> Run:
    return Run(name, NOON, "d", "f", "async", "test", (), {}, ())


def sink(to: str, name: str = "r") -> closing[Sink]:
    return closing(opened(to, a_run(name)))


def written(to: str, *results: Result) -> None:
    with sink(to) as one:
        one.take(results)


def refusal(to: str, *, is_new: bool = True) -> str:
    with sink(to) as one, pytest.raises(SinkError) as refused:
        one.check(is_new=is_new)
    return str(refused.value)


def test_a_check_makes_no_table_and_leaves_no_row(to: str, place: str) -> None:
    with sink(to) as one:
        one.check(is_new=True)
        one.take([SCORED])
        one.check(is_new=False)
    assert asked(place, 'SELECT run_id, item_id FROM "order"') == [("r", "a")]


def test_a_row_is_an_item_and_is_written_over_when_the_item_changes(to: str, place: str) -> None:
    written(to, SCORED, PENDING, FAILED)
    written(to, SCORED, replace(SCORED, item_id="b", passed=False), replace(SCORED, repeat=1), FAILED)
    found = asked(place, 'SELECT item_id, repeat, status, passed, score FROM "order" ORDER BY item_id, repeat')
    assert found == [("a", 0, "scored", True, 0.5), ("a", 1, "scored", True, 0.5), ("b", 0, "scored", False, 0.5), ("c", 0, "failed", None, None)]  # fmt: skip


@pytest.mark.parametrize("place", ["sqlite", "postgresql"], indirect=True)
def test_what_is_the_same_is_not_written_again_so_that_no_trigger_fires_for_it(to: str, place: str) -> None:
    written(to, SCORED, PENDING)
    asked(place, "CREATE TABLE changes (item_id VARCHAR)")
    if place.startswith("sqlite"):
        asked(place, 'CREATE TRIGGER heard AFTER UPDATE ON "order" BEGIN INSERT INTO changes VALUES (NEW.item_id); END')
    else:
        asked(
            place,
            "CREATE FUNCTION hear() RETURNS trigger LANGUAGE plpgsql AS $$ "
            "BEGIN INSERT INTO changes VALUES (NEW.item_id); RETURN NEW; END $$",
        )
        asked(place, 'CREATE TRIGGER heard AFTER UPDATE ON "order" FOR EACH ROW EXECUTE FUNCTION hear()')
    written(to, SCORED, replace(SCORED, item_id="b"), FAILED)
    assert asked(place, "SELECT item_id FROM changes") == [("b",)]


def test_the_columns_are_those_of_the_results_with_what_is_no_plain_value_as_json(to: str, place: str) -> None:
    written(to, SCORED, FAILED)
    names = ", ".join(f'"{name}"' for name in TABLE if name not in ("submitted_at", "finished_at"))
    scored, failed = asked(place, f'SELECT {names} FROM "order" ORDER BY item_id')
    assert scored == (
        "r", "a", 1, "tone", "tone", "turing_flash", "scored", '["joy", "love"]', 0.5, True, "for a reason", 12.5, "e-1", None,
        None, 1, '{"output": "so"}', 0, None, '{"lang": "fr"}',
    )  # fmt: skip
    assert failed[13:15] == ("evaluate", '{"kind": "hollow", "message": "no"}')
    assert (failed[7], failed[-1]) == (None, None)


def test_times_are_the_same_moment(to: str, place: str) -> None:
    written(to, SCORED, FAILED)
    text = "finished_at" if place.startswith("sqlite") else "CAST(finished_at AT TIME ZONE 'UTC' AS VARCHAR)"
    assert asked(place, f'SELECT {text} FROM "order" ORDER BY item_id') == [("2026-11-28 06:30:00.123456",), (None,)]


HOSTILE = 'Ω\0\ud800<script>\'); DROP TABLE "order"; --\u202e\x1b[31m%s %(x)s ? :x $1 {} \\ \n'


def test_any_text_is_kept_as_far_as_databases_can(to: str, place: str) -> None:
    told = replace(
        SCORED, **dict.fromkeys(("item_id", "check", "reason", "value", "eval_id"), HOSTILE), inputs={HOSTILE: HOSTILE}
    )
    written(to, told, told)
    kept = HOSTILE.replace("\0", r"\x00").replace("\ud800", r"\ud800")
    [found] = asked(place, 'SELECT item_id, "check", reason, value, eval_id, inputs FROM "order"')
    assert found[:5] == (kept,) * 5
    assert "\\u0000" in found[5]


@pytest.mark.parametrize(
    "table", ["select", "Capital", "Прогоны; DROP TABLE t --", "a'b%s:x ?", '"with.dot"', "x" * 63]
)
def test_any_name_is_quoted(place: str, table: str) -> None:
    to = f"{place}#{table}"
    with sink(to) as one:
        one.check(is_new=True)
        one.take([SCORED])
        one.check(is_new=False)
    name = table.strip('"').replace("%", "%%") if place.startswith("postgresql") else table.strip('"')
    assert asked(place, f'SELECT item_id FROM "{name}"') == [("a",)]


@pytest.mark.parametrize("place", ["postgresql", "duckdb"], indirect=True)
def test_a_schema_is_the_users_to_make(place: str) -> None:
    to = f"{place}#my schema.order"
    assert "my schema" in refusal(to)
    asked(place, 'CREATE SCHEMA "my schema"')
    with sink(to) as one:
        one.check(is_new=True)
        one.take([SCORED])
        one.check(is_new=False)
    assert asked(place, 'SELECT item_id FROM "my schema"."order"') == [("a",)]


def test_a_table_that_lacks_columns_is_refused_and_left_as_it_is(to: str, place: str) -> None:
    asked(place, 'CREATE TABLE "order" (run_id VARCHAR, item_id VARCHAR, total INTEGER)')
    said = refusal(to)
    assert "it lacks row, check, template" in said
    assert "run_id," not in said.partition("it lacks ")[2].partition(";")[0]
    asked(place, "INSERT INTO \"order\" VALUES ('x', 'y', 1)")


def test_a_table_that_wants_more_is_refused_and_one_that_has_more_is_taken(to: str, place: str) -> None:
    written(to, SCORED)
    asked(place, 'ALTER TABLE "order" ADD COLUMN noted VARCHAR')
    with sink(to) as one:
        one.check(is_new=False)
        one.take([PENDING])
    assert asked(place, 'SELECT count(*), count(noted) FROM "order"') == [(2, 0)]
    columns = ", ".join(f'"{name}" VARCHAR' for name in TABLE)
    asked(place, f"CREATE TABLE mine ({columns}, tenant VARCHAR NOT NULL)")
    assert "wants values for tenant, which not every verdict has" in refusal(f"{place}#mine")


def test_a_table_whose_own_rule_refuses_only_what_was_tried_is_told_and_not_refused(place: str) -> None:
    asked(place, made_by_hand("mine", "CHECK (item_id NOT LIKE 'row-%%')"))
    plan = EvaluationPlan(dataset="answers.csv", to=(f"{place}#mine",))
    checked, [doubt] = with_sinks(plan, a_run(), is_new=True)
    assert checked.to == plan.to
    assert doubt.endswith("so it refuses rows made up to try it; of this run's, those that it refuses are told")


def test_a_table_that_wants_a_value_where_a_verdict_may_have_none_is_refused(place: str) -> None:
    asked(place, made_by_hand("mine", "UNIQUE (reason)").replace('"reason" VARCHAR', '"reason" VARCHAR NOT NULL'))
    assert "wants values for reason, which not every verdict has" in refusal(f"{place}#mine")


def test_a_table_without_the_key_is_refused(place: str) -> None:
    columns = ", ".join(f'"{name}" VARCHAR' for name in TABLE)
    asked(place, f"CREATE TABLE mine ({columns})")
    assert f"--to {place}#mine" in refusal(f"{place}#mine")


def test_a_new_run_does_not_write_over_one_of_the_same_name(to: str) -> None:
    written(to, SCORED)
    assert "verdicts of a run named r already" in refusal(to)
    with sink(to) as one:
        one.check(is_new=False)
    with sink(to, "another") as other:
        other.check(is_new=True)


@pytest.mark.parametrize("backend", ["sqlite", "duckdb"])
def test_a_folder_that_is_not_there_is_said(backend: str, tmp_path: Any) -> None:
    assert "there is no folder" in refusal(f"{backend}:///{tmp_path / 'nowhere' / 'x.db'}#t")


@pytest.mark.parametrize("backend", ["sqlite", "duckdb"])
def test_a_folder_that_goes_away_is_said_with_the_table_that_it_is_about(backend: str, tmp_path: Any) -> None:
    (tmp_path / "here").mkdir()
    to = f"{backend}:///{tmp_path / 'here' / 'x.db'}#t"
    with sink(to) as one:
        one.take([SCORED])
        rmtree(tmp_path / "here")
        with pytest.raises(SinkError, match=f"^--to {to}: "):
            one.take([PENDING])


def test_a_file_of_verdicts_is_its_owners_alone(place: str, to: str) -> None:
    file = TableName.parse(to).file
    written(to, SCORED)
    assert file is None or file.stat().st_mode & 0o777 == 0o600


def test_a_server_that_is_away_is_said_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "a-long-secret")
    said = refusal("postgresql://me@127.0.0.1:1/db#t")
    assert said.startswith("--to postgresql://me@127.0.0.1:1/db#t: ")
    assert "a-long-secret" not in said


def test_who_may_not_write_is_told_before_anything_is_sent(postgres_server: str) -> None:
    from tests.postgres import emptied

    place = emptied(postgres_server)
    written(f"{place}#mine", SCORED)
    asked(place, "DO $$ BEGIN CREATE ROLE reader LOGIN; EXCEPTION WHEN duplicate_object THEN END $$")
    asked(place, "GRANT SELECT ON mine TO reader")
    said = refusal(f"{place.replace('postgres@', 'reader@')}#mine", is_new=False)
    assert "permission denied" in said


@pytest.mark.parametrize(("to", "package"), [("duckdb:///x.db#t", "duckdb"), ("postgresql://h/db#t", "psycopg")])
def test_a_package_that_is_missing_is_named(to: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(SinkError, match=f"not installed.*pip install '?{package}"):
        opened(to, a_run())


def test_processes_take_turns_with_a_file_of_duckdb(tmp_path: Any) -> None:
    to = f"duckdb:///{tmp_path / 'mine.db'}#t"
    written(to, SCORED)
    hold = f"import duckdb; c = duckdb.connect({str(tmp_path / 'mine.db')!r}); print('held', flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with sink(to) as mine:
            with pytest.raises(SinkError, match="lock"):
                mine.take([PENDING])
            other.communicate("\n")
            mine.take([PENDING])
    assert asked(to, "SELECT count(*) FROM t") == [(2,)]


def test_a_row_that_breaks_a_constraint_is_told_from_a_database_that_is_away(place: str) -> None:
    asked(place, made_by_hand("mine", "CHECK (item_id <> 'b')"))
    with sink(f"{place}#mine") as one:
        with pytest.raises(RowsUnwanted, match=r"CHECK|check constraint"):
            one.take([SCORED, PENDING])
        one.take([SCORED])
        asked(place, "DROP TABLE mine")
        asked(place, "CREATE TABLE mine (run_id INTEGER)")
        with pytest.raises(SinkError) as away:
            one.take([PENDING])
    assert not isinstance(away.value, RowsUnwanted)


REFUSE = "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not today'; END $$"


@pytest.mark.parametrize(
    ("altered", "said"),
    [
        ("ALTER TABLE mine ALTER item_id TYPE VARCHAR(3)", "too long for type"),
        ("ALTER TABLE mine ALTER item_id TYPE VARCHAR", "index row"),
        (f"{REFUSE}; CREATE TRIGGER t BEFORE INSERT ON mine FOR EACH ROW EXECUTE FUNCTION no()", "not today"),
    ],
)
def test_postgresql_has_many_ways_of_refusing_a_row(
    postgres_server: str, altered: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    from tests.postgres import emptied

    place = emptied(postgres_server)
    asked(place, made_by_hand("mine", "UNIQUE (eval_id)"))
    asked(place, altered)
    long = "".join(hashlib.sha256(f"{n}".encode()).hexdigest() for n in range(200))
    with sink(f"{place}#mine") as one, pytest.raises(RowsUnwanted, match=said):
        one.take([replace(SCORED, item_id=long), *(replace(PENDING, item_id=f"{n}") for n in range(500))])
    assert not caplog.records, "the driver says it, too, in words of its own"


def test_a_table_that_is_dropped_while_a_run_writes_to_it_is_made_again(to: str, place: str) -> None:
    with sink(to) as one:
        one.take([SCORED])
        asked(place, 'DROP TABLE "order"')
        with suppress(SinkError):
            one.take([PENDING])
        one.take([PENDING])
    assert asked(place, 'SELECT item_id FROM "order"') == [("b",)]
