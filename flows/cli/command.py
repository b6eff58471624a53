"""The commands as they are typed: their words, and their help.

What a command does is imported once it is asked for: the help and a typing error come at once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from inspect import BoundArguments
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter, UnknownOptionError
from cyclopts.help import DefaultFormatter, PanelSpec
from rich.box import Box
from rich.console import Console

from fieval_tasks.core.command_lines import SCRIPT, program
from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.plan import SHARD_DEPLOYMENT, EvaluationPlan
from fieval_tasks.terminal.door import answered
from fieval_tasks.terminal.manner import as_one_object, is_on_github, is_quiet, no_commands
from flows.cli.plan_options import option, plan_of, typed_as_plan, whole

BARE = DefaultFormatter(panel_spec=PanelSpec(box=Box("    \n" * 8), padding=0))
"""Columns without lines around them, which not every terminal can draw."""
NARROWEST = 20
"""Characters of a line of help at least: in fewer than four, cyclopts never comes to the end of an option's name."""
EXIT_CODES = (
    "exit codes: 0 every item has a verdict; 1 a gate failed; 2 bad input, nothing sent; 3 some items have no verdict, here or where --to says; "
    "4 stopped (keys, credit, server); 70 an unexpected error, in a log; 130 interrupted"
)
_OF_ALL = "4 the ledger's server can't be reached; 70 an unexpected error, in a log; 130 interrupted"
EXIT_CODES_OF_PAST_RUNS = f"exit codes: 0 done; 2 bad input; {_OF_ALL}"
EXIT_CODES_OF_COMPARE = (
    "exit codes: 0 no check is worse; 1 one is; 2 bad input, or they can't be compared; 3 verdicts that are missing "
    f"leave it open; {_OF_ALL}"
)
NOW_CALLED = {"--ambiguous": "--on-lost-reply", "--orphans": "--on-stuck", "--go": "--unpause"}

ABOUT_JSON = (
    "One JSON object on standard output, and nothing else: what the run came to, as in its summary.json, or what --dry-run "
    "finds; where there is neither, the error and the exit code."
)
ABOUT_QUIET = "Say nothing but errors and what the run came to, on standard error."
DRY_RUN = (
    option("dry_run", bool, "Check everything, foretell requests, time and cost, and send nothing."),
    option("as_json", bool, ABOUT_JSON, name="--json"),
    option("quiet", bool, ABOUT_QUIET),
)
GIVE_AN_OBJECT = ("evaluate", "fan_out", "collect")
"""Commands whose --json is for programs that must be able to read what they print, whatever happened."""
TELL_GITHUB = ("evaluate", "fan_out", "collect", "compare")
"""Commands with --github: GitHub Actions show what they come to. What all others print is only text to it."""

NO_PREFECT = option(
    "no_prefect", bool, "Without a flow run and a Prefect server: it begins in a moment, as for a CI job."
)
ABOUT_GITHUB = (
    "Tell GitHub Actions what the run came to: the step's summary, a comment file, annotations and outputs. Default: where "
    "GITHUB_ACTIONS is true."
)
GITHUB = option("github", bool, ABOUT_GITHUB, negative="--no-github")


def _as_in_plan(name: str, more: str = "", **said: Any) -> Parameter:
    return Parameter(help=f"{EvaluationPlan.model_fields[name].description}{more}", **said)


StoreOption = Annotated[str | None, _as_in_plan("store")]
RateOption = Annotated[str | None, _as_in_plan("rate", " From now on.")]
Concurrency = Annotated[int | None, _as_in_plan("concurrency", " From now on.", converter=whole)]
ItemArgument = Annotated[
    str, Parameter(help="An item_id of results.jsonl (after -- where it begins with a dash), or row:17.")
]
RunArgument = Annotated[str, Parameter(help="A run's name, or last.")]
Pause = Annotated[bool, Parameter(help="Submit nothing more for now.")]
Unpause = Annotated[bool, Parameter(help="Submit again.")]
Drawn = Annotated[int | None, Parameter(help="Items to draw. Default: 100.", converter=whole)]
LabelledCheck = Annotated[
    str | None, Parameter(help="The check whose verdicts are labelled; needed where there are several.")
]
DrawSeed = Annotated[int | None, Parameter(help="Seed of the draw. Default: 0.", converter=whole)]
Policy = Annotated[
    str | None,
    Parameter(
        name=("--policy", "--labelling-policy"),
        help="The labelling policy's name: labels of one say nothing of another.",
    ),
]
SheetFile = Annotated[
    str | None, Parameter(help="The sheet's file, .csv or .jsonl; default: labels-CHECK.csv in the run's folder.")
]
Labels = Annotated[str | None, Parameter(help="A sheet that people filled in, to be read back.")]
ListLabels = Annotated[bool, Parameter(help="Show all labels in the ledger, and what they say.")]
AsJson = Annotated[bool, Parameter(help="As a JSON array, nothing shortened.")]
BaselineArgument = Annotated[
    str, Parameter(help="What it is compared with: a run's name, blessed (default), last or a file of bless.")
]
Margin = Annotated[str | None, _as_in_plan("margin")]
ClusterOption = Annotated[str | None, _as_in_plan("cluster")]
By = Annotated[list[str] | None, Parameter(help="Also compare each value of this column. May be repeated.")]
AcrossModels = Annotated[bool, Parameter(help="Compare although the judge models differ: that compares the judges.")]
AsObject = Annotated[bool, Parameter(help="As a JSON object, with both answers of each flipped item.")]
Note = Annotated[str, Parameter(help="Why this run is the baseline.")]
BaselineFile = Annotated[
    Path | None, Parameter(help="Write the baseline to this file, to commit it, and mark nothing.")
]
Anyway = Annotated[bool, Parameter(help="Although verdicts are missing, or a gate failed.")]
OneObject = Annotated[bool, Parameter(help=ABOUT_JSON.replace(", or what --dry-run finds", ""))]
Quiet = Annotated[bool, Parameter(help=ABOUT_QUIET)]
OnGitHub = Annotated[bool | None, Parameter(name="--github", negative="--no-github", help=ABOUT_GITHUB)]
ListBlessed = Annotated[bool, Parameter(name="--list", help="Show the blessed runs.")]
OfDataset = Annotated[str | None, Parameter(help="Only runs on this dataset: its name, its path, or a pattern.")]
OfCheck = Annotated[str | None, Parameter(help="Only runs with this check.")]
Since = Annotated[str | None, Parameter(help="Only runs begun since: 7d, 12h, or a date such as 2026-11-01.")]
Status = Annotated[
    str | None,
    Parameter(
        name=("--status", "--exit-code"),
        help="Only runs that ended so: ok, gate-failed, incomplete, stopped, interrupted, pending, at-work, unfinished, or a code.",
    ),
]
Limit = Annotated[
    int, Parameter(name=("--limit", "--last"), help="Runs at most, the latest. Default: 20.", converter=whole)
]
Last = Annotated[
    int, Parameter(name=("--last", "--limit"), help="Runs at most, the latest. Default: 20.", converter=whole)
]
DatasetArgument = Annotated[str, Parameter(help="A dataset's name or path, or a pattern such as 'answers-*.csv'.")]
CheckArgument = Annotated[str, Parameter(help="A check's name, as in the results.")]
RunAsObject = Annotated[bool, Parameter(help="As a JSON object.")]
OlderThan = Annotated[str, Parameter(help="Runs begun before: 90d, or a date such as 2026-06-01.")]
Yes = Annotated[bool, Parameter(help="Delete without asking: for a script.")]
DryPrune = Annotated[bool, Parameter(help="Say what would be deleted and what stays, and delete nothing.")]


@typed_as_plan(*DRY_RUN, NO_PREFECT, GITHUB)
def evaluate(*dataset: str, no_prefect: bool = False, github: bool | None = None, **said: Any) -> int:
    """Put every row of a dataset to Future AGI evaluations.

    Without a dataset: a bundled sample, on the embedded local evaluator.
    """

    return _by_plan("evaluate", dataset, said, github, no_prefect=no_prefect)


@typed_as_plan(
    *DRY_RUN,
    option("shards", int, "How many flow runs (default 3)."),
    option("deployment", str, f"Of the flow evaluate-shard (default {SHARD_DEPLOYMENT})."),
    option("no_prefect", bool, "", show=False),
    GITHUB,
)
def fan_out(
    *dataset: str, shards: int = 3, deployment: str = SHARD_DEPLOYMENT, no_prefect: bool = False,
    github: bool | None = None, **said: Any,
) -> int:  # fmt: skip
    """Evaluate a dataset in shards: flow runs on the work pool of your Prefect server."""
    if no_prefect:
        raise PlanError(f"--no-prefect: shards are flow runs in Prefect; it is for {program('evaluate')}")
    return _by_plan("fan_out", dataset, said, github, shards=shards, deployment=deployment)


def _by_plan(action: str, dataset: Sequence[str], said: Mapping[str, Any], github: bool | None, **more: Any) -> int:
    """The exit code of a function of `actions` that is given the plan, and whether it is only to be foretold."""
    dry_run = bool(said.get("dry_run"))

    def acted() -> int:
        is_quiet.set(bool(said.get("quiet")))
        if dry_run and "resume" in said:
            raise PlanError("--dry-run: it is for a run that begins; leave it or --resume out")
        plan = plan_of(dataset, said)
        from flows.cli import actions

        return int(getattr(actions, action)(plan, dry_run=dry_run, **more))

    return _told_github(acted, False if dry_run else github, as_json=bool(said.get("as_json")))


def collect(
    run: RunArgument | None = None, /, *, store: StoreOption = None, json: OneObject = False, quiet: Quiet = False,
    github: OnGitHub = None,
) -> int:  # fmt: skip
    """Fetch the verdicts of a run that was only submitted, or was cut off; without one, of all."""
    from flows.cli import actions

    is_quiet.set(quiet)
    return _told_github(lambda: actions.collect(run, store), github, as_json=json)


def control(
    run: RunArgument, /, *, pause: Pause = False, unpause: Unpause = False, rate: RateOption = None,
    concurrency: Concurrency = None, store: StoreOption = None,
) -> int:  # fmt: skip
    """Steer a run that is at work, through its Prefect variable. One that is not at work yet is looked up in the ledger."""
    if pause and unpause:
        raise PlanError("--pause and --unpause: leave one of them out")
    said = {"paused": pause if pause or unpause else None, "rate": rate, "concurrency": concurrency}
    changes = {name: value for name, value in said.items() if value is not None}
    from flows.cli import actions

    return actions.control(run, changes, store)


def explain(run: RunArgument, item: ItemArgument, /, *, store: StoreOption = None, json: AsJson = False) -> int:
    """What became of an item: when it was sent, what came back, why it waited, what it cost."""
    from flows.explain import explain as explained

    print(explained(run, item, store, as_data=json), end="")
    return 0


def label(
    run: RunArgument | None = None, /, *, n: Drawn = None, check: LabelledCheck = None, seed: DrawSeed = None,
    policy: Policy = None, output: SheetFile = None, labels: Labels = None, list: ListLabels = False,
    store: StoreOption = None,
) -> int:  # fmt: skip
    """Have people label a random part of a run's items, and correct its pass rate by their labels.

    Without --labels: writes a sheet, without the judge's verdicts. Write pass or fail into its column label.
    """
    from flows.cli import labelling

    if list:
        return labelling.listed(store)
    if run is None:
        raise PlanError("RUN is missing: name the run whose items are labelled, or last")
    if labels is None:
        return labelling.written(run, n=n, check=check, seed=seed, policy=policy, output=output, store=store)
    if said := [
        name for name, value in (("n", n), ("check", check), ("seed", seed), ("output", output)) if value is not None
    ]:
        raise PlanError(f"--{said[0]}: it is for a sheet that is drawn; leave it or --labels out")
    return labelling.read(run, labels, policy, store)


def compare(
    run: RunArgument, baseline: BaselineArgument = "blessed", /, *, margin: Margin = None, cluster: ClusterOption = None,
    by: By = None, across_models: AcrossModels = False, store: StoreOption = None, json: AsObject = False,
    github: OnGitHub = None,
) -> int:  # fmt: skip
    """What changed from a baseline to a run, over the items that both have. Nothing is sent.

    Exit code 1: a check is WORSE; 2: they can't be compared; 3: verdicts are missing that could change the answer.
    """
    from flows.cli.baseline_commands import compare as compared

    said: dict[str, Any] = {
        "margin": margin,
        "cluster": cluster,
        "by": by or [],
        "across_models": across_models,
        "store": store,
    }
    return _told_github(lambda: compared(run, baseline, **said, as_data=json), github, as_json=json)


def bless(
    run: RunArgument | None = None, /, *, note: Note = "", file: BaselineFile = None, anyway: Anyway = False,
    list: ListBlessed = False, store: StoreOption = None,
) -> int:  # fmt: skip
    """Make a run the baseline that later runs are compared with: a mark in the ledger, or a file to commit."""
    from flows.cli.baseline_commands import bless as blessed

    return blessed(run, note, file, anyway, list, store)


def _told_github(work: Callable[[], int], asked: bool | None, *, as_json: bool = False) -> int:
    """Do the work, and tell GitHub Actions what it came to, where that is `asked`; None: where the command runs there."""
    if not (is_on_github() if asked is None else asked):
        return work()
    from fieval_tasks.terminal.github_step import on_github

    return on_github(work, as_json=as_json)


def runs(
    *, dataset: OfDataset = None, check: OfCheck = None, since: Since = None, status: Status = None, limit: Limit = 20,
    json: AsJson = False, store: StoreOption = None,
) -> int:  # fmt: skip
    """The runs of a ledger, the newest first: when, how each ended, what its checks came to, what it cost."""
    from flows.cli import history_commands

    return history_commands.runs(
        store, as_data=json, limit=limit, dataset=dataset, check=check, since=since, status=status
    )


def show(run: RunArgument, /, *, json: RunAsObject = False, store: StoreOption = None) -> int:
    """One run: its checks and figures, gates, amendments, where its files are, and what to do next."""
    from flows.cli import history_commands

    return history_commands.show(run, store, as_data=json)


def trend(
    dataset: DatasetArgument, check: CheckArgument, /, *, last: Last = 20, json: RunAsObject = False,
    store: StoreOption = None,
) -> int:  # fmt: skip
    """How a check went from run to run. The line is broken where judge, template, questions or labels are others."""
    from flows.cli import history_commands

    return history_commands.trend(dataset, check, store, as_data=json, last=last)


def prune(*, older_than: OlderThan, yes: Yes = False, dry_run: DryPrune = False, store: StoreOption = None) -> int:
    """Delete the rows and verdicts of old runs from the ledger, after asking. What they came to stays, as do their files.

    Runs stay that are blessed, labelled, not at their end, or whose verdicts another run reuses.
    """
    from flows.cli import history_commands

    return history_commands.prune(older_than, store, yes=yes, dry_run=dry_run)


COMMANDS: Mapping[Callable[..., int], tuple[str, str]] = {
    evaluate: ("[DATASET...]", EXIT_CODES),
    runs: ("", EXIT_CODES_OF_PAST_RUNS),
    show: ("RUN", EXIT_CODES_OF_PAST_RUNS),
    trend: ("DATASET CHECK", EXIT_CODES_OF_PAST_RUNS),
    collect: ("[RUN]", EXIT_CODES),
    explain: ("RUN ITEM", EXIT_CODES_OF_PAST_RUNS),
    compare: ("RUN [BASELINE]", EXIT_CODES_OF_COMPARE),
    bless: ("[RUN]", EXIT_CODES_OF_PAST_RUNS),
    label: ("RUN", EXIT_CODES),
    prune: ("--older-than AGE", EXIT_CODES_OF_PAST_RUNS),
    control: ("RUN", EXIT_CODES),
    fan_out: ("[DATASET...]", EXIT_CODES),
}
"""Each command -> its arguments as the first line of its help has them, where cyclopts calls all that may be left out [ARGS],
and the exit codes in the last one."""


# -- how they are called -------------------------------------------------------------------------------------------


def fieval_command(tokens: Sequence[str] | None = None) -> int:
    """`fieval COMMAND ...`; its exit code."""
    words = sys.argv[1:] if tokens is None else tokens
    return _answering((words or [""])[0].replace("-", "_"), fieval_app, words)


def fieval_app() -> App:
    """All commands as words of one, which a shell can complete."""
    app = bare_app(SCRIPT, help="Put rows to Future AGI evaluations, and see what became of them.")
    for command in COMMANDS:
        app.command(app_of(command), name=command.__name__.replace("_", "-"))
    app.register_install_completion_command(help="Have this shell complete the words of these commands.")
    return app


def _entry(command: Callable[..., int]) -> Callable[[Sequence[str] | None], int]:
    """The command with its words still to be read: those of this process, if none are given."""

    def entry(tokens: Sequence[str] | None = None) -> int:
        return _answering(command.__name__, lambda: app_of(command), sys.argv[1:] if tokens is None else tokens)

    return entry


def _answering(name: str, app: Callable[[], App], tokens: Sequence[str]) -> int:
    """The exit code of a command with these words, which gives a program its object also where they are not understood."""

    def work() -> int:
        is_mute = is_on_github() and name not in TELL_GITHUB  # else the command sees to it itself
        with no_commands(sys.stderr) if is_mute else nullcontext():
            return answered(lambda: run(app(), tokens))

    options = tokens[: tokens.index("--")] if "--" in tokens else tokens
    is_for_program = name in GIVE_AN_OBJECT and "--json" in options and "--help" not in options
    return as_one_object(work) if is_for_program else work()


evaluate_command = _entry(evaluate)
fan_out_command = _entry(fan_out)
collect_command = _entry(collect)
control_command = _entry(control)
explain_command = _entry(explain)
label_command = _entry(label)
compare_command = _entry(compare)
bless_command = _entry(bless)
runs_command = _entry(runs)
show_command = _entry(show)
trend_command = _entry(trend)
prune_command = _entry(prune)


def app_of(command: Callable[..., int]) -> App:
    called, (arguments, exit_codes) = program(command.__name__), COMMANDS[command]
    app = bare_app(called, help_epilogue=exit_codes, usage=f"Usage: {called} [OPTIONS] {arguments}".rstrip())
    app.default(command)
    return app


def bare_app(name: str, **said: Any) -> App:
    console = Console()
    console.width = max(NARROWEST, console.width)
    app = App(
        name=name,
        version_flags=(),
        help_format="plaintext",
        help_formatter=BARE,
        group_parameters="Options",
        default_parameter=Parameter(negative=(), show_default=False, allow_repeating=True),
        console=console,
        **said,
    )
    app["--help"].group = "Options"
    return app


def run(app: App, tokens: Sequence[str] | None) -> int:
    """The exit code of what the words ask for: those of this process, if none are given."""
    command, words = parsed(app, tokens)
    return int(command(*words.args, **words.kwargs) or 0)


def parsed(app: App, tokens: Sequence[str] | None) -> tuple[Callable[..., Any], BoundArguments]:
    """What is to be called, and with what. Raises PlanError for words that are none of the command's."""
    try:
        command, words, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
    except CycloptsError as error:
        error.verbose = False
        unknown = (error.token.keyword or error.token.value) if isinstance(error, UnknownOptionError) else ""
        hint = f" It is called {NOW_CALLED[unknown]} now." if unknown in NOW_CALLED else " See --help."
        raise PlanError(str(error) if str(error).endswith("?") else f"{error}{hint}") from None
    return command, words
