"""What may be typed, and the plan that it makes."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from unicodedata import normalize

from fieval_tasks.core.commands import program
from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.plan import MOST_SHARDS, SHARD_DEPLOYMENT, Check, EvaluationPlan, Mode, parse_duration, said_for
from fieval_tasks.core.refusals import spelled
from fieval_tasks.data.parameters import AsTyped

TYPED = {"checks": "--template", "dataset": "DATASET", "gates": "--gate", "id_column": "--id", "mapping": "--map"}
"""Fields of the plan that are not typed as an option of their name."""


class _Named(str):
    """What was typed for `--check`: beside those of `--template` it keeps its place."""


def evaluate_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("evaluate"),
        description="Put every row of a dataset to Future AGI evaluations. Without a dataset: a bundled sample, "
        "on the embedded local evaluator.",
        epilog="exit codes: 0 every item has a verdict; 1 a gate failed; 2 bad input, nothing sent; 3 some items have no verdict; "
        "4 stopped (keys, credit, server); 70 an unexpected error, in a log; 130 interrupted",
    )
    add = parser.add_argument
    add(
        "dataset",
        nargs="*",
        help="CSV, TSV, JSON, JSONL, YAML or Parquet: files, a folder, a pattern or a URL; - reads JSONL",
    )
    add(
        "--format",
        choices=["csv", "tsv", "jsonl", "json", "yaml", "parquet"],
        help="of a dataset whose name does not say it",
    )
    add("--delimiter", metavar="C", help="what parts the cells of CSV (default: what its header and rows fit)")
    add("--rows", metavar="PATH", help="where a document of JSON or YAML has its rows, as results.examples")
    add("--template", action="append", metavar="NAME[:MODEL]", help="a template to evaluate with; may be repeated")
    add(
        "--check",
        action="append",
        dest="template",
        type=_Named,
        metavar="NAME=TEMPLATE[:MODEL]",
        help="a template under a name of your own, for one that is asked for more than once",
    )
    add("--model", help="judge model of the templates that name none (default turing_flash)")
    add(
        "--map",
        action="append",
        metavar="[CHECK.]KEY=COLUMN",
        help="the column that fills a template's key, or one of its parameters",
    )
    add(
        "--param",
        action="append",
        metavar="[CHECK.]NAME=VALUE",
        help="a template's parameter; VALUE as its type wants it",
    )
    add("--id", dest="id_column", metavar="COLUMN", help="column with each row's id")
    add("--connection", help="local (embedded evaluator), env (FI_API_KEY, FI_SECRET_KEY) or a block's name")
    add("--base-url", metavar="URL", help="the platform's address (default FI_BASE_URL, else the cloud)")
    add(
        "--mode",
        choices=[m.value for m in Mode],
        help="async (default), sync, auto (the cheaper of both), or submit (collect later)",
    )
    add("--limit", type=int, metavar="N", help="only the first N rows")
    add("--sample", type=int, metavar="N", help="N rows drawn at random")
    add("--seed", type=int, metavar="S", help="of the random sample (default 0)")
    add(
        "--sharing",
        action=argparse.BooleanOptionalAction,
        help="whether rows that are the same share one evaluation (default), or each copy is evaluated on its own",
    )
    add("--concurrency", type=int, metavar="N", help="requests in flight at most (default 96)")
    add("--rate", metavar="N/s|N/min", help="requests a second or minute at most")
    add("--shared-limit", metavar="NAME", help="a Prefect global concurrency limit that all runs with its key share")
    add("--chunk-size", type=int, metavar="N", help="items per submit task")
    add("--item-timeout", type=_duration, metavar="10m", help="how long to wait for one verdict (default 10m)")
    add("--timeout", type=_duration, metavar="2h", help="how long the run may take")
    add(
        "--gate",
        action="append",
        dest="gates",
        metavar="GATE",
        help='such as "groundedness.pass_rate >= 0.95" or "failures <= 2%%"',
    )
    add("--allow-failures", metavar="N|P%", help="items without a verdict that are still fine")
    add(
        "--on-lost-reply",
        choices=["resubmit", "fail", "ask"],
        help="a submission whose reply was lost (default resubmit)",
    )
    add("--on-stuck", choices=["wait", "resubmit"], help="evaluations that seem forgotten (default wait)")
    add("--run", metavar="NAME", help="the run's name")
    anew_or_on = parser.add_mutually_exclusive_group()  # after a dry run, what it has put into the ledger is taken out
    anew_or_on.add_argument("--resume", metavar="RUN|last", help="carry on a run that was cut off")
    add("--retry-failed", action="store_true", default=None, help="with --resume: also the items that failed")
    add(
        "--same-account",
        action="store_true",
        default=None,
        help="with --resume: the keys or the address are new, the account is the run's",
    )
    anew_or_on.add_argument("--dry-run", action="store_true", help="check everything and send nothing")
    add(
        "--keep",
        action="append",
        metavar="COLUMN|all",
        help="a column of the dataset beside each result; may be repeated",
    )
    add("--output", metavar="DIR", help="where the files go (default fieval-runs/RUN)")
    add("--store", metavar="URL", help="the ledger (default FIEVAL_STORE_URL, else fieval-runs/ledger.db)")
    return parser


def fan_out_parser() -> argparse.ArgumentParser:
    parser = evaluate_parser()
    parser.prog = program("fan_out")
    parser.description = "Evaluate a dataset in shards: flow runs on the work pool of your Prefect server."
    parser.add_argument("--shards", type=_shards, default=3, metavar="N", help="how many flow runs (default 3)")
    parser.add_argument(
        "--deployment",
        default=SHARD_DEPLOYMENT,
        metavar="NAME",
        help=f"of the flow evaluate-shard (default {SHARD_DEPLOYMENT})",
    )
    return parser


def _shards(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MOST_SHARDS:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to {MOST_SHARDS}")
    return int(text)


def collect_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("collect"),
        description="Fetch the verdicts of a run that was only submitted, or was cut off; without one, of all.",
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help="a run's name, or last")
    parser.add_argument("--store", metavar="URL", help="the ledger (default FIEVAL_STORE_URL, else fieval-runs)")
    return parser


def control_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=program("control"),
        description="Steer a run that is at work, through its Prefect variable.",
        argument_default=argparse.SUPPRESS,
    )
    parser.add_argument("run", metavar="RUN", help="the run's name")
    pausing = parser.add_mutually_exclusive_group()
    pausing.add_argument("--pause", dest="paused", action="store_true", help="submit nothing more for now")
    pausing.add_argument("--unpause", dest="paused", action="store_false", help="submit again")
    parser.add_argument("--rate", metavar="N/s|N/min", help="requests a second or minute at most, from now on")
    parser.add_argument("--concurrency", type=int, metavar="N", help="requests in flight at most, from now on")
    parser.add_argument("--store", metavar="URL", help="the ledger of a run that is not at work yet")
    return parser


def plan_of(options: argparse.Namespace) -> EvaluationPlan:
    """The plan that the arguments make, holding only what was said. Raises PlanError with every problem."""
    said = {name: getattr(options, name) for name in EvaluationPlan.model_fields if hasattr(options, name)}
    said["dataset"] = _dataset(options.dataset)
    said["checks"] = _checks(options)
    said["mapping"] = dict(_mapped(text) for text in options.map or ())
    try:
        return EvaluationPlan(**{name: value for name, value in said.items() if value not in (None, (), {})})
    except PlanError as error:
        raise PlanError(*(spelled(problem, EvaluationPlan, option_name) for problem in error.problems)) from None


def _dataset(named: Sequence[str]) -> str | None:
    """One a line. An empty one is what an unset variable leaves behind, and never the bundled sample."""
    if not all(one.strip() for one in named):
        raise PlanError("DATASET is empty: is the variable that should name it unset?")
    return "\n".join(named) or None


def option_name(place: str) -> str:
    """`id_column` -> `--id`, `checks.0.model` -> `--template`."""
    field = place.split(".")[0]
    return TYPED.get(field, f"--{field.replace('_', '-')}")


def _checks(options: argparse.Namespace) -> tuple[Check, ...]:
    checks = [Check.named(text) if isinstance(text, _Named) else Check.parse(text) for text in options.template or ()]
    params = [_parameter(text) for text in options.param or ()]
    if params and not checks:
        raise PlanError("--param needs a --template to set a parameter of")
    _require_checks([name for name, _ in params], checks)
    if options.model and not checks:
        raise PlanError("--model needs a --template to be the judge of; a run that is resumed keeps its own")
    typed = {name: AsTyped(text, is_shared="." not in name) for name, text in params}
    return tuple(
        check.model_copy(update={"model": check.model or options.model, "params": said_for(check, typed)})
        for check in checks
    )


def _require_checks(names: Sequence[str], checks: Sequence[Check]) -> None:
    """Raises PlanError for a parameter of a check that is not asked for: it would be given to nobody."""
    lost = [name for name in names if "." in name and not any(check.own(name) for check in checks)]
    if lost:
        raise PlanError(*(f"--param {name}: no --template or --check is {name.rpartition('.')[0]!r}" for name in lost))


def _parameter(text: str) -> tuple[str, str]:
    """Its value exactly as typed: what it means, and whether blanks around it do, is its type's to say."""
    name, _, value = text.partition("=")
    if not name.strip() or not value:
        raise PlanError(f"--param {text!r}: expected NAME=VALUE")
    return normalize("NFC", name.strip()), value


def _mapped(text: str) -> tuple[str, str]:
    key, _, column = (part.strip() for part in text.partition("="))
    if not key or not column:
        raise PlanError(f"--map {text!r}: expected KEY=COLUMN")
    return key, column


def _duration(text: str) -> float:
    try:
        return parse_duration(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
