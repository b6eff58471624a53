"""A template's parameters: the rules in its catalogue entry, and checking the values that a check gives.

The platform accepts any name and value with a submission, and only reads them when the evaluation runs. A name that is
misspelt, or a value that is missing or of the wrong type, has to be found here, before it is paid for.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from fieval_tasks.core.spelling import nearest
from fieval_tasks.core.templates import Template, bundled_catalogue
from fieval_tasks.data.values import Flaw, text_of, typed

Rule: TypeAlias = Mapping[str, Any]
"""A catalogue's entry for one parameter: `type` and `default`, and perhaps `required`, `nullable`, `minimum`, `maximum`
and `options`."""


NOTHING_KNOWN: Rule = {}  # of a template that neither the server nor the bundled catalogue describes


class AsTyped(str):
    """A value from the command line; its parameter's type decides how it is read."""

    is_shared = False
    """`--param` named no check, so the value is for every template that has such a parameter."""

    def __new__(cls, text: str, *, is_shared: bool = False) -> AsTyped:
        typed = super().__new__(cls, text)
        typed.is_shared = is_shared
        return typed


class Unfit(Exception):
    """Raised for a value that its parameter can't have; the message says what to write."""


def rules(template: Template) -> Mapping[str, Rule] | None:
    """The rules of the template's parameters, from its own entry or the bundled one; None where neither has any."""
    if template.parameters:
        return template.parameters
    bundled = bundled_catalogue().get(template.name)
    return None if bundled is None else bundled.parameters


def needed(template: Template) -> tuple[str, ...]:
    """The parameters that the template requires."""
    return tuple(name for name, rule in (rules(template) or {}).items() if _is_needed(rule, template))


def read(
    template: Template, given: Mapping[str, Any], *, elsewhere: Collection[str] = (), by_row: Collection[str] = ()
) -> tuple[dict[str, Any], list[str]]:
    """The given values in the types that the template's entry names; and a sentence for each that is wrong or missing.

    `elsewhere`: parameters of the plan's other templates; a value for all templates that only they have is left out here.
    `by_row`: parameters that a column of the dataset gives.
    """
    listed = rules(template)
    known = dict.fromkeys(given, NOTHING_KNOWN) if listed is None else listed
    mine = {name: value for name, value in given.items() if name in known}
    alien = [name for name in given if name not in known and not (_is_shared(given[name]) and name in elsewhere)]
    values, problems = _values(template, known, mine)
    wanted = [name for name in needed(template) if name not in by_row]
    missing = [name for name in wanted if name not in mine or (name in values and _is_nothing(values[name]))]
    twice = (
        f"parameter {name!r} of template {template.name!r} is given by --param and by --map; leave one of them out"
        for name in mine
        if name in by_row
    )
    kept = {name: value for name, value in values.items() if value is not None or listed is None}
    return kept, [*_missing(template, missing, known), *_unknown(template, alien, known), *twice, *problems]


def parameter_from_cell(template: Template, name: str, value: object) -> Any:
    """A parameter's value from a cell of the dataset; None for the server's default. Raises Unfit."""
    rule = (rules(template) or {})[name]
    is_text = _kind(rule) in ("text", "option")
    text = text_of(value)
    if isinstance(text, Flaw) and text.kind != "blank":
        raise Unfit(f"it {text.why}")
    if isinstance(text, Flaw) and not (is_text and isinstance(value, str) and value):
        found = None
    elif is_text:
        found = _value(template, name, rule, value if isinstance(value, str) else text)
    else:
        found = _value(template, name, rule, AsTyped(value) if isinstance(value, str) else typed(value))
    if _is_nothing(found) and name in needed(template):
        raise Unfit("it is blank, and the template needs one")
    return found


def _is_needed(rule: Rule, template: Template) -> bool:
    """Whether the parameter must be given: it has no default, or an empty one. An empty list is a real default where the
    template has other inputs to compare with."""
    if "required" in rule or rule.get("nullable"):
        return bool(rule.get("required")) and not rule.get("nullable")
    if "type" not in rule and "default" not in rule:
        return False
    default = rule.get("default")
    return default in (None, "") or (default == [] and len(template.keys) < 2)


def _is_nothing(value: Any) -> bool:
    return value is None or value == "" or (isinstance(value, (list, tuple)) and not any(value))


def _is_shared(value: Any) -> bool:
    return isinstance(value, AsTyped) and value.is_shared


# -- problems ----------------------------------------------------------------------------------------------------------


def _missing(template: Template, missing: Collection[str], known: Mapping[str, Rule]) -> Iterator[str]:
    for name in missing:
        wanted = _wanted(known[name])
        needs = f"template {template.name!r} needs parameter {name!r}{wanted and f' ({wanted})'}"
        yield f"{needs}; add --param {name}=VALUE, or --map {name}=COLUMN for one in each row"


def _unknown(template: Template, names: Collection[str], known: Mapping[str, Rule]) -> Iterator[str]:
    for name in names:
        if not known:
            yield f"template {template.name!r} has no parameters, so {name!r} would do nothing; leave it out"
            continue
        near = nearest(name, known)
        hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "set one with --param NAME=VALUE"
        yield f"template {template.name!r} has no parameter {name!r} (it has: {', '.join(known)}); {hint}"


def _values(
    template: Template, known: Mapping[str, Rule], given: Mapping[str, Any]
) -> tuple[dict[str, Any], list[str]]:
    values, problems = {}, []
    for name, value in given.items():
        try:
            values[name] = _value(template, name, known[name], value)
        except Unfit as error:
            problems.append(f"parameter {name!r} of template {template.name!r} can't be {_shown(value)}: {error}")
    return values, problems


def _shown(value: Any) -> str:
    is_short = isinstance(value, (str, float)) or (isinstance(value, int) and abs(value) < LARGEST)
    return f"{value!r:.60}" if is_short else f"a {type(value).__name__}"


# Below the largest float (1.8e308): a larger integer could not be compared with a rule's bounds.
LARGEST = 10**300
"""The largest number that is accepted for a parameter."""
_WRITE_JSON = "write text, a finite number, true or false, or a list or object of these"


# -- values ------------------------------------------------------------------------------------------------------------


def _value(template: Template, name: str, rule: Rule, given: Any) -> Any:
    """The value in its parameter's type; None for the server's default. Raises Unfit."""
    kind = _kind(rule)
    if given is None or (given == "null" and isinstance(given, AsTyped) and kind not in (None, "text", "option")):
        return None
    value = _of_kind(kind, given)
    if not _is_json(value):
        raise Unfit(_WRITE_JSON)
    low, high = _bounds(rule)
    options = _options(rule)
    if (kind in ("whole", "number") and not low <= value <= high) or (options and value not in options):
        raise Unfit(f"write {_wanted(rule)}")
    if (template.name, name) == PATTERN and value:
        _require_pattern(value)
    return value


# The only parameter in the catalogue that is a regular expression: (template, parameter).
PATTERN = ("regex", "pattern")


def _require_pattern(text: str) -> None:
    """Raises Unfit for a pattern that Python's `re` can't compile. The platform uses it too, and every row would be paid and
    fail."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what a later Python may read otherwise
            re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise Unfit(f"it is no regular expression of Python's ({error})") from error


# The platform's type names -> kind. Values of any other type are only checked to be JSON.
_KINDS = {
    **dict.fromkeys(("string", "str", "text", "code", "prompt", "rule_prompt"), "text"),
    **dict.fromkeys(("option", "select", "enum"), "option"),
    **dict.fromkeys(("integer", "int"), "whole"),
    **dict.fromkeys(("number", "float"), "number"),
    **dict.fromkeys(("boolean", "bool"), "truth"),
    **dict.fromkeys(("list", "array"), "list"),
    **dict.fromkeys(("dict", "object", "json"), "object"),
}
_WANTED = {
    "text": "text",
    "option": "text",
    "whole": "a whole number",
    "number": "a number",
    "truth": "true or false",
    "list": 'a list, as ["a", "b"] or a,b',
    "object": 'an object, as {"a": "b"}',
}
_TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("text", "option"), (str,)),
    **{"whole": (int,), "number": (int, float), "truth": (bool,), "list": (list, tuple), "object": (dict,)},
}
_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


def _of_kind(kind: str | None, given: Any) -> Any:
    if kind is None:
        return _json_or_text(given) if isinstance(given, AsTyped) else given
    value = _from_text(kind, str(given)) if isinstance(given, str) else given
    if kind == "whole" and isinstance(value, float) and value.is_integer():
        value = int(value)
    if not _fits(kind, value):
        raise Unfit(f"write {_WANTED[kind]}")
    return value


def _fits(kind: str, value: Any) -> bool:
    is_of_type = isinstance(value, _TYPES[kind])  # of which Python's bool is an int
    if not is_of_type or (isinstance(value, bool) and kind != "truth"):
        return False
    if kind == "list":
        return all(isinstance(one, (str, dict, list)) for one in value)
    return kind not in ("whole", "number") or abs(value) < LARGEST


def _from_text(kind: str, text: str) -> Any:
    """A text read as another kind; the text itself where it can't be read so."""
    word = text.strip()
    if kind == "truth":
        return True if word.lower() in _TRUE else False if word.lower() in _FALSE else text
    if kind == "whole" and re.fullmatch(r"[+-]?[0-9]{1,18}", word):
        return int(word)
    if kind in ("whole", "number") and re.fullmatch(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?", word):
        is_float = kind == "whole" or len(word) > len(str(LARGEST)) or not word.lstrip("+-").isdecimal()
        return float(word) if is_float else int(word)
    if kind == "list" and not word.startswith("["):
        return [part for part in map(str.strip, word.split(",")) if part]
    return _parsed(word) if kind in ("list", "object") else text


def _parsed(text: str) -> Any:
    """The JSON value of a text; the text itself where it is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _json_or_text(text: str) -> Any:
    """The JSON value of a text, if it would be written the same again: 1.10, 1e5 and 007 stay text."""
    found = _parsed(text)
    if found is text or not _is_json(found):
        return str(text)
    is_number = isinstance(found, (int, float)) and not isinstance(found, bool)
    return str(text) if is_number and json.dumps(found) != text.strip() else found


def _is_json(value: Any) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except (ValueError, TypeError, RecursionError):
        return False
    return True


def _kind(rule: Rule) -> str | None:
    return _KINDS.get(str(rule.get("type")).lower())


def _options(rule: Rule) -> Sequence[Any]:
    options = rule.get("options")
    return options if isinstance(options, (list, tuple)) else ()


def _wanted(rule: Rule) -> str:
    if options := _options(rule):
        return f"one of {', '.join(map(str, options))}"
    kind = _kind(rule)
    words = _WANTED.get(kind or "", "")
    low, high = _bounds(rule)
    if kind not in ("whole", "number") or (low, high) == (-math.inf, math.inf):
        return words
    if high == math.inf:
        return f"{words}, {low:g} or more"
    return f"{words}, {high:g} at most" if low == -math.inf else f"{words} from {low:g} to {high:g}"


def _bounds(rule: Rule) -> tuple[float, float]:
    """The least and the largest value of a rule, infinite where the catalogue names none."""
    ends = (rule.get("minimum"), rule.get("maximum"))
    is_bound = [isinstance(one, (int, float)) and not isinstance(one, bool) and math.isfinite(one) for one in ends]
    return (float(ends[0]) if is_bound[0] else -math.inf, float(ends[1]) if is_bound[1] else math.inf)  # type: ignore[arg-type]
