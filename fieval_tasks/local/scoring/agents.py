"""Scores of what an agent did (`output`) against what it should have done (`expected`)."""

from __future__ import annotations

import json
from itertools import takewhile
from typing import Any

from fieval_tasks.local.scoring.readings import parsed, text, whole
from fieval_tasks.local.verdicts import Inputs, Params, Unscorable, Verdict, passed

Call = tuple[str, Any]
"""A tool's name and its arguments."""


def tool_call_accuracy(inputs: Inputs, params: Params) -> Verdict:
    """One point for a call with the right arguments, half for the right name alone."""
    made, wanted = _calls(text(inputs, "output")), _calls(text(inputs, "expected"))
    total = max(len(made), len(wanted))
    left = list(wanted)
    exact = sum(_took(left, call) for call in made)
    spare = [name for name, _ in left]
    unmatched = [call for call in made if call not in wanted]
    named = sum(_took(spare, name) for name, _ in unmatched)
    score = (exact + 0.5 * named) / total if total else 1.0
    return Verdict(
        score, f"Tool calls: {exact} exact and {named} by name, of {len(wanted)} expected and {len(made)} made"
    )


def trajectory_match(inputs: Inputs, params: Params) -> Verdict:
    """`mode`: strict (share of a common start), unordered (Jaccard), subset or superset (share found)."""
    made, wanted = _actions(inputs, "output"), _actions(inputs, "expected")
    mode = str(params.get("mode") or "strict").lower()
    if mode == "strict":
        start = len(list(takewhile(_agree, zip(made, wanted, strict=False))))
        return _ratio(start, max(len(made), len(wanted)), "Strict: actions agree from the start")
    done, due = set(made), set(wanted)
    if mode == "unordered":
        return _ratio(len(done & due), len(done | due), "Unordered: actions shared")
    if mode == "subset":
        return _ratio(len(done & due), len(due), "Subset: expected actions done")
    if mode == "superset":
        return _ratio(len(done & due), len(done), "Superset: actions done that were expected")
    raise Unscorable(f"mode must be strict, unordered, subset or superset, not {mode}")


def step_count(inputs: Inputs, params: Params) -> Verdict:
    count = len(_actions(inputs, "output"))
    exact, least, most = (whole(params, name) for name in ("expected_steps", "min_steps", "max_steps"))
    if exact is not None:
        return passed(count == exact, f"Steps: {count}, expected {exact}")
    if least is None and most is None:
        return passed(False, "None of expected_steps, min_steps and max_steps provided")
    inside = (least is None or count >= least) and (most is None or count <= most)
    bounds = [f"at least {least}" if least is not None else "", f"at most {most}" if most is not None else ""]
    return passed(inside, f"Steps: {count}, wanted {' and '.join(filter(None, bounds))}")


def _agree(both: tuple[str, str]) -> bool:
    return both[0] == both[1]


def _ratio(part: int, total: int, what: str) -> Verdict:
    return Verdict(part / total if total else 1.0, f"{what}: {part} of {total}")


def _took(pool: list[Any], item: Any) -> bool:
    """Whether the item was in the pool; it is then taken out."""
    if item not in pool:
        return False
    pool.remove(item)
    return True


def _calls(value: str) -> list[Call]:
    found = parsed(value)
    listed = found if isinstance(found, list) else [found]
    return [_call(item) for item in listed if isinstance(item, dict)]


def _call(item: dict[str, Any]) -> Call:
    function = item.get("function")
    call = function if isinstance(function, dict) else item
    arguments = call.get("arguments", {})
    if isinstance(arguments, str):
        as_json = parsed(arguments)
        arguments = arguments if as_json is None else as_json
    return str(call.get("name", "")), arguments


def _actions(inputs: Inputs, key: str) -> list[str]:
    found = parsed(text(inputs, key))
    if not isinstance(found, list):
        return [part for part in map(str.strip, text(inputs, key).split(",")) if part]
    return [_action(item) for item in found]


def _action(item: Any) -> str:
    if isinstance(item, dict):
        return str(item.get("name", item.get("action", json.dumps(item, sort_keys=True))))
    return str(item)
