"""Requests, checked as strictly as the platform checks them, and in its words."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from fieval_tasks.local.catalogue import CATALOGUE, CatalogueEntry
from fieval_tasks.local.envelopes import bad_fields, detailed, unable

# Most items one request may carry once two or more of its values are lists of strings (contract: Packing).
CAP: Final = 3
# Most items in any case. No cap of the platform's was seen there; ten at a time spare nearly all of the requests.
LARGEST_PACK: Final = 100

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_NULL: Final = "This field may not be null."
_BOOLEANS: Final = {
    **dict.fromkeys(("t", "true", "y", "yes", "on", "1"), True),
    **dict.fromkeys(("f", "false", "n", "no", "off", "0"), False),
}


@dataclass(frozen=True)
class Post:
    """One accepted POST."""

    template: str
    items: list[dict[str, Any]]
    """The inputs of each evaluation."""
    params: dict[str, Any]
    model: str | None
    is_async: bool
    wants_localizer: bool


def parse_json(body: bytes) -> Any:
    """The body's value; no bytes at all read as an empty object. Raises the 400 `parse_error` reply."""
    if not body:
        return {}
    try:
        return json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise detailed(400, "validation_error", "parse_error", f"JSON parse error - {error}") from None


def read_post(data: Any) -> Post:
    """The evaluations a POST asks for. Raises the 400 reply that names every field at fault."""
    if not isinstance(data, dict):
        text = _NULL if data is None else f"Invalid data. Expected a dictionary, but got {type(data).__name__}."
        raise bad_fields({"non_field_errors": [text]})
    fields = _read(data, _FIELDS, required=("eval_name", "inputs"))
    inputs = fields["inputs"]
    entry = CATALOGUE.get(fields["eval_name"])
    if entry is None:
        raise bad_fields({"non_field_errors": [f"Evaluation template with name :{fields['eval_name']} not found."]})
    _check_keys(entry, inputs)
    params = read_params(entry, fields.get("config", {}))
    _check_storable(inputs)
    return Post(
        template=entry.name,
        items=_unpacked(inputs),
        params=params,
        model=fields.get("model"),
        is_async=fields.get("is_async", False),
        wants_localizer=fields.get("error_localizer", False),
    )


def read_eval_id(query: Mapping[str, str]) -> UUID:
    """The `eval_id` of a poll; of a repeated key the mapping holds the last. Raises the 400 reply."""
    eval_id: UUID = _read(query, {"eval_id": _uuid}, required=("eval_id",))["eval_id"]
    return eval_id


def read_params(entry: CatalogueEntry, config: Mapping[str, Any]) -> dict[str, Any]:
    """The template's parameters in `config.params`, defaults filled in where the template declares them.

    A template without a schema takes anything. Raises the 400 reply, under `config`, for a name or a value that the
    schema does not allow.
    """
    given = config.get("params", {})
    if not isinstance(given, dict):
        raise bad_fields({"config": ["params must be an object"]})
    if entry.parameters is None:
        return given
    if unknown := sorted(set(given) - set(entry.parameters)):
        raise bad_fields({"config": [f"Unknown function params: {', '.join(unknown)}"]})
    complaints = [text for name, rule in entry.parameters.items() if (text := _complaint(name, rule, given))]
    if complaints:
        raise bad_fields({"config": complaints})
    return {name: rule.get("default") for name, rule in entry.parameters.items()} | given


def _complaint(name: str, rule: Mapping[str, Any], given: Mapping[str, Any]) -> str | None:
    value = given.get(name)
    if value is None:
        return f"{name} is required" if rule.get("required") else None
    kinds = {"string": str, "integer": int, "number": (int, float)}
    if isinstance(value, bool) or not isinstance(value, kinds[rule["type"]]):  # type: ignore[arg-type]  # a table of both
        return f"{name} must be {'an integer' if rule['type'] == 'integer' else 'a ' + rule['type']}"
    if "minimum" in rule and value < rule["minimum"]:
        return f"{name} must be at least {rule['minimum']}"
    if "maximum" in rule and value > rule["maximum"]:
        return f"{name} must be at most {rule['maximum']}"
    return None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"Out of range float values are not JSON compliant: {name!r}")


def _read(
    data: Mapping[str, Any], fields: Mapping[str, Callable[[Any], Any]], required: tuple[str, ...]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    complaints: dict[str, list[str]] = {}
    for name, field in fields.items():
        if name not in data:
            complaints |= {name: ["This field is required."]} if name in required else {}
        elif data[name] is None:
            complaints |= {} if name in _MAY_BE_NULL else {name: [_NULL]}
        else:
            try:
                values[name] = field(data[name])
            except _Wrong as wrong:
                complaints[name] = [str(wrong)]
    complaints.update({name: ["Unknown field."] for name in sorted(set(data) - set(fields))})
    if complaints:
        raise bad_fields(complaints)
    return values


def _check_keys(entry: CatalogueEntry, inputs: Mapping[str, Any]) -> None:
    missing = [key for key in entry.required_keys if key not in inputs and key not in entry.optional_keys]
    if missing:
        raise bad_fields({"inputs": [f"Missing required keys: {', '.join(missing)}"]})
    if extra := [key for key in inputs if key not in entry.required_keys]:
        accepted = ", ".join(entry.required_keys)
        raise bad_fields({"inputs": [f"Unexpected keys provided: {', '.join(extra)}. Accepted keys are: {accepted}"]})


def _check_storable(inputs: Mapping[str, Any]) -> None:
    """The platform's database takes neither NUL nor half a surrogate pair, and answers 500."""
    if any("\0" in text or _SURROGATE.search(text) for text in _texts(inputs.values())):
        raise unable()


def _texts(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        yield from [value] if isinstance(value, str) else _texts(value)


def _unpacked(inputs: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The items in order. The traps are the platform's own: the *first* key alone decides whether the request is a
    batch, and then every value is indexed, strings included. Raises the 500 reply where one is shorter than the first.
    """
    first = next(iter(inputs.values()), "")
    if not isinstance(first, list):
        return [dict(inputs)]
    try:
        return [{key: value[index] for key, value in inputs.items()} for index in range(len(first))]
    except IndexError:
        raise unable() from None


class _Wrong(ValueError):
    """A field's value is not acceptable; the text is the complaint."""


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise _Wrong("Not a valid string.")
    return str(value).strip()


def _name(value: Any) -> str:
    text = _text(value)
    if not text:
        raise _Wrong("This field may not be blank.")
    if "\0" in text:
        raise _Wrong("Null characters are not allowed.")
    return text


def _boolean(value: Any) -> bool:
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        return bool(value)
    word = value.lower() if isinstance(value, str) else ""
    if word not in _BOOLEANS:
        raise _Wrong("Must be a valid boolean.")
    return _BOOLEANS[word]


def _object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _Wrong(f'Expected a dictionary of items but got type "{type(value).__name__}".')
    return value


def _inputs(value: Any) -> dict[str, Any]:
    inputs = _object(value)
    first = next(iter(inputs.values()), "")
    if isinstance(first, list) and len(first) > LARGEST_PACK:
        raise _Wrong(f"Input lists cannot have more than {LARGEST_PACK} items, but found length {len(first)}.")
    if not all(map(_is_readable, inputs.values())):
        raise _Wrong("All input values must be either strings, lists of strings, or lists of lists of strings.")
    lengths = [len(value) for value in inputs.values() if isinstance(value, list) and _are_strings(value)]
    if len(lengths) > 1 and max(lengths) > CAP:
        raise _Wrong(f"Input lists cannot have more than {CAP} items, but found length {max(lengths)}.")
    if len(set(lengths)) > 1:
        raise _Wrong("All input lists must have the same length.")
    return inputs


def _is_readable(value: object) -> bool:
    if not isinstance(value, list):
        return isinstance(value, str)
    return _are_strings(value) or all(isinstance(row, list) and _are_strings(row) for row in value)


def _are_strings(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _uuid(value: Any) -> UUID:
    try:
        return UUID(value)
    except ValueError:
        raise _Wrong("Must be a valid UUID.") from None


_MAY_BE_NULL: Final = ("model", "custom_eval_name", "span_id")
_FIELDS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "eval_name": _name,
    "inputs": _inputs,
    "model": _text,
    "is_async": _boolean,
    "error_localizer": _boolean,
    "config": _object,
    "custom_eval_name": _text,
    "trace_eval": _boolean,
    "span_id": _text,
}
