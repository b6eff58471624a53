"""Requests, checked as strictly as the platform checks them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from fieval_tasks.local import packing, parameters
from fieval_tasks.local.catalogue import TEMPLATES, Template
from fieval_tasks.local.refusals import bad_fields, parse_error, server_error

_REQUIRED: Final = "This field is required."
_NULL: Final = "This field may not be null."
_UNKNOWN: Final = "Unknown field."
_TRUE: Final = frozenset({"t", "true", "y", "yes", "on", "1"})
_FALSE: Final = frozenset({"f", "false", "n", "no", "off", "0"})


@dataclass(frozen=True)
class Submission:
    """One accepted POST."""

    template: Template
    items: list[packing.Item]
    params: dict[str, Any]
    model: str | None
    is_async: bool
    wants_localizer: bool


class _Wrong(ValueError):
    """A field's value is not acceptable; the text is the complaint."""


def parse_json(body: bytes) -> Any:
    """The body's value; no bytes at all read as an empty object. Raises the 400 `parse_error` refusal."""
    if not body:
        return {}
    try:
        return json.loads(body.decode(), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise parse_error(error) from None


def read_submission(data: Any) -> Submission:
    """The evaluations a POST asks for. Raises the 400 refusal that names every field at fault."""
    fields = _read(_as_object(data), _FIELDS, required=("eval_name", "inputs"))
    inputs = fields["inputs"]
    template = TEMPLATES.get(fields["eval_name"])
    if template is None:
        text = f"Evaluation template with name :{fields['eval_name']} not found."
        raise bad_fields({"non_field_errors": [text]})
    _check_keys(template, inputs)
    params = parameters.read(template, fields.get("config", {}))
    _check_storable(inputs)
    return Submission(
        template=template,
        items=packing.unpack(inputs),
        params=params,
        model=fields.get("model"),
        is_async=fields.get("is_async", False),
        wants_localizer=fields.get("error_localizer", False),
    )


def read_eval_id(query: Mapping[str, str]) -> UUID:
    """The `eval_id` of a poll; of a repeated key the mapping holds the last. Raises the 400 refusal."""
    fields = _read(query, {"eval_id": _uuid}, required=("eval_id",))
    eval_id: UUID = fields["eval_id"]
    return eval_id


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"Out of range float values are not JSON compliant: {name!r}")


def _as_object(data: Any) -> Mapping[str, Any]:
    if isinstance(data, dict):
        return data
    text = _NULL if data is None else f"Invalid data. Expected a dictionary, but got {type(data).__name__}."
    raise bad_fields({"non_field_errors": [text]})


def _read(
    data: Mapping[str, Any], fields: Mapping[str, Callable[[Any], Any]], required: tuple[str, ...]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    complaints: dict[str, list[str]] = {}
    for name, field in fields.items():
        if name not in data:
            if name in required:
                complaints[name] = [_REQUIRED]
            continue
        try:
            values[name] = field(data[name])
        except _Wrong as wrong:
            complaints[name] = [str(wrong)]
    complaints.update({name: [_UNKNOWN] for name in sorted(set(data) - set(fields))})
    if complaints:
        raise bad_fields(complaints)
    return values


def _check_keys(template: Template, inputs: packing.Inputs) -> None:
    missing = [key for key in template.required_keys if key not in inputs and key not in template.optional_keys]
    if missing:
        raise bad_fields({"inputs": [f"Missing required keys: {', '.join(missing)}"]})
    extra = [key for key in inputs if key not in template.required_keys]
    if extra:
        accepted = ", ".join(template.required_keys)
        text = f"Unexpected keys provided: {', '.join(extra)}. Accepted keys are: {accepted}"
        raise bad_fields({"inputs": [text]})


def _check_storable(inputs: packing.Inputs) -> None:
    """The platform's database takes neither NUL nor half a surrogate pair, and answers 500."""
    try:
        storable = all("\0" not in text and text.encode() is not None for text in _texts(inputs.values()))
    except UnicodeEncodeError:
        storable = False
    if not storable:
        raise server_error()


def _texts(values: Iterable[Any]) -> Iterator[str]:
    for value in values:
        if isinstance(value, str):
            yield value
        else:
            yield from _texts(value)


def _text(value: Any) -> str:
    if value is None:
        raise _Wrong(_NULL)
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


def _text_or_null(value: Any) -> str | None:
    return None if value is None else _text(value)


def _boolean(value: Any) -> bool:
    if value is None:
        raise _Wrong(_NULL)
    if isinstance(value, (bool, int, float)) and value in (0, 1):
        return bool(value)
    word = value.lower() if isinstance(value, str) else ""
    if word not in _TRUE | _FALSE:
        raise _Wrong("Must be a valid boolean.")
    return word in _TRUE


def _object(value: Any) -> dict[str, Any]:
    if value is None:
        raise _Wrong(_NULL)
    if not isinstance(value, dict):
        raise _Wrong(f'Expected a dictionary of items but got type "{type(value).__name__}".')
    return value


def _inputs(value: Any) -> dict[str, Any]:
    inputs = _object(value)
    complaint = packing.complaint(inputs)
    if complaint:
        raise _Wrong(complaint)
    return inputs


def _uuid(value: Any) -> UUID:
    try:
        return UUID(value)
    except ValueError:
        raise _Wrong("Must be a valid UUID.") from None


_FIELDS: Final[Mapping[str, Callable[[Any], Any]]] = {
    "eval_name": _name,
    "inputs": _inputs,
    "model": _text_or_null,
    "is_async": _boolean,
    "error_localizer": _boolean,
    "config": _object,
    "custom_eval_name": _text_or_null,
    "trace_eval": _boolean,
    "span_id": _text_or_null,
}
