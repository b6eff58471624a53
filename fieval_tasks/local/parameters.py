"""A template's own parameters, read from `config.params` and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fieval_tasks.local.catalogue import Template
from fieval_tasks.local.refusals import bad_fields


def read(template: Template, config: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters a request gives, defaults filled in where the template declares them.

    A template without a schema takes anything. Raises the 400 refusal, under `config`, for a name or a value the
    schema does not allow.
    """
    given = config.get("params", {})
    if not isinstance(given, dict):
        raise bad_fields({"config": ["params must be an object"]})
    if template.parameters is None:
        return given
    unknown = sorted(set(given) - set(template.parameters))
    if unknown:
        raise bad_fields({"config": [f"Unknown function params: {', '.join(unknown)}"]})
    complaints = [text for name, rule in template.parameters.items() if (text := _complaint(name, rule, given))]
    if complaints:
        raise bad_fields({"config": complaints})
    defaults = {name: rule.get("default") for name, rule in template.parameters.items()}
    return {**defaults, **given}


def _complaint(name: str, rule: Mapping[str, Any], given: Mapping[str, Any]) -> str | None:
    value = given.get(name)
    if value is None:
        return f"{name} is required" if rule.get("required") else None
    if not _fits(value, rule["type"]):
        return f"{name} must be {'an integer' if rule['type'] == 'integer' else 'a ' + rule['type']}"
    if "minimum" in rule and value < rule["minimum"]:
        return f"{name} must be at least {rule['minimum']}"
    if "maximum" in rule and value > rule["maximum"]:
        return f"{name} must be at most {rule['maximum']}"
    return None


def _fits(value: Any, kind: str) -> bool:
    if kind == "string":
        return isinstance(value, str)
    if isinstance(value, bool):
        return False
    return isinstance(value, int) if kind == "integer" else isinstance(value, (int, float))
