"""The ledger's tables, for SQLite and PostgreSQL. Times are UTC."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import sqlalchemy as sa


def utc_now() -> datetime:
    return datetime.now(timezone.utc)


class Text(sa.TypeDecorator[str]):
    """Text that every database takes: NUL and lone surrogates are written as escapes."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _: sa.Dialect) -> str | None:
        return storable(value)


def storable(text: str | None) -> str | None:
    """The text with NUL and lone surrogates as escapes, which no database refuses."""
    if text is None or (text.isascii() and "\0" not in text):
        return text
    return text.replace("\0", r"\x00").encode("utf-8", "backslashreplace").decode()


class Moment(sa.TypeDecorator[datetime]):
    """A time in UTC, also with databases that store no zone or convert to their own."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _: sa.Dialect) -> datetime | None:
        return value if value is None or value.tzinfo is timezone.utc else value.astimezone(timezone.utc)

    def process_result_value(self, value: datetime | None, _: sa.Dialect) -> datetime | None:
        if value is None:
            return None
        return value.astimezone(timezone.utc) if value.tzinfo else value.replace(tzinfo=timezone.utc)


def _of_run() -> sa.ForeignKey:
    return sa.ForeignKey("fieval_runs.run_id", ondelete="CASCADE")


def _each(kind: type[sa.types.TypeEngine[Any]], *names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind) for name in names]


metadata = sa.MetaData()

schema = sa.Table("fieval_schema", metadata, sa.Column("version", sa.Integer, nullable=False))

runs = sa.Table(
    "fieval_runs",
    metadata,
    sa.Column("run_id", sa.String(80), primary_key=True),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("dataset", Text, nullable=False),
    sa.Column("dataset_fingerprint", sa.String(64), nullable=False),
    sa.Column("mode", sa.String(10), nullable=False),
    sa.Column("connection", Text, nullable=False),
    sa.Column("checks", sa.JSON, nullable=False),
    sa.Column("plan", sa.JSON, nullable=False),
    sa.Column("notices", sa.JSON, nullable=False),
    sa.Column("total", sa.Integer, nullable=False),
    sa.Column("flow_run_id", sa.String(40)),
    sa.Column("started_at", Moment),
    sa.Column("finished_at", Moment),
    sa.Column("wall_seconds", sa.Float, nullable=False, default=0.0),
    sa.Column("exit_code", sa.Integer),
    sa.Column("submits", sa.Integer, nullable=False, default=0),
    sa.Column("polls", sa.Integer, nullable=False, default=0),
    sa.Column("retries", sa.Integer, nullable=False, default=0),
    sa.Column("throttled", sa.Integer, nullable=False, default=0),
    sa.Column("possible_duplicates", sa.Integer, nullable=False, default=0),
    sa.Column("begun_by", sa.String(40)),
    sa.Column("address", Text),
    sa.Column("account", sa.String(120)),
    sa.Column("is_whole", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("population", sa.Integer),
    sa.Column("tier", sa.String(40)),
    sa.Column("pruned_at", Moment),
    sa.Column("is_behind", sa.Boolean, nullable=False, server_default=sa.false()),
)

_IN_DOUBT = sa.text("doubts > 0")
_IS_REUSABLE = sa.text("state = 'scored' AND reused_from IS NULL AND same_as IS NULL")
_HAS_TICKET = sa.text("eval_id IS NOT NULL")

items = sa.Table(
    "fieval_items",
    metadata,
    sa.Column("run_id", sa.String(80), _of_run(), primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("chunk", sa.Integer, nullable=False),
    sa.Column("state", sa.String(10), nullable=False),
    sa.Column("item_id", Text, nullable=False),
    sa.Column("row", sa.Integer, nullable=False),
    sa.Column("check_name", Text, nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("same_as", sa.Integer),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("lost", sa.Integer, nullable=False, default=0),
    sa.Column("redone", sa.Integer, nullable=False, default=0),
    sa.Column("polls", sa.Integer, nullable=False, default=0),
    sa.Column("sent_at", Moment),
    sa.Column("eval_id", Text),
    sa.Column("submitted_at", Moment),
    sa.Column("finished_at", Moment),
    sa.Column("value", sa.Text),
    sa.Column("score", sa.Float),
    sa.Column("passed", sa.Boolean),
    sa.Column("reason", Text),
    sa.Column("runtime_ms", sa.Float),
    sa.Column("stage", sa.String(10)),
    sa.Column("error_kind", sa.String(40)),
    sa.Column("error_message", Text),
    sa.Column("kept", sa.Text),
    sa.Column("params", sa.Text),
    sa.Column("doubts", sa.Integer, nullable=False, server_default="0"),
    sa.Column("resend_if_unknown", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("traits", sa.Text),
    sa.Column("repeat", sa.Integer, nullable=False, server_default="0"),
    sa.Column("reused_from", sa.String(80)),
    sa.Column("drawn", sa.Integer),
    sa.Index("fieval_items_by_state", "run_id", "state"),
    sa.Index("fieval_items_by_chunk", "run_id", "chunk"),
    sa.Index("fieval_items_by_eval_id", "run_id", "eval_id", sqlite_where=_HAS_TICKET, postgresql_where=_HAS_TICKET),
    # Only verdicts that were paid for are in it: writing a run's items costs nothing more, and a verdict an entry.
    sa.Index(
        "fieval_items_reusable", "fingerprint", "finished_at", sqlite_where=_IS_REUSABLE, postgresql_where=_IS_REUSABLE
    ),
    sa.Index("fieval_items_in_doubt", "run_id", sqlite_where=_IN_DOUBT, postgresql_where=_IN_DOUBT),
)

_numbered = sa.BigInteger().with_variant(sa.Integer, "sqlite")

events = sa.Table(
    "fieval_events",
    metadata,
    sa.Column("run_id", sa.String(80), _of_run(), nullable=False),
    sa.Column("n", _numbered, primary_key=True, autoincrement=True),
    sa.Column("seq", sa.Integer, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("event", sa.String(30), nullable=False),
    sa.Column("detail", Text, nullable=False),
    sa.Index("fieval_events_by_item", "run_id", "seq"),
)

conclusions = sa.Table(
    "fieval_conclusions",
    metadata,
    sa.Column("run_id", sa.String(80), _of_run(), nullable=False, index=True),
    sa.Column("n", _numbered, primary_key=True, autoincrement=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("exit_code", sa.Integer),
    sa.Column("standing", sa.JSON, nullable=False),
    sa.Column("ended", sa.JSON(none_as_null=True)),
)

baselines = sa.Table(
    "fieval_baselines",
    metadata,
    sa.Column("n", _numbered, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.String(80), _of_run(), nullable=False),
    sa.Column("dataset", Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("note", Text, nullable=False),
)

label_draws = sa.Table(
    "fieval_label_draws",
    metadata,
    sa.Column("n", _numbered, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.String(80), _of_run(), nullable=False),
    sa.Column("check_name", Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("policy", Text, nullable=False),
    sa.Column("seed", sa.Integer, nullable=False),
    sa.Column("of", sa.Integer, nullable=False),
    sa.Column("items", sa.JSON, nullable=False),
)

calibrations = sa.Table(
    "fieval_calibrations",
    metadata,
    sa.Column("n", _numbered, primary_key=True, autoincrement=True),
    sa.Column("run_id", sa.String(80), _of_run(), nullable=False),
    sa.Column("check_name", Text, nullable=False),
    sa.Column("at", Moment, nullable=False),
    sa.Column("identity", sa.JSON, nullable=False),
    sa.Column("content", sa.JSON, nullable=False),
)

claims = sa.Table(
    "fieval_claims",
    metadata,
    sa.Column("run_id", sa.String(80), _of_run(), primary_key=True),
    sa.Column("chunk", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("owner", sa.String(200), nullable=False),
    sa.Column("until", Moment, nullable=False),
)

spending = sa.Table(
    "fieval_spending",
    metadata,
    sa.Column("run_id", sa.String(80), _of_run(), primary_key=True),
    sa.Column("check_name", Text, primary_key=True),
    sa.Column("evaluations", sa.Integer, nullable=False),
)

writers = sa.Table(
    "fieval_writers",
    metadata,
    sa.Column("run_id", sa.String(80), _of_run(), primary_key=True),
    sa.Column("owner", sa.String(200), primary_key=True),
    sa.Column("commits", sa.Integer, nullable=False),
    sa.Column("deposed_by", sa.String(200)),
)

figures = sa.Table(
    "fieval_figures",
    metadata,
    sa.Column("run_id", sa.String(80), _of_run(), primary_key=True),
    sa.Column("check_name", Text, primary_key=True),
    sa.Column("template", Text, nullable=False),
    sa.Column("model", Text),
    # The others are null until the run has been concluded.
    sa.Column("at", Moment),
    sa.Column("server", Text),
    sa.Column("params", sa.String(64)),
    sa.Column("good", Text),
    sa.Column("policy", Text),
    sa.Column("asked", sa.String(64)),
    *_each(sa.Integer, "total", "scored", "failed", "pending", "not_needed", "reused", "passed"),
    *_each(sa.Float, "pass_rate", "pass_rate_low", "pass_rate_high", "mean", "bounds_low", "bounds_high"),
    *_each(sa.Float, "corrected_rate", "corrected_low", "corrected_high", "cost"),
    sa.Column("gates", sa.JSON),
)

choices = sa.Table(
    "fieval_choices",
    metadata,
    sa.Column("run_id", sa.String(80), _of_run(), nullable=False, index=True),
    sa.Column("check_name", Text, nullable=False),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("passed", sa.Boolean),
)
