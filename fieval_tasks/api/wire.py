"""Our types <-> the API's JSON. New servers (snake_case) and old ones (camelCase, before April 2026) are both read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any, TypeAlias

from fieval_tasks.api.error_replies import LONGEST_SENTENCE, evaluation_error
from fieval_tasks.api.verdict_values import decode_value, finite, shown, text_of
from fieval_tasks.core.cutting import cut
from fieval_tasks.core.errors import Miscounted, NotTheProtocol, PlanError
from fieval_tasks.core.items import Evaluation, Failed, Pending, Verdict
from fieval_tasks.core.templates import Catalogue, Template

EVALUATIONS = "/sdk/api/v1/new-eval/"
TEMPLATES = "/sdk/api/v1/get-evals/"
# The largest template has some ten.
MOST_KEYS = 100
"""Keys that are kept of a row's judged inputs."""
# It is a UUID of 36 wherever one was seen. A longer one is treated as missing, since it could not be asked for by URL.
LONGEST_ID = 200
"""Characters of an eval_id."""

JSON = Any
Answered: TypeAlias = "tuple[str | None, Verdict | Pending | None]"
"""An item's eval_id and verdict in a synchronous reply."""


# -- what we send ------------------------------------------------------------------------------------------------


def submission(
    template: str,
    inputs: Sequence[Mapping[str, str]],
    *,
    model: str | None = None,
    params: Mapping[str, Any] | None = None,
    is_async: bool,
) -> bytes:
    """The body of a POST for one item, or for several of the same check packed as lists."""
    body: dict[str, Any] = {"eval_name": template, "inputs": _packed(inputs), "is_async": is_async}
    if model is not None:
        body["model"] = model
    if params:
        body["config"] = {"params": dict(params)}
    return json.dumps(body, ensure_ascii=False, allow_nan=False).encode()


def _packed(inputs: Sequence[Mapping[str, str]]) -> dict[str, Any]:
    if len(inputs) == 1:
        return dict(inputs[0])
    if any(one.keys() != inputs[0].keys() for one in inputs):
        raise PlanError("items with different keys can't share one request: send them apart")
    return {key: [one[key] for one in inputs] for key in inputs[0]}


# -- what comes back -----------------------------------------------------------------------------------------------


def eval_ids(reply: JSON, *, expected: int) -> list[str | None]:
    """The eval_id of each item of a submission, in input order; None where the reply has none for the item."""
    evaluations = _evaluations(reply, expected=expected)
    named = [_eval_id(e) for e in evaluations]
    if named and not any(named):
        raise NotTheProtocol("the server took a submission and named no eval_id for it")
    return named


def verdicts(reply: JSON, *, expected: int) -> list[Answered]:
    """(eval_id, verdict) of each item of a synchronous call, in input order.

    Where the reply has no verdict for an item, it is Pending if there is an eval_id to ask for, else None.
    """
    evaluations = _evaluations(reply, expected=expected)
    answers = [_answered(e) for e in evaluations]
    if answers and not any(eval_id or verdict for eval_id, verdict in answers):
        raise NotTheProtocol("the server answered a submission with neither a verdict nor an eval_id")
    return answers


def evaluation(reply: JSON, *, eval_id: str) -> Evaluation:
    """The state of an evaluation and the inputs that were judged, from a GET's reply."""
    return Evaluation(state(reply, eval_id=eval_id), judged_inputs(reply))


def state(reply: JSON, *, eval_id: str | None = None) -> Pending | Verdict:
    """The state of one evaluation, from a GET's reply. Raises NotTheProtocol where the reply names another eval_id."""
    result = _result(reply)
    status, row = pick(result, "eval_status"), result.get("result")
    status = status.strip().lower() if isinstance(status, str) else status
    if status not in ("pending", "processing", "completed", "failed"):
        raise NotTheProtocol(f"an evaluation's state is {shown(status)}, which this API does not have")
    if status in ("pending", "processing"):
        return Pending()
    if not isinstance(row, dict):
        raise NotTheProtocol(f"an evaluation is {status} and the server tells {shown(row)} of it")
    if eval_id is not None and not _is_same(_eval_id(row), eval_id):
        raise NotTheProtocol(f"the server was asked for {shown(eval_id)} and answered for {shown(_eval_id(row))}")
    return _row_verdict(status, row)


def judged_inputs(reply: JSON) -> Mapping[str, Any] | None:
    """The inputs that were judged, from a GET's reply; None where it has none."""
    row = _result(reply).get("result")
    inputs = pick(row, "input_data") if isinstance(row, dict) else None
    return inputs if isinstance(inputs, dict) and len(inputs) <= MOST_KEYS else None


def catalogue(reply: JSON, *, source: str) -> Catalogue:
    """Every template that get-evals lists."""
    entries = reply.get("result") if isinstance(reply, dict) else None
    if not isinstance(entries, list):
        raise NotTheProtocol("get-evals did not answer with a list of templates")
    templates = [_template(e) for e in entries if isinstance(e, dict) and isinstance(e.get("name"), str)]
    if not templates:
        raise NotTheProtocol("get-evals listed no template")
    return Catalogue(templates={t.name: t for t in templates}, source=source)


def parsed(body: bytes) -> JSON:
    """The JSON of a 200 body. Raises NotTheProtocol where it is none."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        start = body[:60].decode("utf-8", "replace").strip()
        raise NotTheProtocol(f"the server answered 200 with something that is not JSON: {start!r}") from error


# -- rows ----------------------------------------------------------------------------------------------------------


def _answered(evaluation: Mapping[str, Any]) -> Answered:
    eval_id = _eval_id(evaluation)
    if evaluation.keys().isdisjoint(("output", "reason", "runtime")):
        return eval_id, None if eval_id is None else Pending()
    kind = pick(evaluation, "output_type")
    return eval_id, _judged(evaluation.get("output"), kind, evaluation.get("reason"), evaluation.get("runtime"))


def _row_verdict(status: str, row: Mapping[str, Any]) -> Verdict:
    value, message = row.get("value"), pick(row, "error_message")
    if status == "failed" and (value is None or message):
        reason = message if isinstance(message, str) else shown(message) if message else ""
        return evaluation_error(reason or "the evaluation failed and the server gave no reason")
    return _judged(value, pick(row, "output_type"), row.get("reason"), row.get("runtime"))


def _judged(value: Any, output_type: str | None, reason: Any, runtime: Any) -> Verdict:
    if reason is None and runtime is None:
        return Failed("evaluate", "hollow", "the row is completed with neither reason nor runtime: no judge ran")
    verdict = decode_value(value, output_type)
    if isinstance(verdict, Failed):
        return verdict
    return replace(verdict, reason=None if reason is None else text_of(reason), runtime_ms=finite(runtime))


def _template(entry: Mapping[str, Any]) -> Template:
    config = entry.get("config")
    config = config if isinstance(config, dict) else {}
    optional = _names(pick(config, "optional_keys"))
    return Template(
        name=entry["name"],
        required=tuple(k for k in _names(pick(config, "required_keys")) if k not in optional),
        optional=optional,
        output=text_of(config.get("output") or ""),
        needs_model=pick(config, "eval_type_id") != "CustomCodeEval",
        models=_names(config.get("models")),
        parameters=_parameters(config),
        description=text_of(entry.get("description") or ""),
        choices=_names(entry.get("choices")) if config.get("output") == "choices" else (),
    )


def _parameters(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Parameter -> its entry, from `config` or `function_params_schema`; its allowed values stand in `config_params_option`."""
    options = _objects(pick(config, "config_params_option"), of=list)
    rules = _objects(config.get("config")) | _objects(pick(config, "function_params_schema"))
    return {name: {"options": options[name], **rule} if name in options else rule for name, rule in rules.items()}


def _objects(value: Any, of: type = dict) -> dict[str, Any]:
    return {name: part for name, part in value.items() if isinstance(part, of)} if isinstance(value, dict) else {}


def _names(value: Any) -> tuple[str, ...]:
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, list) else ()


# -- envelopes -----------------------------------------------------------------------------------------------------


def _evaluations(reply: JSON, *, expected: int) -> list[Mapping[str, Any]]:
    """The object for each item in a submission's reply, in input order; {} where the reply has none for the item."""
    groups = reply.get("result", reply) if isinstance(reply, dict) else reply
    listed = [g["evaluations"] for g in dicts(groups) if isinstance(g.get("evaluations"), list)]
    if not listed:
        raise NotTheProtocol(f"a submission was answered by {shown(reply)}")
    found: list[Mapping[str, Any]] = [e if isinstance(e, dict) else {} for evaluations in listed for e in evaluations]
    if expected == 1 and len(found) > 1 and (first := next(filter(None, map(_eval_id, found)), None)):
        return [{"eval_id": first}]  # whichever is asked for, it is this item's
    if len(found) != expected:
        named = ", ".join(filter(None, map(_eval_id, found))) or "none"
        raise Miscounted(
            f"{expected} items were sent in one request and the answer has {len(found)} (eval_ids that it names: "
            f"{cut(named, LONGEST_SENTENCE)})"
        )
    return found


def dicts(value: JSON) -> list[dict[str, Any]]:
    """The objects of a list, or the one object that stands in its place."""
    return [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, dict)]


def _result(reply: JSON) -> Mapping[str, Any]:
    """The object with an evaluation's state: under `result`, or the reply itself where it has no envelope."""
    for part in dicts(reply):
        for fields in (part.get("result"), part):
            if isinstance(fields, dict) and pick(fields, "eval_status") is not None:
                return fields
    raise NotTheProtocol(f"a question for an evaluation was answered by {shown(reply)}")


def pick(mapping: Mapping[str, Any], name: str) -> Any:
    """A field by its present name, or by the camelCase name of servers before April 2026."""
    value = mapping.get(name)
    return mapping.get(_in_camel_case(name)) if value is None else value


@cache
def _in_camel_case(name: str) -> str:
    first, *others = name.split("_")
    return first + "".join(map(str.capitalize, others))


def _eval_id(evaluation: Mapping[str, Any]) -> str | None:
    """The evaluation's eval_id; None where it has none, or one that is too long or unprintable."""
    eval_id = pick(evaluation, "eval_id")
    if not isinstance(eval_id, str) or not 0 < len(eval_id) <= LONGEST_ID:
        return None
    return eval_id if eval_id.isprintable() and not eval_id.isspace() else None


def _is_same(named: str | None, eval_id: str) -> bool:
    """Whether a row may be the one that was asked for: its eval_id is the same, or missing or unreadable."""
    return named is None or named == eval_id or named.casefold() == eval_id.casefold()
