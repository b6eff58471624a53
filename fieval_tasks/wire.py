"""Our types <-> the API's JSON, in the spelling of new servers and old ones. Nothing else knows how it spells."""

from __future__ import annotations

import ast
import json
import math
import re
import warnings
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, TypeAlias, TypeGuard
from urllib.parse import urlsplit

from fieval_tasks.cutting import cut
from fieval_tasks.dialect import ENVELOPE, MORE_THAN_SENT, OUTPUT_TYPE, SPELLING, VALUES, Listener
from fieval_tasks.errors import (
    ApiError,
    EvaluationFailed,
    GatewayFault,
    KeysRefused,
    Miscounted,
    NoCredit,
    NotFound,
    NotTheProtocol,
    PlanError,
    Refused,
    ServerFault,
    Throttled,
    TurnedAway,
    Unavailable,
)
from fieval_tasks.items import Failed, Pending, Scored, Value, Verdict
from fieval_tasks.scrubbing import scrubbed
from fieval_tasks.templates import Catalogue, Template

EVALUATIONS = "/sdk/api/v1/new-eval/"
TEMPLATES = "/sdk/api/v1/get-evals/"
LONGEST_LITERAL = 65_536
"""Characters of a Python literal that are worth parsing; longer text stays text."""
LONGEST_SENTENCE = 2_000
"""Characters of what the server says of an error that are kept."""
MOST_KEYS = 100
"""Keys of what a row says it judged; the largest template has some ten."""
LONGEST_ID = 200
"""Characters of an eval_id, which is a UUID of 36 wherever it was seen: what is longer can't be asked for."""
LONGEST_TEXT = 100_000
"""Characters of a reason or a value that are kept, some fifty pages: a judge gives some hundreds, and a server that gives
megabytes to each item must fill neither the memory nor the ledger."""
LONGEST_WAIT_TOLD = 86_400.0
"""Seconds. A Retry-After beyond a day is a mistake (a date in epoch seconds, say), or worse: as good as none."""

JSON = Any
Answered: TypeAlias = "tuple[str | None, Verdict | Pending | None]"
"""An item's eval_id and verdict, as a synchronous reply tells them."""


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


def eval_ids(reply: JSON, *, expected: int, listener: Listener | None = None) -> list[str | None]:
    """The eval_id of each item of a submission, in input order; None for one that the reply does not name."""
    evaluations = _evaluations(reply, expected=expected, listener=listener)
    named = [_eval_id(e) for e in evaluations]
    if named and not any(named):
        raise NotTheProtocol("the server took a submission and named no eval_id for it")
    if listener is not None:
        _hear_envelope(_SUBMISSION, reply, listener)
        for evaluation in evaluations:
            _hear_evaluation(_SUBMISSION, evaluation, listener)
    return named


def verdicts(reply: JSON, *, expected: int, listener: Listener | None = None) -> list[Answered]:
    """(eval_id, verdict) of each item of a synchronous call, in input order.

    Of one that the reply does not judge, the verdict is Pending where it has an eval_id to ask for, else None.
    """
    evaluations = _evaluations(reply, expected=expected, listener=listener)
    told = [_answered(e) for e in evaluations]
    if told and not any(eval_id or verdict for eval_id, verdict in told):
        raise NotTheProtocol("the server answered a submission with neither a verdict nor an eval_id")
    if listener is not None:
        _hear_envelope(_SUBMISSION, reply, listener)
        for evaluation, (_, verdict) in zip(evaluations, told, strict=True):
            _hear_verdict(_SUBMISSION, evaluation, evaluation.get("output"), verdict, listener)
    return told


def state(reply: JSON, *, eval_id: str | None = None, listener: Listener | None = None) -> Pending | Verdict:
    """What a GET says of one evaluation: of this one, where its eval_id is given."""
    result = _result(reply)
    status = _word(_pick(result, "eval_status", "evalStatus"))
    row = result.get("result")
    if status not in ("pending", "processing", "completed", "failed"):
        raise NotTheProtocol(f"an evaluation's state is {_shown(status)}, which this API does not have")
    if listener is not None:
        _hear_envelope(_STATE, reply, listener, spelling=_spelling(result))
    if status in ("pending", "processing"):
        return Pending()
    if not isinstance(row, dict):
        raise NotTheProtocol(f"an evaluation is {status} and the server tells {_shown(row)} of it")
    if eval_id is not None and not _is_same(_eval_id(row), eval_id):
        raise NotTheProtocol(f"the server was asked for {_shown(eval_id)} and answered for {_shown(_eval_id(row))}")
    verdict = _row_verdict(status, row)
    if listener is not None:
        _hear_verdict(_ROW, row, row.get("value"), verdict, listener)
    return verdict


def judged_inputs(reply: JSON) -> Mapping[str, Any] | None:
    """What an evaluation judged, as a GET tells it; None where it does not."""
    row = _result(reply).get("result")
    inputs = _pick(row, "input_data", "inputData") if isinstance(row, dict) else None
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


def longest_pack_told(error: Refused) -> int | None:
    """How many items a request may carry, where that is what a packed one was refused for."""
    told = _TOO_LONG.search(str(error))
    return int(told[1]) if told else None


_TOO_LONG = re.compile(r"Input lists cannot have more than ([1-9][0-9]{0,5}) items", re.IGNORECASE)


def error(status: int, headers: Mapping[str, str], body: bytes, *, now: float | None = None) -> ApiError:
    """The typed error of an answer that is not 200."""
    reply = _parsed_or_none(body)
    told = cut(_said(reply) or "", LONGEST_SENTENCE) or f"HTTP {status} with a body that is not the API's"
    request_id = request_id_of(headers)
    if status == 429 or (status == 503 and "retry-after" in headers):
        wait = _retry_after(headers.get("retry-after"), reply, now=time() if now is None else now)
        return Throttled(told, retry_after=wait, status=status, request_id=request_id)
    if 300 <= status < 500:
        return _not_taken(status, reply, told, headers, request_id)
    if status in _GATEWAYS:
        return GatewayFault(told, status=status, request_id=request_id)
    if status in _AWAY:
        return Unavailable(told, status=status, request_id=request_id)
    if status >= 500:
        return ServerFault(told, status=status, request_id=request_id)
    return NotTheProtocol(told, status=status, request_id=request_id)


_AWAY = (503, 521, 523)
"""Of a server that takes nothing now; those from 521 on are a content network's that can't connect to it."""
_GATEWAYS = (502, 504, 520, 522, 524)
"""Of a gateway that waited for the server in vain; those from 520 on are a content network's."""


def _not_taken(status: int, reply: JSON, told: str, headers: Mapping[str, str], request_id: str | None) -> ApiError:
    """The error of a redirect or a refusal: the API's own where it comes in its envelope."""
    if _is_ours(reply) and status >= 400:
        if status in (401, 403) and _is_about_keys(reply):
            return KeysRefused(told, status=status, request_id=request_id)
        if status == 402:
            return NoCredit(told, status=status, request_id=request_id)
        if told.rstrip(".") == "Evaluation not found":
            return NotFound(told, fields=_fields(reply), status=status, request_id=request_id)
        if status != 404:
            fields, is_validation = _fields(reply), status != 400 or _is_validation(reply)
            return Refused(told, fields=fields, is_validation=is_validation, status=status, request_id=request_id)
    return TurnedAway(_hint(status, headers), status=status, request_id=request_id)


def _is_ours(reply: JSON) -> TypeGuard[Mapping[str, Any]]:
    """It is an error envelope of this API, of new servers or old ones."""
    if not isinstance(reply, dict):
        return False
    error = reply.get("error")
    is_documented = isinstance(error, dict) and all(isinstance(error.get(name), str) for name in ("code", "message"))
    is_old = isinstance(reply.get("detail"), str) or isinstance(reply.get("errors"), dict)
    return reply.get("status") is False or is_old or is_documented


def _is_about_keys(reply: Mapping[str, Any]) -> bool:
    """Old servers name no type."""
    kind = reply.get("type")
    return kind is None or kind in ("authentication_error", "permission_error") or reply.get("code") in _KEY_CODES


_KEY_CODES = ("not_authenticated", "authentication_failed", "permission_denied")


def _is_validation(reply: Mapping[str, Any]) -> bool:
    """As the API words what it did not begin to evaluate."""
    is_explained = bool(reply.get("details") or reply.get("errors"))
    return is_explained or _said(reply) in ("Validation failed", "Evaluation not found.")


def judges_failure(error: Refused) -> ApiError:
    """What a refusal of a synchronous call is, whose judge may have failed: told as a row that failed would tell it."""
    if error.is_validation:
        return error
    kind = _evaluation_error(error.message).kind
    limits: Mapping[str, type[ApiError]] = {"rate_limited": Throttled, "insufficient_credits": NoCredit}
    failure = limits.get(kind, EvaluationFailed)
    return failure(error.message, status=error.status, request_id=error.request_id)


def parsed(body: bytes) -> JSON:
    """JSON of a 200 body, or NotTheProtocol."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        start = body[:60].decode("utf-8", "replace").strip()
        raise NotTheProtocol(f"the server answered 200 with something that is not JSON: {start!r}") from error


# -- values --------------------------------------------------------------------------------------------------------


def decode_value(value: Any, output_type: str | None) -> Scored | Failed:
    """A verdict from its value: typed as POST gives it, or text as GET gives it. Reason and runtime come later."""
    if output_type == "Pass/Fail":
        return _pass_fail(value)
    if output_type in ("score", "numeric"):
        return _number(value)
    if output_type == "choices":
        return _choices(value)
    return _other(_literal(value) if isinstance(value, str) and output_type is None else value)


def _pass_fail(value: Any) -> Scored | Failed:
    word = value.strip().lower() if isinstance(value, str) else ""
    if word in ("passed", "pass"):
        return _scored("Passed", score=1.0, passed=True)
    if word in ("failed", "fail"):
        return _scored("Failed", score=0.0, passed=False)
    return _unreadable(value, "Passed or Failed")


def _number(value: Any) -> Scored | Failed:
    number = _finite(value)
    if number is None:
        return _unreadable(value, "a finite number")
    return _scored(number, score=_in_range(number))


def _choices(value: Any) -> Scored | Failed:
    value = _literal(value) if isinstance(value, str) else value
    if isinstance(value, dict):
        return _scored_choice(value)
    return _scored(_plain(value)) if isinstance(value, (list, str)) else _unreadable(value, "a choice")


def _scored_choice(value: Mapping[str, Any]) -> Scored | Failed:
    """Of one choice and its score, or of several choices and their common score."""
    score = _in_range(_finite(value.get("score")))
    if isinstance(value.get("choices"), list):
        return _scored(_plain(value["choices"]), score=score)
    return _unreadable(value, "a choice") if value.get("choice") is None else _scored(_plain(value), score=score)


def _other(value: Any) -> Scored | Failed:
    return _unreadable(value, "a value") if value is None else _scored(_plain(value))


def _plain(value: Any) -> Value:
    """Any JSON or Python literal, as flat as a verdict's value is."""
    if isinstance(value, (list, dict)) and _is_endless(value):
        return _text(json.dumps(value, ensure_ascii=False))
    if isinstance(value, list):
        return [_text(v) for v in value]
    if isinstance(value, dict):
        return {_text(k): _number_or_text(v) for k, v in value.items()}
    return _number_or_text(value)


def _is_endless(value: list[Any] | dict[str, Any]) -> bool:
    """More choices than fit into a text that is kept. They are kept as such a text, which is cut."""
    if len(value) > LONGEST_TEXT:
        return True
    parts = value if isinstance(value, list) else [*value, *value.values()]
    return sum(len(part) if isinstance(part, str) else 1 for part in parts) > LONGEST_TEXT


def _number_or_text(value: Any) -> str | float:
    number = None if isinstance(value, str) else _finite(value)
    return _text(value) if number is None else number


def _literal(text: str) -> Any:
    """GET writes lists and dicts as Python literals: read those, leave any other text alone."""
    if text[:1] not in ("[", "{") or len(text) > LONGEST_LITERAL:
        return text
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Python, on a stray backslash in somebody's text
            value = ast.literal_eval(text)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return text
    return value if isinstance(value, (list, dict)) else text


def _finite(value: Any) -> float | None:
    """A number, or text of one; None for anything else, NaN and infinity."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _in_range(number: float | None) -> float | None:
    return number if number is not None and 0.0 <= number <= 1.0 else None


def _text(value: Any) -> str:
    """Any JSON as text that every file and database can hold: no NUL, no half of a surrogate pair, no megabytes."""
    text = cut(value, LONGEST_TEXT) if isinstance(value, str) else _shown(value)
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def _scored(value: Value, *, score: float | None = None, passed: bool | None = None) -> Scored:
    return Scored(value=value, score=score, passed=passed, reason=None, runtime_ms=None)


def _unreadable(value: Any, wanted: str) -> Failed:
    return Failed("evaluate", "unreadable_value", f"the judge answered {_shown(value)} where {wanted} was expected")


# -- rows ----------------------------------------------------------------------------------------------------------


def _answered(evaluation: Mapping[str, Any]) -> Answered:
    eval_id = _eval_id(evaluation)
    if evaluation.keys().isdisjoint(("output", "reason", "runtime")):
        return eval_id, None if eval_id is None else Pending()
    kind = _pick(evaluation, "output_type", "outputType")
    return eval_id, _told(evaluation.get("output"), kind, evaluation.get("reason"), evaluation.get("runtime"))


def _row_verdict(status: str, row: Mapping[str, Any]) -> Verdict:
    value, message = row.get("value"), _pick(row, "error_message", "errorMessage")
    if status == "failed" and (value is None or message):
        told = message if isinstance(message, str) else _shown(message) if message else ""
        return _evaluation_error(told or "the evaluation failed and the server gave no reason")
    return _told(value, _pick(row, "output_type", "outputType"), row.get("reason"), row.get("runtime"))


def _told(value: Any, output_type: str | None, reason: Any, runtime: Any) -> Verdict:
    if reason is None and runtime is None:
        return Failed("evaluate", "hollow", "the row is completed with neither reason nor runtime: no judge ran")
    verdict = decode_value(value, output_type)
    if isinstance(verdict, Failed):
        return verdict
    return Scored(
        value=verdict.value,
        score=verdict.score,
        passed=verdict.passed,
        reason=None if reason is None else _text(reason),
        runtime_ms=_finite(runtime),
    )


def _evaluation_error(message: str) -> Failed:
    beginning = scrubbed(_text(message[: 2 * LONGEST_SENTENCE]))
    told = beginning if len(message) <= LONGEST_SENTENCE else cut(beginning, LONGEST_SENTENCE, of=len(message))
    kind = next((kind for kind, sentence in _LIMITS.items() if sentence.fullmatch(told.strip())), "evaluation_error")
    return Failed("evaluate", kind, told)


_NOT_ALLOWED = r"(?:API call not allowed ?: ?)?"
_LIMITS = {
    "rate_limited": re.compile(rf"{_NOT_ALLOWED}rate_limited\.?", re.IGNORECASE),
    "insufficient_credits": re.compile(
        rf"{_NOT_ALLOWED}insufficient[ _]credits?\.?|(?:you are )?out of credits?\.?"
        r"|(?:\w+ ){0,3}limit reached for \w*credits?\.?",
        re.IGNORECASE,
    ),
}
"""Whole sentences, as "API call not allowed: rate_limited" and "Free tier limit reached for ai_credits": an error may quote
an item's own words. A judge's own provider that has enough (RateLimitError, insufficient_quota) is not among them: the
platform ran the evaluation, and it failed."""


def _template(entry: Mapping[str, Any]) -> Template:
    config = entry.get("config")
    config = config if isinstance(config, dict) else {}
    optional = _names(_pick(config, "optional_keys", "optionalKeys"))
    return Template(
        name=entry["name"],
        required=tuple(k for k in _names(_pick(config, "required_keys", "requiredKeys")) if k not in optional),
        optional=optional,
        output=_text(config.get("output") or ""),
        needs_model=_pick(config, "eval_type_id", "evalTypeId") != "CustomCodeEval",
        models=_names(config.get("models")),
        parameters=_parameters(config),
        description=_text(entry.get("description") or ""),
    )


def _parameters(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """They stand in one of two places. Where one may have few values, those stand in a third."""
    options = _objects(_pick(config, "config_params_option", "configParamsOption"), of=list)
    told = _objects(config.get("config")) | _objects(_pick(config, "function_params_schema", "functionParamsSchema"))
    return {name: {"options": options[name], **rule} if name in options else rule for name, rule in told.items()}


def _objects(value: Any, of: type = dict) -> dict[str, Any]:
    return {name: part for name, part in value.items() if isinstance(part, of)} if isinstance(value, dict) else {}


def _names(value: Any) -> tuple[str, ...]:
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, list) else ()


# -- how the server speaks -----------------------------------------------------------------------------------------

_SUBMISSION, _STATE, _ROW = "a submission", "a state", "a row"
_SNAKE = frozenset(("eval_status", "eval_id", "output_type", "input_data", "error_message"))
_CAMEL = frozenset(("evalStatus", "evalId", "outputType", "inputData", "errorMessage"))
_JSON_TYPES = {
    str: "text", int: "a number", float: "a number", bool: "true or false", list: "a list", dict: "an object",
}  # fmt: skip
_OF_ONE_JSON_TYPE = frozenset(("Pass/Fail", "score", "numeric", "reason"))
"""Output types that a POST gives in one JSON type; a choice is text, a list or an object, as the template has it."""
_LONGEST_NAME = 200


def _hear_envelope(part: str, reply: JSON, listener: Listener, *, spelling: str | None = None) -> None:
    is_well = isinstance(reply, dict) and reply.get("status") is True
    listener.hear(ENVELOPE, part, now=f"{'' if is_well else 'no '}status true")
    listener.hear(SPELLING, part, now=spelling)


def _hear_evaluation(part: str, evaluation: Mapping[str, Any], listener: Listener) -> None:
    listener.hear(SPELLING, part, now=_spelling(evaluation))
    if (template := _name(evaluation.get("name"))) is not None:
        listener.hear(OUTPUT_TYPE, part, template, now=_output_type(evaluation))


def _hear_verdict(
    part: str, evaluation: Mapping[str, Any], value: Any, verdict: Verdict | Pending | None, listener: Listener
) -> None:
    """As an evaluation, with the JSON type of a value that was read."""
    _hear_evaluation(part, evaluation, listener)
    output_type = _output_type(evaluation)
    is_of_one_type = part is _ROW or output_type in _OF_ONE_JSON_TYPE
    if output_type is not None and isinstance(verdict, Scored) and is_of_one_type:
        about = _name(evaluation.get("name")) or output_type
        listener.hear(VALUES, part, output_type, about, now=_JSON_TYPES.get(type(value)))


def _spelling(fields: Mapping[str, Any]) -> str | None:
    if _CAMEL.isdisjoint(fields):
        return None if _SNAKE.isdisjoint(fields) else "snake_case"
    return "camelCase" if _SNAKE.isdisjoint(fields) else "both spellings at once"


def _output_type(evaluation: Mapping[str, Any]) -> str | None:
    return _name(_pick(evaluation, "output_type", "outputType"))


def _name(value: Any) -> str | None:
    return value[:_LONGEST_NAME] if isinstance(value, str) else None


# -- envelopes -----------------------------------------------------------------------------------------------------


def _evaluations(reply: JSON, *, expected: int, listener: Listener | None) -> list[Mapping[str, Any]]:
    """What a submission's reply tells of each item, in input order; {} of one of which it tells nothing."""
    groups = reply.get("result", reply) if isinstance(reply, dict) else reply
    listed = [g["evaluations"] for g in _dicts(groups) if isinstance(g.get("evaluations"), list)]
    if not listed:
        raise NotTheProtocol(f"a submission was answered by {_shown(reply)}")
    found: list[Mapping[str, Any]] = [e if isinstance(e, dict) else {} for evaluations in listed for e in evaluations]
    if expected == 1 and len(found) > 1 and (first := next(filter(None, map(_eval_id, found)), None)):
        if listener is not None:
            listener.notice(MORE_THAN_SENT)
        return [{"eval_id": first}]  # whichever is asked for, it is this item's
    if len(found) != expected:
        named = ", ".join(filter(None, map(_eval_id, found))) or "none"
        raise Miscounted(
            f"{expected} items were sent in one request and the answer has {len(found)} (eval_ids that it names: "
            f"{cut(named, LONGEST_SENTENCE)})"
        )
    return found


def _dicts(value: JSON) -> list[dict[str, Any]]:
    """The objects of a list, or the one object that stands in its place."""
    return [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, dict)]


def _result(reply: JSON) -> Mapping[str, Any]:
    """What tells an evaluation's state: under `result`, or the reply itself where it has no envelope."""
    for part in _dicts(reply):
        for told in (part.get("result"), part):
            if isinstance(told, dict) and _pick(told, "eval_status", "evalStatus") is not None:
                return told
    raise NotTheProtocol(f"a question for an evaluation was answered by {_shown(reply)}")


def _word(value: Any) -> Any:
    return value.strip().lower() if isinstance(value, str) else value


def _pick(mapping: Mapping[str, Any], new: str, old: str) -> Any:
    """A field by its present name, or by the camelCase name of servers before April 2026."""
    value = mapping.get(new)
    return mapping.get(old) if value is None else value


def _eval_id(evaluation: Mapping[str, Any]) -> str | None:
    """As it can be asked for, and kept: short and printable, or None."""
    eval_id = _pick(evaluation, "eval_id", "evalId")
    if not isinstance(eval_id, str) or not 0 < len(eval_id) <= LONGEST_ID:
        return None
    return eval_id if eval_id.isprintable() and not eval_id.isspace() else None


def _is_same(told: str | None, eval_id: str) -> bool:
    """A row that names no eval_id, or one that can't be read, is taken for the one that was asked for."""
    return told is None or told == eval_id or told.casefold() == eval_id.casefold()


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except (RecursionError, ValueError):  # nested too deeply, or a number of more digits than Python will write
        text = f"an endless {type(value).__name__}"
    return text if len(text) <= 80 else f"{text[:77]}..."


def _parsed_or_none(body: bytes) -> JSON:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _said(reply: JSON) -> str | None:
    """The most telling sentence of an error envelope, new or old."""
    if not isinstance(reply, dict):
        return None
    fields = _fields(reply)
    if fields:
        return "; ".join(f"{name}: {' '.join(said)}" if name != "non_field_errors" else " ".join(said)
                         for name, said in fields.items())  # fmt: skip
    for key in ("detail", "message", "error", "result"):
        said = reply.get(key)
        if isinstance(said, dict):
            said = said.get("message")
        if isinstance(said, str) and said:
            return _text(cut(said, LONGEST_SENTENCE))
    return None


def _fields(reply: Mapping[str, Any]) -> dict[str, list[str]]:
    errors = reply.get("errors")
    if not isinstance(errors, dict):
        return {}
    return {_text(k): [_text(x) for x in v] if isinstance(v, list) else [_text(v)] for k, v in errors.items()}


def _retry_after(header: str | None, reply: JSON, *, now: float) -> float | None:
    """Seconds to wait: the header as a number or an HTTP date, else `retry_after` in the body."""
    if header is not None:
        seconds = _seconds(header)
        seconds = _seconds(_until(header, now=now)) if seconds is None else seconds
        if seconds is not None:
            return seconds
    told = reply.get("result") if isinstance(reply, dict) else None
    return _seconds(told.get("retry_after")) if isinstance(told, dict) else None


def _seconds(value: Any) -> float | None:
    seconds = _finite(value)
    return seconds if seconds is not None and 0 <= seconds <= LONGEST_WAIT_TOLD else None


def _until(http_date: str, *, now: float) -> float | None:
    try:
        return max(0.0, parsedate_to_datetime(http_date).timestamp() - now)
    except (TypeError, ValueError, OverflowError):
        return None


def _hint(status: int, headers: Mapping[str, str]) -> str:
    """Of an answer that is not the API's: who may have given it."""
    if status < 400:
        return f"the server redirects to {_place(headers.get('location'))} (HTTP {status}): check the base URL"
    if status in (404, 405):
        return f"HTTP {status}: no evaluation API at this address: check the base URL"
    if status == 413:
        return "HTTP 413: the request is too long for a proxy before the API"
    return f"HTTP {status} that is not the API's: a firewall or a proxy before it turned the request away"


def _place(location: str | None) -> str:
    """Where a redirect leads: scheme and host only, for its path and query may carry secrets."""
    try:
        parts = urlsplit(location or "")
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "an address that can't be read"
    if host:
        return _shown(f"{parts.scheme}://{host}" if parts.scheme else host)
    return "another path of its own" if parts.path and not parts.scheme else "no address"


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """By which the server's own log can be searched."""
    told = headers.get("x-request-id")
    return "".join(letter for letter in told[:100] if letter.isprintable()) or None if told else None
