"""The JSON schema of plan files, by which editors complete and check them: docs/plan.schema.json."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from fieval_tasks.core.plan import FOLDED, EvaluationPlan
from fieval_tasks.data.plan_file import ALIASES, JUDGE, NO_FIELDS

_AMOUNTS = ("prices", "max_cost", "precision", "allow_failures")
"""Fields of text that may be written as a number, too."""
_LISTS = ("gates", "keep", "dataset", "labels")
"""Fields that take one text or a list of texts."""


def plan_schema() -> dict[str, Any]:
    """The schema of Prefect's form without its folds, with what only a file may say: options' names, and texts for lists."""
    schema = EvaluationPlan.model_json_schema()
    form = schema["properties"]
    folded = form.pop(FOLDED)["anyOf"][0]["properties"]
    fields = {name: _in_a_file(name, {**form, **folded}[name]) for name in EvaluationPlan.model_fields}
    dashed = {name.replace("_", "-"): name for name in fields if "_" in name}
    same = {**ALIASES, **dashed}
    aliases = {name: {**fields[field], "description": f"The same as {field}."} for name, field in same.items()}
    judge = {"type": "string", "description": "The judge model of the checks that name none."}
    others = {name: {"type": "string"} for name in NO_FIELDS}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Plan of an evaluation",
        "description": "What a run evaluates, and how: for `python -m flows.evaluate --plan FILE`.",
        "type": "object",
        "properties": {**fields, JUDGE: judge, **aliases, **others},
        "additionalProperties": False,
        "$defs": schema["$defs"],
    }


def _in_a_file(name: str, form: Mapping[str, Any]) -> dict[str, Any]:
    field = {key: value for key, value in form.items() if key not in ("default", "title", "anyOf")}
    kinds = [kind for kind in form.get("anyOf", ()) if kind != {"type": "null"}]
    field |= kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {}
    if name == "checks":
        one = {"anyOf": [{"type": "string"}, field.pop("items")]}
        return field | {"type": "array", "items": one}
    if name == "prices":
        return field | {"additionalProperties": {"type": ["string", "number"]}}
    if name == "good":
        return field | {"additionalProperties": {"anyOf": [{"type": "string"}, field["additionalProperties"]]}}
    if name in _LISTS:
        return {**field, "type": ["string", "array"], "items": {"type": "string"}}
    if field.get("type") == "number" or name in _AMOUNTS:
        field["type"] = ["number", "string"]
    return field


def as_json() -> str:
    return json.dumps(plan_schema(), indent=2, ensure_ascii=False) + "\n"
