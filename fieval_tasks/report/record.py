"""A result as plain fields: what each line and column of the results files holds."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from fieval_tasks.core.items import Result

FIELDS = (
    *("item_id", "row", "check", "template", "model", "status", "value", "score", "passed", "reason", "runtime_ms"),
    *("eval_id", "stage", "error", "attempts", "submitted_at", "finished_at", "inputs"),
)

FURTHER = ("repeat", "reused_from")
"""Fields that only some runs have."""


def record(result: Result, further: Sequence[str] = ()) -> dict[str, Any]:
    """The fields of results.jsonl in their order, ready for strict JSON: a number that isn't finite becomes null."""
    fields = {name: getattr(result, name) for name in (*FIELDS, *further)}
    fields |= {name: finite(fields[name]) for name in ("value", "score", "runtime_ms")}
    fields |= {name: None if fields[name] is None else dict(fields[name]) for name in ("error", "inputs")}
    fields |= {name: iso(fields[name]) for name in ("submitted_at", "finished_at")}
    return fields if result.kept is None else fields | {"columns": finite(dict(result.kept))}


def finite(value: Any) -> Any:
    """The value without NaN and infinities, however deep: JSON and spreadsheets have no word for them."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [finite(part) for part in value]
    if isinstance(value, dict):
        return {key: finite(part) for key, part in value.items()}
    return value


def utc(moment: datetime) -> datetime:
    """The moment in UTC; one without a zone is taken to be UTC already."""
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)


def iso(moment: datetime | None) -> str | None:
    """ISO 8601 in UTC with its offset, always to the microsecond, so that the text sorts as the times do."""
    return None if moment is None else utc(moment).isoformat(timespec="microseconds")


def value_text(value: Any) -> str | None:
    """A verdict's value, or any other, as one text: text as it is, numbers and choices as JSON."""
    known = finite(value)
    return known if known is None or isinstance(known, str) else json.dumps(known, ensure_ascii=False, allow_nan=False)
