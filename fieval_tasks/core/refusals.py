"""pydantic's validation errors as sentences: the field, what is wrong with it, and what to write instead."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from fieval_tasks.core.spelling import nearest

Place = Sequence[str | int]

# pydantic's error type -> what to write. The value is not repeated: it may be a key that was put in the wrong field.
_WRITE = {
    "missing": "it is needed",
    "greater_than": "write a number above {gt}",
    "greater_than_equal": "write {ge} or more",
    "less_than": "write a number below {lt}",
    "less_than_equal": "write {le} at most",
    "finite_number": "write a finite number",
    **dict.fromkeys(("enum", "literal_error"), "write {expected}"),
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), "write a whole number"),
    **dict.fromkeys(("float_type", "float_parsing"), "write a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), "write true or false"),
    "string_type": "write text",
    "string_too_long": "write text of {max_length} character at most",
    **dict.fromkeys(("tuple_type", "list_type"), "write a list"),
    "dict_type": "write an object, such as {{NAME: VALUE}}",
    **dict.fromkeys(("model_type", "model_attributes_type"), "write an object of fields"),
}


def sentences(error: ValidationError, model: type[BaseModel]) -> tuple[str, ...]:
    """A sentence for each problem, as `FIELD: …` where the problem has a field. `model`: the model that was validated."""
    return tuple(_sentence(problem, model) for problem in error.errors(include_url=False))


def spelled(sentence: str, model: type[BaseModel], spelling: Callable[[str], str]) -> str:
    """One of these sentences with its field renamed by `spelling`, for example to an option of the command line."""
    place, colon, complaint = sentence.partition(": ")
    return f"{spelling(place)}: {complaint}" if colon and place.split(".")[0] in model.model_fields else sentence


def _sentence(problem: Any, model: type[BaseModel]) -> str:
    place: Place = problem["loc"]
    if problem["type"] == "extra_forbidden":
        place, complaint = place[:-1], _unknown(str(place[-1]), place[:-1], model)
    else:
        complaint = _complaint(problem)
    return f"{'.'.join(map(str, place))}: {complaint}" if place else complaint


def _complaint(problem: Any) -> str:
    if problem["type"] not in _WRITE:
        return str(problem["msg"]).removeprefix("Value error, ")
    wanted = _WRITE[problem["type"]].format(**problem.get("ctx", {}))
    given = problem["input"]
    return f"{given} will not do, {wanted}" if type(given) in (int, float) else wanted


def _unknown(name: str, place: Place, model: type[BaseModel]) -> str:
    known = [*_at(place, model).model_fields]
    near = nearest(name, known)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
    return f"there is no field {name[:40]!r}, {hint}"


def _at(place: Place, model: type[BaseModel]) -> type[BaseModel]:
    """The model of the object at this place inside of `model`."""
    for part in place:
        if part in model.model_fields:
            model = next(_models(model.model_fields[str(part)].annotation), model)
    return model


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)
