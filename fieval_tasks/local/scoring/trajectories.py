"""Scores of what an agent did (`output`) against what it should have done (`expected`)."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from itertools import takewhile
from typing import Any, Final

from fieval_tasks.local.scoring.readings import parsed, text, whole
from fieval_tasks.local.scoring.shapes import Scorer
from fieval_tasks.local.verdicts import Inputs, Params, Unscorable, Verdict, passed


def _tool_calls(inputs: Inputs, params: Params) -> Verdict:
    """One point for a call with the right arguments, half for the right name alone."""
    made, wanted = (Counter(_calls(text(inputs, key))) for key in ("output", "expected"))
    exact = made & wanted
    named = sum((_names(made - exact) & _names(wanted - exact)).values())
    total = max(made.total(), wanted.total())
    score = (exact.total() + 0.5 * named) / total if total else 1.0
    counts = f"{exact.total()} exact and {named} by name, of {wanted.total()} expected and {made.total()} made"
    return Verdict(score, f"Tool calls: {counts}")


def _trajectory(inputs: Inputs, params: Params) -> Verdict:
    made, wanted = _actions(inputs, "output"), _actions(inputs, "expected")
    start = len([*takewhile(lambda both: both[0] == both[1], zip(made, wanted, strict=False))])
    done, due = set(made), set(wanted)
    modes = {
        "strict": (start, max(len(made), len(wanted)), "actions agree from the start"),
        "unordered": (len(done & due), len(done | due), "actions shared"),
        "subset": (len(done & due), len(due), "expected actions done"),
        "superset": (len(done & due), len(done), "actions done that were expected"),
    }
    mode = str(params.get("mode") or "strict").lower()
    if mode not in modes:
        raise Unscorable(f"mode must be strict, unordered, subset or superset, not {mode}")
    part, total, what = modes[mode]
    return Verdict(part / total if total else 1.0, f"{mode.capitalize()}: {what}: {part} of {total}")


def _step_count(inputs: Inputs, params: Params) -> Verdict:
    count = len(_actions(inputs, "output"))
    exact, least, most = (whole(params, name) for name in ("expected_steps", "min_steps", "max_steps"))
    if exact is not None:
        return passed(count == exact, f"Steps: {count}, expected {exact}")
    bounds = [f"{name} {bound}" for name, bound in (("at least", least), ("at most", most)) if bound is not None]
    if not bounds:
        return passed(False, "None of expected_steps, min_steps and max_steps provided")
    inside = (least is None or count >= least) and (most is None or count <= most)
    return passed(inside, f"Steps: {count}, wanted {' and '.join(bounds)}")


def _names(calls: Counter[tuple[str, str]]) -> Counter[str]:
    return Counter(name for name, _ in calls.elements())


def _calls(value: str) -> list[tuple[str, str]]:
    """Each call's tool and its arguments, as JSON in one spelling."""
    found = parsed(value)
    return [_call(item) for item in (found if isinstance(found, list) else [found]) if isinstance(item, dict)]


def _call(item: dict[str, Any]) -> tuple[str, str]:
    call = item["function"] if isinstance(item.get("function"), dict) else item
    arguments = call.get("arguments", {})
    if isinstance(arguments, str) and (as_json := parsed(arguments)) is not None:
        arguments = as_json
    return str(call.get("name", "")), json.dumps(arguments, sort_keys=True)


def _actions(inputs: Inputs, key: str) -> list[str]:
    """The names in a JSON array, or the parts between commas."""
    found = parsed(text(inputs, key))
    if not isinstance(found, list):
        return [part for part in map(str.strip, text(inputs, key).split(",")) if part]
    return [
        str(item.get("name", item.get("action", json.dumps(item, sort_keys=True))))
        if isinstance(item, dict)
        else str(item)
        for item in found
    ]


SCORERS: Final[Mapping[str, Scorer]] = {
    "tool_call_accuracy": _tool_calls,
    "trajectory_match": _trajectory,
    "step_count": _step_count,
}
