"""The view of all verdicts, for dashboards and other programs: docs/reports.md tells what its columns mean."""

from __future__ import annotations

from sqlalchemy.engine import Connection

from fieval_tasks.core.items import State

# Only what SQLite, PostgreSQL and DuckDB all read alike: DuckDB runs the text of a SQLite file's views itself. Nothing of a
# plan or of a check's parameters is in it, since they may hold keys.
_STATUSES = " ".join(f"WHEN '{state.value}' THEN '{state.status}'" for state in State)
VERDICTS = f"""
CREATE VIEW fieval_verdicts AS
SELECT
    i.run_id AS run_id,
    r.dataset AS dataset,
    r.created_at AS run_created_at,
    i.item_id AS item_id,
    i."row" AS row_number,
    i.check_name AS check_name,
    i.repeat AS repeat,
    f.template AS template,
    f.model AS model,
    CASE i.state {_STATUSES} END AS status,
    i.value AS value_json,
    i.score AS score,
    CAST(COALESCE(c.passed, i.passed) AS INTEGER) AS passed,
    i.reason AS reason,
    i.runtime_ms AS runtime_ms,
    i.eval_id AS eval_id,
    i.stage AS stage,
    i.error_kind AS error_kind,
    i.error_message AS error_message,
    i.attempts AS attempts,
    i.submitted_at AS submitted_at,
    i.finished_at AS finished_at,
    i.reused_from AS reused_from,
    i.inputs AS inputs_json
FROM fieval_items AS i
JOIN fieval_runs AS r ON r.run_id = i.run_id
LEFT JOIN fieval_figures AS f ON f.run_id = i.run_id AND f.check_name = i.check_name
LEFT JOIN fieval_choices AS c ON c.run_id = i.run_id AND c.check_name = i.check_name AND c.value = i.value
WHERE r.is_whole
"""


def create_views(connection: Connection) -> None:
    """Create the view, or bring it up to date. Columns are only ever added, at its end: PostgreSQL allows nothing else, so that
    views that users have made of it stay."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(VERDICTS.replace("CREATE VIEW", "CREATE OR REPLACE VIEW"))
    else:
        connection.exec_driver_sql("DROP VIEW IF EXISTS fieval_verdicts")
        connection.exec_driver_sql(VERDICTS)
