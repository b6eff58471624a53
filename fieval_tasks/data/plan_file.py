"""A plan in a file, YAML or TOML: the fields of `EvaluationPlan`, also by the names of the command's options.

Numbers and words are taken exactly as they are written: 0.10 is no float, and `no` is no false.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml  # type: ignore[import-untyped]

from fieval_tasks.core.command_lines import NAMES
from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.locations import is_url
from fieval_tasks.core.plan import Check, EvaluationPlan
from fieval_tasks.core.quantities import as_written
from fieval_tasks.core.spelling import did_you_mean, nearest
from fieval_tasks.data.parameters import AsTyped
from fieval_tasks.data.yaml_text import yaml_documents

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ALIASES = {"check": "checks"} | {
    option.removeprefix("--"): field for field, option in NAMES.items() if option.startswith("--")
}
"""Names of the command's options that are not their field's -> the field. A dash is as good as an underscore in all names."""
JUDGE = "model"
"""The judge of the checks that name none, as --model."""
PATHS = ("dataset", "labels", "output", "store")
"""Fields whose paths are relative to the folder of the plan file, wherever the command is called."""
NO_FIELDS = ("$schema",)
"""What editors want in a file, and the plan does not."""
_KEYS = ("api_key", "secret_key", "fi_api_key", "fi_secret_key")
# No plan that people write is longer; the check keeps a dataset that was named by mistake from being read whole.
LONGEST = 1_000_000
"""Characters of a plan file."""


@dataclass(frozen=True)
class PlanFile:
    """What a plan file says."""

    path: str
    fields: Mapping[str, Any]
    """Field of EvaluationPlan -> its value, to be validated; `checks` are Checks."""
    judge: str | None = None
    """The judge model of the checks that name none."""
    text: str = ""

    def place(self, field: str) -> str:
        """`plan.yaml, line 7: gates.0`: where a field stands, such as `gates.0` or `checks.1.model`."""
        line = _line(self.text, field.split(".")) if _is_yaml(self.path) else None
        return f"{self.path}, line {line}: {field}" if line else f"{self.path}: {field}"


def read_plan_file(path: str) -> PlanFile:
    """The plan in a file. Raises PlanError, with the line where the file's format has lines, for what can't be read."""
    text = _text(path)
    said = {str(name): value for name, value in _document(path, text).items() if name not in NO_FIELDS}
    file = PlanFile(path, {}, text=text)
    if problems := [*_unknown(file, said), *_twice(file, said)]:
        raise PlanError(*problems)
    fields = {_field(name): value for name, value in said.items()}
    judge, problems = fields.pop(JUDGE, None), list[str]()
    checks = tuple(_checks(file, fields.pop("checks", ()), problems))
    if problems:
        raise PlanError(*problems)
    placed = _placed({name: _plain(value) for name, value in fields.items()}, Path(path).parent)
    return PlanFile(path, {**placed, **({"checks": checks} if checks else {})}, str(judge) if judge else None, text)


# -- reading ------------------------------------------------------------------------------------------------------------


def _is_yaml(path: str) -> bool:
    return Path(path).suffix.lower() != ".toml"


def _text(path: str) -> str:
    try:
        with Path(path).expanduser().open(encoding="utf-8-sig") as file:
            text = file.read(LONGEST + 1)
    except OSError as error:
        raise PlanError(f"--plan {path}: it can't be read ({error.strerror or error})") from error
    except UnicodeDecodeError as error:
        raise PlanError(f"--plan {path}: it is no text in UTF-8, so it is no plan") from error
    if len(text) > LONGEST:
        raise PlanError(f"--plan {path}: it has more than {LONGEST:,} characters, so it is no plan")
    return text


def _document(path: str, text: str) -> Mapping[Any, Any]:
    try:
        documents = [*yaml_documents(text, LONGEST)] if _is_yaml(path) else [tomllib.loads(text)]
    except ValueError as error:  # of TOML, too
        kind = "YAML" if _is_yaml(path) else "TOML"
        raise PlanError(f"--plan {path}: it is no {kind} that can be read: {error}") from None
    except RecursionError:
        raise PlanError(f"--plan {path}: it is nested too deeply to be a plan") from None
    if len(documents) != 1 or not isinstance(documents[0], Mapping):
        raise PlanError(f"--plan {path}: write one object of fields, such as `dataset: answers.csv` on a line")
    return documents[0]


def _field(name: str) -> str:
    plain = name.replace("-", "_")
    return ALIASES.get(plain, plain)


def _unknown(file: PlanFile, said: Mapping[str, Any]) -> Iterator[str]:
    known = (*EvaluationPlan.model_fields, *ALIASES, JUDGE)
    for name in said:
        if _field(name) in (*EvaluationPlan.model_fields, JUDGE):
            continue
        if name.replace("-", "_").lower() in _KEYS:
            yield f"{file.place(name)}: keys don't belong into a plan; set FI_API_KEY and FI_SECRET_KEY, or name a block by connection"
        else:
            hint = did_you_mean(nearest(name, known)[:1]) or f"; there are {', '.join(EvaluationPlan.model_fields)}"
            yield f"{file.place(name[:40])}: there is no such field{hint}"


def _twice(file: PlanFile, said: Mapping[str, Any]) -> Iterator[str]:
    for name in said:
        if others := [other for other in said if other != name and _field(other) == _field(name)]:
            yield f"{file.place(name)}: {others[0]} says the same; leave one of them out"


# -- values ---------------------------------------------------------------------------------------------------------------


def _checks(file: PlanFile, listed: Any, problems: list[str]) -> Iterator[Check]:
    """Each as `groundedness:turing_small`, `refund=contains`, or an object of a check's fields. Adds to the problems."""
    for place, one in enumerate([listed] if isinstance(listed, (str, Mapping)) else listed or ()):
        try:
            yield _check(one)
        except PlanError as error:
            for problem in error.problems:
                inside, _, complaint = problem.partition(": ") if problem.startswith("checks.0") else ("", "", problem)
                where = f"checks.{place}{inside.removeprefix('checks.0')}"
                problems.append(f"{file.place(where)}: {complaint}")


def _check(said: object) -> Check:
    if isinstance(said, str):
        return Check.named(said) if "=" in said else Check.parse(said)
    if not isinstance(said, Mapping):
        raise PlanError("write a template's name, NAME:MODEL, or an object with template, model, params and name")
    fields = {str(name): value for name, value in said.items()}
    if isinstance(params := fields.get("params"), Mapping):
        fields["params"] = {str(name): AsTyped(v) if isinstance(v, str) else v for name, v in params.items()}
    [check] = EvaluationPlan(checks=(fields,)).checks  # type: ignore[arg-type]  # its sentences name the field
    return check


def _plain(value: Any) -> Any:
    """TOML's scalars as the text that YAML's are, so that a field reads both alike."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    if isinstance(value, bool) or value is None:
        return value
    return str(as_written(value))


def _placed(fields: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The fields with single texts as lists where a list is wanted, and with paths from this working folder."""
    placed = {
        name: [value] if isinstance(value, str) and name in ("gates", "keep") else value
        for name, value in fields.items()
    }
    for name in PATHS:
        if isinstance(value := placed.get(name), list) and all(isinstance(part, str) for part in value):
            value = "\n".join(value)
        if isinstance(value, str):
            placed[name] = "\n".join(_from_here(line, folder) for line in value.splitlines())
    baseline = placed.get("baseline")
    if isinstance(baseline, str) and ("/" in baseline or baseline.endswith(".json")):  # else it names a run
        placed["baseline"] = _from_here(baseline, folder)
    return placed


def _from_here(location: str, folder: Path) -> str:
    is_elsewhere = not location.strip() or location in ("-", "all") or is_url(location) or location.startswith("~")
    return location if is_elsewhere else str(folder / location)


# -- lines ----------------------------------------------------------------------------------------------------------------


def _line(text: str, place: Sequence[str]) -> int | None:
    """The line of a YAML text on which that place begins, or the nearest place around it that is there."""
    node, line = yaml.compose(text, Loader=yaml.SafeLoader), None
    for part in place:
        found = None
        if isinstance(node, yaml.MappingNode):
            named = {name(str(k.value)): (k, v) for name in (_field, str) for k, v in node.value}
            found = named.get(part)
        elif isinstance(node, yaml.SequenceNode) and part.isdigit() and int(part) < len(node.value):
            found = (node.value[int(part)],) * 2
        if found is None:
            return line
        line, node = found[0].start_mark.line + 1, found[1]
    return line
