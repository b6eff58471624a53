"""What `--to` may name, and that no message repeats a URL that may hold a password."""

from __future__ import annotations

import pytest

from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.core.sink_names import TableName, at_home


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("postgresql://h/db#s.t", TableName("postgresql", "postgresql://h/db", "s", "t")),
        ("postgres://u@h:5/db?sslmode=require#order", TableName("postgresql", "postgresql://u@h:5/db?sslmode=require", None, "order")),
        ("postgresql:///db#T", TableName("postgresql", "postgresql:///db", None, "T")),
        ("sqlite:///x.db#select", TableName("sqlite", "x.db", None, "select")),
        ('sqlite:////a b/x.db#"my.table"', TableName("sqlite", "/a b/x.db", None, "my.table")),
        ('duckdb:///x#1.duckdb#"my.schema".t', TableName("duckdb", "x#1.duckdb", "my.schema", "t")),
        ("duckdb:///x.duckdb#Прогоны; DROP TABLE t--", TableName("duckdb", "x.duckdb", None, "Прогоны; DROP TABLE t--")),
    ],
)  # fmt: skip
def test_a_table_is_named_behind_the_url_of_its_database(text: str, meant: TableName) -> None:
    assert TableName.parse(text) == meant
    assert TableName.parse(str(meant)) == meant


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("mysql://h/db#t", "no database that verdicts can be written to"),
        ("verdicts", "no database that verdicts can be written to"),
        ("postgresql://h/db", "behind a #"),
        ("postgresql://h/db#", "is no table's"),
        ("postgresql://h/db#a.b.c", "is no table's"),
        ("sqlite:///x.db#a\nb", "is no table's"),
        ("sqlite:///x.db#a.b", "no schemas"),
        ("sqlite:///x.db#sqlite_t", "for itself"),
        ("postgresql://h/db#" + "t" * 64, "63 bytes"),
        ("sqlite://x.db#t", "names no file"),
        ("duckdb:///:memory:#t", "names no file"),
        ("postgresql://h/db?service=other#t", "service can't stand in the URL"),
    ],
)
def test_what_names_no_table_is_refused_with_the_form_that_does(text: str, why: str) -> None:
    with pytest.raises(PlanError, match=why):
        EvaluationPlan(to=(text,))


@pytest.mark.parametrize(
    "text",
    [
        "postgresql://me:hunter2@h/db#t",
        "postgresql://me:hunter2#x@h/db#t",
        "postgresql://me:hunter2/x@h/db#t",
        "postgresql://h/db?password=hunter2#t",
        "postgresql://h/db?sslpassword=hunter2#t",
        "mysql://me:hunter2@h/db#t",
        "postgresql://me:hunter2@[h/db#t",
    ],
)
def test_a_password_in_a_url_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(PlanError) as refused:
        EvaluationPlan(to=(text,))
    assert "hunter2" not in str(refused.value)
    assert "PGPASSWORD" in str(refused.value) or "no database" in str(refused.value)


def test_a_file_is_meant_where_the_run_began() -> None:
    assert at_home("sqlite:///x.db#t").startswith("sqlite:////")
    assert at_home(at_home("duckdb:///~/x.db#t")) == at_home("duckdb:///~/x.db#t")
    assert at_home("postgresql://h/db#t") == "postgresql://h/db#t"
