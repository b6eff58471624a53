"""Options made of the plan's own fields, and the plan that was typed."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from functools import partial
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, get_args, get_origin
from unicodedata import normalize

from cyclopts import Parameter, Token
from pydantic.fields import FieldInfo

from fieval_tasks.core.command_lines import option_name
from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.plan import DEFAULT_JUDGE, Check, EvaluationPlan, settings_for
from fieval_tasks.core.refusals import spelled

if TYPE_CHECKING:
    from fieval_tasks.data.plan_file import PlanFile

F = TypeVar("F", bound=Callable[..., Any])

PLACEHOLDERS = {
    "checks": "[NAME=]TEMPLATE[:MODEL]", "model": "MODEL", "params": "[CHECK.]NAME=VALUE", "mapping": "[CHECK.]KEY=COLUMN",
    "labels": "FILE", "labelling_policy": "NAME",
    "baseline": "RUN|blessed|last|FILE", "baseline_max_age": "30d", "margin": "P%", "cluster": "COLUMN",
    "gates": "GATE", "good": "CHECK=CHOICE,CHOICE", "allow_failures": "N|P%", "rate": "N/s|N/min", "tier": "NAME|N/min,N/h", "item_timeout": "10m", "timeout": "2h",
    "prices": "MODEL=X", "precision": "0.02", "max_cost": "X", "max_items": "N", "where": "EXPR", "stratify": "COLUMN", "repeats": "K", "audit": "P%", "reuse": "7d", "resume": "RUN|last", "keep": "COLUMN|all", "delimiter": "C", "to": "URL#TABLE|otel",
}  # fmt: skip
"""What the help shows in place of a value, where that says more than STR or INT."""
KEPT_SWITCHES = ("stop_when_decided",)
"""Switches that a run keeps, so that a call that resumes it may have to turn them off."""
HAS_PLACEHOLDERS = "metavar" in inspect.signature(Parameter).parameters
"""The last cyclopts for Python 3.10 has none."""


def typed_as_plan(*more: inspect.Parameter) -> Callable[[F], F]:
    """Have a command, called with `*dataset` and `**said`, take all that a plan is made of, and more."""

    def with_options(command: F) -> F:
        options = [*_of_plan(), *more]
        command.__signature__ = inspect.Signature(options)  # type: ignore[attr-defined]
        command.__annotations__ = {one.name: one.annotation for one in options}
        return command

    return with_options


def option(name: str, kind: Any, description: str, /, **said: Any) -> inspect.Parameter:
    """An option that may be left out; then the command is not called with it."""
    if name in PLACEHOLDERS and HAS_PLACEHOLDERS:
        said["metavar"] = PLACEHOLDERS[name]
    if kind is int:
        said["converter"] = whole
    kind = Annotated[kind | None, Parameter(help=" ".join(description.split()), **said)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)


def _of_plan() -> Iterator[inspect.Parameter]:
    fields, check = dict(EvaluationPlan.model_fields), Check.model_fields
    rows = Annotated[str, Parameter(help=fields.pop("dataset").description)]
    yield inspect.Parameter("dataset", inspect.Parameter.VAR_POSITIONAL, annotation=rows)
    yield option("stdin", bool, "Rows from standard input, as JSONL.", name="-", group="Arguments")
    del fields["checks"]
    about = "A file of YAML or TOML with the fields of a plan; what is typed here goes before it."
    yield option("plan", str, about, name="--plan", **({"metavar": "FILE"} if HAS_PLACEHOLDERS else {}))
    yield option(
        "checks", list[Check], f"{check['template'].description} --check gives it a name of your own. May be repeated.",
        name=("--template", "--check"), converter=_checks, n_tokens=1, accepts_keys=False,
    )  # fmt: skip
    judge = f"{check['model'].description} For templates that name none; default: {DEFAULT_JUDGE}."
    yield option("model", str, judge)
    about = "A template's parameter; VALUE as its type wants it. May be repeated."
    yield option("params", list[str], about, name="--param")
    for name, field in fields.items():
        yield _of_field(name, field)


def _of_field(name: str, field: FieldInfo) -> inspect.Parameter:
    kind, default = _kind(field.annotation), field.get_default(call_default_factory=True)
    about, more = field.description or "", dict[str, Any]()
    if kind == list[str]:
        about += " May be repeated."
    elif default is True or name in KEPT_SWITCHES:
        more["negative"] = f"--no-{name.replace('_', '-')}"
    elif type(default) in (int, float):
        about += f" Default: {default:g}."
    if name == "delimiter":  # a dash may well part cells
        more["allow_leading_hyphen"] = True
    return option(name, kind, about, name=option_name(name), **more)


def _kind(annotation: Any) -> Any:
    """The type that is asked for: choices, numbers and switches as they are; all else is text, which the plan reads."""
    kinds = [kind for kind in get_args(annotation) if kind is not NoneType]
    kind = kinds[0] if NoneType in get_args(annotation) else annotation
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (tuple, dict):
        return list[str]
    is_known = get_origin(kind) is Literal or (isinstance(kind, type) and issubclass(kind, (int, Enum)))
    return kind if is_known else str


def whole(_: Any, tokens: Sequence[Token]) -> int:
    """cyclopts would round 1.5, and take another number of rows than was typed."""
    try:
        return int(tokens[-1].value)
    except ValueError:
        raise ValueError(f'"{tokens[-1].value}" is not a whole number.') from None


def _checks(_: Any, tokens: Sequence[Token]) -> list[Check]:
    """In the order in which they were typed, whichever option each was typed for."""
    return [Check.named(one.value) if one.keyword == "--check" else Check.parse(one.value) for one in tokens]


def plan_of(dataset: Sequence[str], said: Mapping[str, Any]) -> EvaluationPlan:
    """The plan that was typed, holding only what was said, over that of the file in `plan`. Raises PlanError with every problem."""
    file = _file(said.get("plan"))
    given = {name: value for name, value in said.items() if name in EvaluationPlan.model_fields}
    if named := [*dataset, *(["-"] if said.get("stdin") else [])]:
        given["dataset"] = _dataset(named)
    checks = given.get("checks") or (file.fields.get("checks", ()) if file else ())
    judge = said.get("model") or (file.judge if file and checks else None)
    given["checks"] = _with_parameters(checks, judge, said.get("params", ()))
    pairs = (_pair(text.strip(), "--map", "KEY=COLUMN") for text in said.get("mapping", ()))
    given["mapping"] = {key: column.strip() for key, column in pairs}
    given["good"] = _good(said.get("good", ()))
    given["prices"] = _prices(said.get("prices", ()))
    typed = {name: value for name, value in given.items() if value not in ((), {})}
    try:
        return EvaluationPlan(**(_over(file.fields, typed) if file else typed))
    except PlanError as error:
        spelling = option_name if file is None else partial(_place, file, typed)
        raise PlanError(*(spelled(problem, EvaluationPlan, spelling) for problem in error.problems)) from None


def _file(path: str | None) -> PlanFile | None:
    if path is None:
        return None
    from fieval_tasks.data.plan_file import read_plan_file

    return read_plan_file(path)


def _over(filed: Mapping[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """The file's fields under those that were typed: columns, prices and choices name by name, all else as a whole."""
    both = {
        name: {**filed[name], **value}
        for name, value in typed.items()
        if isinstance(value, dict) and isinstance(filed.get(name), dict)
    }
    return {**filed, **typed, **both}


def _place(file: PlanFile, typed: Mapping[str, Any], place: str) -> str:
    """Where a field was said: its option, or its line in the file."""
    return option_name(place) if place.split(".")[0] in typed else file.place(place)


def _prices(typed: Sequence[str]) -> dict[str, str]:
    """Model -> price. Raises PlanError where a model is given two."""
    pairs = [_pair(text, "--price", "MODEL=X") for text in typed]
    prices = {model: price.strip() for model, price in pairs}
    if twice := [model for model, price in pairs if price.strip() != prices[model]]:
        raise PlanError(*(f"--price {model}: two prices are given; leave one out" for model in dict.fromkeys(twice)))
    return prices


def _good(typed: Sequence[str]) -> dict[str, str]:
    """Check -> its good choices with commas between them, of however many options they were typed in."""
    good: dict[str, str] = {}
    for check, choices in (_pair(text, "--good", "CHECK=CHOICE,CHOICE") for text in typed):
        good[check] = f"{good[check]},{choices}" if check in good else choices
    return good


def _dataset(named: Sequence[str]) -> str:
    """One a line. An empty one is what an unset variable leaves behind, and never the bundled sample."""
    if not all(one.strip() for one in named):
        raise PlanError("DATASET is empty: is the variable that should name it unset?")
    return "\n".join(named)


def _with_parameters(checks: Sequence[Check], model: str | None, params: Sequence[str]) -> tuple[Check, ...]:
    from fieval_tasks.data.parameters import AsTyped  # after the help was asked for, which needs nothing of the data

    pairs = [_pair(text, "--param", "NAME=VALUE") for text in params]
    if pairs and not checks:
        raise PlanError("--param needs a --template to set a parameter of")
    if model and not checks:
        raise PlanError("--model needs a --template to be the judge of; a run that is resumed keeps its own")
    if lost := [name for name, _ in pairs if "." in name and not any(check.own(name) for check in checks)]:
        raise PlanError(*(f"--param {name}: no --template or --check is {name.rpartition('.')[0]!r}" for name in lost))
    typed = {name: AsTyped(text, is_shared="." not in name) for name, text in pairs}
    return tuple(
        check.model_copy(
            update={"model": check.model or model, "params": {**check.params, **settings_for(check, typed)}}
        )
        for check in checks
    )


def _pair(text: str, option: str, form: str) -> tuple[str, str]:
    """`NAME=VALUE`, its value exactly as typed: whether blanks around it mean something is for its reader to say."""
    name, _, value = text.partition("=")
    if not name.strip() or not value:
        raise PlanError(f"{option} {text!r}: expected {form}")
    return normalize("NFC", name.strip()), value
