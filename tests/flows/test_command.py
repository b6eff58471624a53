"""The command, as a user types it: what it prints, how it exits, what it leaves behind."""

from __future__ import annotations

import json
import os
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stdout
from contextvars import copy_context
from datetime import datetime, tzinfo
from io import BytesIO, StringIO, TextIOWrapper
from pathlib import Path
from threading import Barrier, Event
from typing import Any, TypeAlias

import httpx
import pytest

from fieval_tasks.core.command_lines import option_name
from fieval_tasks.core.errors import NameTaken, PlanError
from fieval_tasks.core.plan import Check, EvaluationPlan, Mode
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.on_prefect.times import PrefectTimes
from fieval_tasks.runs.preparation import prepared
from fieval_tasks.runs.workers import threads, work_once
from flows.cli.command import (
    app_of,
    collect_command,
    control_command,
    evaluate,
    evaluate_command,
    fan_out_command,
    parsed,
)
from flows.cli.plan_options import plan_of
from flows.cli.prefect_session import patiently
from tests.conftest import PATIENCE, Evaluator
from tests.flows.conftest import exit_code

Command: TypeAlias = Callable[..., int]

GOOD = '{"question": "What is it?", "answer": "It is a lamp.", "docs": "It is a lamp."}\n'


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def typed(*arguments: str) -> EvaluationPlan:
    _, given = parsed(app_of(evaluate), arguments)
    return plan_of(given.args, given.kwargs)


@pytest.fixture
def here(prefect_api: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    """A command in this process, on the session's Prefect server: where the process is not what a test is about."""

    def command(command: Callable[[list[str]], int], *arguments: str, **environment: str) -> int:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        return command(list(arguments))

    with of_prefect(prefect_api):
        yield command


def summary(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path("fieval-runs", name, "summary.json").read_text(encoding="utf-8"))
    return found


def lines(name: str) -> list[dict[str, Any]]:
    text = Path("fieval-runs", name, "results.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


# -- arguments -----------------------------------------------------------------------------------------------------


def test_good_choices_may_be_typed_in_one_option_or_in_several() -> None:
    for options in (["--good", "tone=neutral, joy"], ["--good", "tone=neutral", "--good", "tone=joy"]):
        assert typed("a.csv", "--template", "tone", *options).good == {"tone": ("neutral", "joy")}
    assert typed("a.csv", "--confidence", "0.95").confidence == 0.95


def test_arguments_make_the_plan_they_say() -> None:
    plan = typed(
        *("a.csv", "--template", "groundedness:turing_small", "--template", "contains", "--param", "keyword=x"),
        *("--map", "output=answer", "--id", "key", "--mode", "sync", "--item-timeout", "10m", "--rate", "600/min"),
    )
    assert plan.checks == (
        Check(template="groundedness", model="turing_small", params={"keyword": "x"}),
        Check(template="contains", params={"keyword": "x"}),
    )
    assert (plan.mapping, plan.id_column, plan.mode, plan.item_timeout) == (
        {"output": "answer"}, "key", Mode.SYNC, 600.0,
    )  # fmt: skip


def test_only_what_was_said_is_in_the_plan() -> None:
    assert typed().model_fields_set == set()
    assert typed("--resume", "r", "--rate", "5/s").model_fields_set == {"resume", "rate"}


def test_parameters_stay_as_they_were_typed_and_may_name_their_template() -> None:
    plan = typed(
        "d", "--template", "a", "--template", "b", "--param", "a.k=3", "--param", 'w=["x"]', "--param", "t=no!"
    )
    assert [c.params for c in plan.checks] == [{"k": "3", "w": '["x"]', "t": "no!"}, {"w": '["x"]', "t": "no!"}]


def test_checks_of_one_template_have_names_and_parameters_of_their_own() -> None:
    named = ("--check", "refund=contains", "--template", "equals", "--check", "total=contains")
    plan = typed(
        "d",
        *named,
        "--param",
        "refund.keyword= refund ",
        "--param",
        "total.keyword=007",
        "--param",
        "contains.case_sensitive=no",
    )
    assert [(c.name, c.template, c.params) for c in plan.checks] == [
        ("refund", "contains", {"keyword": " refund ", "case_sensitive": "no"}),
        (None, "equals", {}),
        ("total", "contains", {"keyword": "007", "case_sensitive": "no"}),
    ]


def test_sharing_can_be_switched_off_and_is_said_only_where_it_was_typed() -> None:
    assert [typed(*said).sharing for said in ((), ("--sharing",), ("--no-sharing",))] == [True, True, False]
    assert typed("--resume", "r").model_fields_set == {"resume"}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--map", "output"], "--map 'output': expected KEY=COLUMN"),
        (["--limit", "0"], "--limit: 0 will not do, write 1 or more"),
        (["--concurrency", "5000"], "--concurrency: 5000 will not do, write 1000 at most"),
        (["--gate", "good"], "--gate: 'good' is not a gate: write CHECK.pass_rate >= 0.95"),
        (["--run", "a", "--resume", "b"], "leave one of them out"),
        (["--rate", "fast"], "'fast' is not a rate"),
        (["--retry-failed"], "--retry-failed: needs resume"),
        (["--run", "../up"], "--run: a run name is letters"),
        (["--param", "k=v"], "needs a --template"),
        (["--template", "contains", "--param", "contians.keyword=v"], "no --template or --check is 'contians'"),
        (["--model", "turing_small", "--resume", "a"], "--model needs a --template"),
        (["--check", "contains"], "--check 'contains': expected NAME=TEMPLATE"),
        (["--check", "a=contains", "--param", "keyword="], "--param 'keyword=': expected NAME=VALUE"),
    ],
)
def test_wrong_arguments_are_named(arguments: list[str], said: str) -> None:
    with pytest.raises(PlanError) as raised:
        typed(*arguments)
    assert any(said in problem for problem in raised.value.problems)


def test_a_problem_is_told_of_what_was_typed_and_not_of_the_plans_field() -> None:
    with redirect_stdout(StringIO()) as shown:
        evaluate_command(["--help"])
    typeable = set(shown.getvalue().split())
    assert {option_name(field) for field in EvaluationPlan.model_fields} <= typeable
    assert option_name("checks.0.template") == "--template"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--limt 3", "Unknown option: --limt. Did you mean --limit?"),
        ("--mode later", 'Invalid value "later" for --mode. Choose from: "auto", "async", "sync", "submit".'),
        ("--limit many", 'Invalid value for --limit: "many" is not a whole number. See --help.'),
        ("--limit 1.5", 'Invalid value for --limit: "1.5" is not a whole number.'),
        ("--seed 0x10", 'Invalid value for --seed: "0x10" is not a whole number.'),
        ("--gate --limit 3", "Parameter --gate requires an argument."),
        ("--ambiguous fail", "Unknown option: --ambiguous. It is called --on-lost-reply now."),
    ],
)
def test_what_can_not_be_typed_is_refused_in_a_sentence(
    words: str, said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert evaluate_command(words.split()) == 2
    assert capfd.readouterr().err.startswith(f"error: {said}")


def test_of_an_option_that_is_typed_twice_the_last_one_counts_as_where_a_script_adds_to_its_own() -> None:
    plan = typed("--limit", "3", "--rate", "1/s", "--mode", "sync", "--limit", "4", "--rate", "2/s", "--mode", "async")
    assert (plan.limit, plan.rate, plan.mode) == (4, "2/s", Mode.ASYNC)
    assert typed("--keep", "a", "--keep", "b").keep == ("a", "b")


def test_values_that_begin_with_a_dash_are_taken_after_an_equals_sign_and_files_after_two_dashes() -> None:
    plan = typed("--delimiter", "-", "--id=-id", "--map=-x=y", "--limit", "3", "--", "-a.csv", "-")
    assert (plan.dataset, plan.delimiter, plan.id_column, plan.mapping) == ("-a.csv\n-", "-", "-id", {"-x": "y"})


def test_the_help_of_every_command_is_plain_letters_and_needs_no_prefect() -> None:
    commands = ["evaluate", "collect", "control", "explain", "label", "fan_out"]
    program = "import sys, flows.cli.command as c; [getattr(c, f'{name}_command')(['--help']) for name in sys.argv[1:]]; sys.exit('prefect' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program, *commands], capture_output=True, env=os.environ | {"LC_ALL": "C"}, check=True
    )
    assert done.stdout.isascii()
    for command in commands:
        assert f"Usage: python -m flows.{command} " in done.stdout.decode()


def test_in_the_narrowest_terminal_the_help_comes_to_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1")
    with redirect_stdout(StringIO()) as shown:
        assert evaluate_command(["--help"]) == 0
    assert shown.getvalue().rstrip().endswith("interrupted")


def test_a_run_that_is_carried_on_is_never_dry_for_that_would_take_it_out_of_the_ledger() -> None:
    assert evaluate_command(["--resume", "r", "--dry-run"]) == 2


# -- bad input, before anything is sent ----------------------------------------------------------------------------

BAD_FILES: dict[str, tuple[str, bytes, list[str], list[str]]] = {
    "a missing column": (
        "d.csv", b"question,reply\nq,a\n", ["--map", "output=answer"], ["'answer' is not in d.csv", "question, reply"],
    ),
    "a wrong key": ("d.csv", b"question,answer\nq,a\n", ["--map", "outputt=answer"], ["outputt", "output"]),
    "an empty file": ("d.csv", b"", [], ["d.csv is empty"]),
    "a header alone": ("d.csv", b"question,answer\n", [], ["d.csv"]),
    "duplicate ids": (
        "d.csv", b"id,question,answer\n1,q,a\n2,q,a\n1,q,b\n", ["--id", "id"], ["'1' in rows 1, 3"],
    ),
    "no such id column": ("d.csv", b"question,answer\nq,a\n", ["--id", "key"], ["key", "question, answer"]),
    "not utf-8": ("d.csv", b"question,answer\nq,caf\xe9\n", [], ["d.csv", "UTF-8"]),
    "not json": ("d.jsonl", b"hello\nworld\n", [], ["d.jsonl"]),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD_FILES)
def test_a_bad_file_is_explained_and_nothing_is_sent(bad: str, capfd: pytest.CaptureFixture[str]) -> None:
    name, content, arguments, said = BAD_FILES[bad]
    Path(name).write_bytes(content)
    code = evaluate_command([name, "--template", "completeness", "--connection", "local", "--dry-run", *arguments])
    told = capfd.readouterr().err
    assert code == 2
    assert told.startswith("error: ")
    assert "Traceback" not in told
    for words in said:
        assert words in told


ODD_FILES: dict[str, tuple[str, bytes, str]] = {
    "a BOM": ("d.csv", b"\xef\xbb\xbfquestion,answer\nq,a\n", "0 items would fail"),
    "CRLF": ("d.csv", b"question,answer\r\nq,a\r\nq,b\r\n", "0 items would fail"),
    "a 5 MB cell": ("d.csv", b"question,answer\nq," + b"a" * 5_000_000 + b"\n", "0 items would fail"),
    "mixed types": ("d.jsonl", b'{"question":1,"answer":[1]}\n{"question":true,"answer":{"a":1}}\n', "0 items would"),
    "NaN": ("d.jsonl", b'{"question":"q","answer":NaN}\n{"question":"q","answer":"a"}\n', "1 item would fail"),
    "a blank answer": ("d.csv", b'question,answer\nq,\nq," "\nq,a\n', "2 items would fail"),
}


@pytest.mark.parametrize("odd", ODD_FILES)
def test_an_odd_file_is_taken_as_it_is(odd: str, capfd: pytest.CaptureFixture[str]) -> None:
    name, content, said = ODD_FILES[odd]
    Path(name).write_bytes(content)
    code = evaluate_command([name, "--template", "completeness", "--connection", "local", "--dry-run"])
    assert (code, said in capfd.readouterr().err) == (0, True)


def test_a_dry_run_says_why_the_first_item_would_fail(capfd: pytest.CaptureFixture[str]) -> None:
    Path("d.csv").write_text("question,answer,word\nq,a,b\nq,a,\nq,,\n")
    checks = ["--template", "completeness", "--check", "says=contains", "--map", "text=answer", "--map", "keyword=word"]
    assert evaluate_command(["d.csv", *checks, "--connection", "local", "--dry-run"]) == 0
    told = capfd.readouterr().err
    assert "dry run: 3 items would fail before sending; nothing was sent" in told
    assert "the first is says, row 2: parameter 'keyword' (column 'word') will not do: it is blank" in told


def test_every_problem_is_named_at_once(capfd: pytest.CaptureFixture[str]) -> None:
    Path("d.csv").write_text("question,answer\nq,a\n")
    arguments = ["--template", "completness", "--template", "groundedness", "--map", "context=dox", "--dry-run"]
    assert evaluate_command(["d.csv", "--connection", "local", *arguments]) == 2
    told = capfd.readouterr().err
    assert "completeness" in told
    assert "'dox' is not in d.csv" in told


@pytest.mark.parametrize(
    ("command", "arguments"), [(evaluate_command, ["--resume", "nobody"]), (collect_command, ["nobody"])]
)
def test_a_run_that_is_not_there_is_told_before_a_server_is_waited_for(
    command: Callable[[list[str]], int],
    arguments: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert evaluate_command(["--dry-run"]) == 0  # there is a ledger
    monkeypatch.setattr("flows.cli.actions.prefect_session", lambda: pytest.fail("a server is started"))
    assert command(arguments) == 2
    assert "no run 'nobody' in" in capfd.readouterr().err


@pytest.mark.parametrize("option", ["--connection", "--shared-limit"])
@pytest.mark.parametrize("has_database", [False, True])
def test_a_name_that_prefect_can_not_know_is_refused_before_a_server_is_waited_for(
    option: str,
    has_database: bool,
    begun_prefect_home: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PREFECT_HOME", str(begun_prefect_home if has_database else tmp_path))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    monkeypatch.setattr("flows.cli.actions.prefect_session", lambda: pytest.fail("a server is started"))
    assert evaluate_command([option, "nobody"]) == 2
    assert "'nobody'" in capfd.readouterr().err


def test_a_file_whose_name_is_no_text_is_refused_before_prefect_is_told_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("flows.cli.actions.prefect_session", lambda: pytest.fail("a server is started"))
    assert evaluate_command(["caf\udce9.csv", "--output", "out\udcff", "--template", "tone"]) == 2
    told = capfd.readouterr().err
    assert "DATASET: it holds bytes that are no UTF-8" in told
    assert "--output: it holds bytes that are no UTF-8" in told


def test_what_the_database_holds_is_found_in_it(workplace: Path, prefect_home: Path, block: Any) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate

    from fieval_tasks.on_prefect.prefect_names import require_known_names

    with get_client(sync_client=True) as client:
        client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name="at-rest", limit=1))
    require_known_names(EvaluationPlan(connection="evaluator", shared_limit="at-rest"))
    with pytest.raises(PlanError, match=r"there are: .*evaluator"):
        require_known_names(EvaluationPlan(connection="evaluater"))


def test_a_long_wait_for_a_server_is_told_and_a_short_one_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Event()
    monkeypatch.setattr("flows.cli.prefect_session.say", lambda _: told.set())
    patiently(lambda: None)
    assert not told.is_set()
    patiently(lambda: None if told.wait(60) else pytest.fail("nothing is said"), PrefectTimes(said_after=0.0))


def test_a_dry_run_for_programs_is_one_object_on_standard_output(capfd: pytest.CaptureFixture[str]) -> None:
    assert evaluate_command(["--dry-run", "--json", "--price", "turing_flash=0.002"]) == 0
    told = json.loads(capfd.readouterr().out)
    assert told["cost"]["total"] == pytest.approx(0.002 * told["evaluations"])


def test_a_quiet_dry_run_says_what_would_fail_and_no_more(capfd: pytest.CaptureFixture[str]) -> None:
    assert evaluate_command(["--dry-run", "--quiet"]) == 0
    assert capfd.readouterr() == ("", "dry run: 0 items would fail before sending; nothing was sent\n")


@pytest.mark.parametrize(
    ("command", "arguments", "told"),
    [
        (evaluate_command, ["--limt", "3"], "Unknown option: --limt. Did you mean --limit?"),
        (evaluate_command, ["no.csv", "--template", "tone"], "no.csv does not exist; check the path"),
        (fan_out_command, ["--shards", "0"], "--shards: 0 is not a number from 1 to 100"),
        (collect_command, ["nobody"], "there is no ledger"),
    ],
)
def test_an_error_before_a_run_is_an_object_too_so_that_a_program_can_always_read_it(
    command: Callable[[list[str]], int], arguments: list[str], told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert command([*arguments, "--json"]) == 2
    out, err = capfd.readouterr()
    found = json.loads(out)
    assert found["exit_code"] == 2
    assert told in found["error"]
    assert told in err


def test_a_run_for_programs_is_its_summary_on_standard_output_and_little_else_anywhere(
    capfd: pytest.CaptureFixture[str],
) -> None:
    gate = ["--gate", "completeness.mean >= 1", "--gate", "failures <= 0"]
    assert evaluate_command(["--no-prefect", "--run", "told", *gate, "--json", "--quiet"]) == 1
    out, err = capfd.readouterr()
    assert json.loads(out) == summary("told")
    failed, run, report = err.splitlines()
    assert failed.startswith("gate FAIL: completeness.mean >= 1")
    assert run == "run told: 120 of 120 items scored"
    assert report == "report: fieval-runs/told/report.html"
    assert collect_command(["--json"]) == 0
    assert json.loads(capfd.readouterr().out) == {"runs": [], "exit_code": 0}


def test_a_dry_run_leaves_nothing_in_the_ledger(capfd: pytest.CaptureFixture[str]) -> None:
    assert evaluate_command(["--dry-run", "--run", "x"]) == 0
    assert evaluate_command(["--dry-run", "--run", "x"]) == 0
    assert "nothing was sent" in capfd.readouterr().err


def test_a_place_for_the_files_that_can_not_be_is_told_before_anything_is_paid(
    capfd: pytest.CaptureFixture[str],
) -> None:
    Path("taken").touch()
    for output in ("taken", "taken/below", "taken/far/below"):
        assert evaluate_command(["--dry-run", "--output", output]) == 2
        assert f"error: --output {output}: " in (told := capfd.readouterr().err)
        assert "taken is no folder; name another" in told


@pytest.mark.parametrize(
    ("proxy", "told"), [("socks5://who:knows@proxy.test", "httpx[socks]"), ("ftp://proxy.test", "ftp")]
)
def test_a_proxy_that_prefects_client_can_not_use_is_told_before_anything(
    proxy: str, told: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "socksio", None)  # as where it is not installed
    monkeypatch.setenv("ALL_PROXY", proxy)
    assert evaluate_command([]) == 4
    said = capfd.readouterr().err
    assert said.startswith("error: Prefect's client can't use a proxy that the environment names (")
    assert told in said
    assert "knows" not in said
    assert not Path("fieval-runs").exists()


def test_a_tilde_is_the_home_folder_for_whatever_is_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with prepared(EvaluationPlan(output="~/x", store="~/l.db")) as run:
        assert run.folder == tmp_path / "home" / "x"
    assert (tmp_path / "home" / "l.db").is_file()
    assert not Path("~").exists()


def test_with_keys_set_a_dataset_goes_to_their_server_and_the_sample_stays_local(
    evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, value in evaluator.environment.items():
        monkeypatch.setenv(name, value)
    Path("d.jsonl").write_text(GOOD)
    assert evaluate_command(["--dry-run"]) == 0
    assert "on local" in capfd.readouterr().err
    assert evaluate_command(["d.jsonl", "--template", "completeness", "--dry-run"]) == 0
    assert f"on {evaluator.environment['FI_BASE_URL']}" in capfd.readouterr().err


def test_a_base_url_without_keys_is_an_error_and_never_the_local_evaluator(capfd: pytest.CaptureFixture[str]) -> None:
    Path("d.jsonl").write_text(GOOD)
    code = evaluate_command(["d.jsonl", "--template", "completeness", "--base-url", "http://127.0.0.1:9", "--dry-run"])
    assert (code, "FI_API_KEY and FI_SECRET_KEY not set" in capfd.readouterr().err) == (2, True)


# -- whole runs ----------------------------------------------------------------------------------------------------


def test_wrong_keys_stop_at_once_with_one_sentence(
    evaluator: Evaluator, here: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("d.jsonl").write_text(GOOD)
    wrong = evaluator.environment | {"FI_SECRET_KEY": "not-this-one"}
    assert here(evaluate_command, "d.jsonl", "--template", "completeness", **wrong) == 4
    told = capfd.readouterr().err
    assert told.startswith("error: ")
    assert "refused the keys" in told
    assert told.count("\n") == 1
    assert "not-this-one" not in told


def test_a_shared_limit_that_is_not_there_is_bad_input_and_begins_no_run(
    here: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    assert here(evaluate_command, "--shared-limit", "nowhere") == 2
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert "the shared limit 'nowhere': there is no such limit; make it with" in told
    assert not list(Path("fieval-runs").glob("*/"))


def test_an_unreachable_server_stops_at_once_with_one_sentence(
    here: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("d.jsonl").write_text(GOOD)
    keys = {"FI_API_KEY": "k", "FI_SECRET_KEY": "s", "FI_BASE_URL": "http://127.0.0.1:9"}
    assert here(evaluate_command, "d.jsonl", "--template", "completeness", **keys) == 4
    told = capfd.readouterr().err
    assert told.count("\n") == 1
    assert "can't connect to http://127.0.0.1:9" in told


def test_a_prefect_api_that_is_set_and_does_not_answer_is_an_error(
    prefect_home: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from prefect.context import refresh_global_settings_context

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
        assert evaluate_command([]) == 4
    refresh_global_settings_context()
    assert "nothing was sent" in capfd.readouterr().err
    assert not Path("fieval-runs").exists()


@pytest.mark.parametrize(
    ("place", "error", "code"),
    [
        ("flows.evaluate.how_it_ended", KeyError(545), 70),  # in the flow
        ("fieval_tasks.work.engine.Engine.submit_chunk", MemoryError(), 70),  # in a task
        ("fieval_tasks.work.open_items.OpenItems.decide", KeyError(545), 70),  # in the engine's loop
        ("fieval_tasks.on_prefect.flow_runs.conclude", RecursionError("too deep"), 70),  # at the end
        ("flows.evaluate.evaluate", SystemExit(1), 70),  # where a library ends the process
        ("flows.evaluate.evaluate", httpx.ConnectError("Prefect is away"), 4),
    ],
)
def test_an_error_in_a_flow_that_nobody_foresaw_is_70_and_names_its_log(
    place: str,
    error: BaseException,
    code: int,
    prefect_api: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(place, broken)
    with of_prefect(prefect_api):
        assert evaluate_command(["--run", "odd", "--limit", "3"]) == code
    told = capfd.readouterr().err
    assert "Traceback" not in told
    if code == 70:
        [log] = Path("fieval-runs").glob("error-*.log")
        assert f"unexpected {type(error).__name__}" in told
        assert str(log) in told
        assert log.read_text().splitlines()[-1].startswith(type(error).__name__)
    if not isinstance(error, SystemExit):
        assert "python -m flows.evaluate --resume odd" in told


def of_prefect(api: str) -> Any:
    """The session's server, for what runs in this process."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    return temporary_settings(updates={PREFECT_API_URL: api})


def test_on_a_resume_what_was_typed_counts_though_it_be_the_default(capfd: pytest.CaptureFixture[str]) -> None:
    begun = EvaluationPlan(run="typed", mode=Mode.SYNC, concurrency=7, seed=5, sample=3, item_timeout=60)
    with prepared(begun) as run:
        assert (run.plan.mode, run.plan.concurrency) == (Mode.SYNC, 7)
    with prepared(typed("--resume", "typed")) as run:
        assert (run.plan.mode, run.plan.concurrency, run.plan.item_timeout) == (Mode.SYNC, 7, 60)
    with prepared(typed("--resume", "typed", "--mode", "async", "--concurrency", "96", "--item-timeout", "10m")) as run:
        assert (run.plan.mode, run.plan.concurrency, run.plan.item_timeout) == (Mode.ASYNC, 96, 600)
    with pytest.raises(PlanError, match="begun with another seed"), prepared(typed("--resume", "typed", "--seed", "0")):
        pass
    with prepared(typed("--resume", "typed", "--mode", "auto")) as run:
        assert "  note: mode: auto was decided when the run began, and it stays sync" in run.described()


def test_a_run_that_is_only_to_be_submitted_does_not_wait_for_verdicts_when_all_of_it_is_out() -> None:
    with (
        prepared(EvaluationPlan(run="out", mode=Mode.SUBMIT, limit=2)) as run,
        run.engine() as engine,
        threads(engine) as workers,
    ):
        work_once(engine, Mode.SUBMIT, workers)
    with prepared(typed("--resume", "out")) as run:
        assert run.plan.mode is Mode.ASYNC, "all that is left to do is to ask"
    with prepared(typed("--resume", "out", "--mode", "submit")) as run:
        assert run.plan.mode is Mode.SUBMIT, "somebody has said so"


def test_commands_on_one_dataset_in_one_second_are_as_many_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopped(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Stopped:
            return cls(2026, 1, 2, 3, 4, 5)

    at_once = Barrier(4)

    def begin() -> None:
        at_once.wait(PATIENCE)
        with prepared(EvaluationPlan()):
            pass

    with monkeypatch.context() as patched:
        patched.setattr("fieval_tasks.runs.beginning.datetime", Stopped)
        patched.setattr(Ledger, "names", lambda *_: set())  # as if the others were quicker, each time
        with ThreadPoolExecutor(4) as commands:
            for begun in [commands.submit(begin) for _ in range(4)]:
                begun.result()
    with Ledger(store_url(), must_exist=True) as ledger:
        assert len(ledger.names("sample-20260102-030405")) == 4


def test_a_name_that_somebody_chose_is_never_another_one() -> None:
    mine = EvaluationPlan(run="mine")
    with prepared(mine), pytest.raises(NameTaken, match="'mine' already"), prepared(mine):
        pass


def test_a_command_that_is_shown_can_be_pasted_whatever_is_in_its_words(tmp_path: Path) -> None:
    store = tmp_path / "a folder; with 'quotes' $HOME" / "ledger.db"
    store.parent.mkdir()
    with prepared(EvaluationPlan(run="mine", store=str(store), limit=1)) as run:
        for line in (run.resume_command, run.collect_command, run.explain_command):
            words = subprocess.run(
                ["bash", "-c", f"python() {{ printf '%s\\n' \"$@\"; }}; {line}"],
                capture_output=True,
                text=True,
                check=True,
            ).stdout.splitlines()
            named = words[words.index("--store") + 1]
            assert named == f"sqlite:///{store}"
            assert Ledger(named, must_exist=True).names("") == {"mine"}


def test_standard_input_is_a_dataset(here: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(GOOD.encode())))
    arguments = ("-", "--template", "completeness", "--connection", "local", "--run", "piped")
    assert here(evaluate_command, *arguments) == 0
    assert summary("piped")["dataset"] == "<stdin>"


def many(marker: str, n: int) -> None:
    rows = ({"id": str(i), "question": f"What is {marker} {i}?", "answer": f"It is {marker} {i}."} for i in range(n))
    Path("many.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


COMPLETENESS = ("many.jsonl", "--template", "completeness", "--id", "id")


def test_the_socket_server_gives_the_verdicts_of_the_embedded_one(evaluator: Evaluator, here: Command) -> None:
    many("same", 40)
    assert here(evaluate_command, *COMPLETENESS, "--run", "near", "--connection", "local") == 0
    assert here(evaluate_command, *COMPLETENESS, "--run", "far", **evaluator.environment) == 0
    near, far = ({x["item_id"]: (x["value"], x["reason"]) for x in lines(name)} for name in ("near", "far"))
    assert near == far


def test_ctrl_c_ends_within_two_seconds_and_names_the_command_that_resumes(evaluator: Evaluator, here: Command) -> None:
    many("stopped", 150)
    environment = os.environ | evaluator.environment
    command = [sys.executable, "-m", "flows.evaluate", *COMPLETENESS, "--run", "stopped", "--rate", "15/s"]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    wait_until(lambda: len(evaluator.submissions("What is stopped")) >= 10)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=20)  # two seconds, and what a busy machine makes of them
    assert process.returncode == 130
    assert "python -m flows.evaluate --resume stopped" in told
    assert "Traceback" not in told
    assert here(evaluate_command, "--resume", "stopped", "--rate", "1000/s", **evaluator.environment) == 0
    assert len(evaluator.submissions("What is stopped")) - 150 <= summary("stopped")["requests"]["possible_duplicates"]


INTERRUPTED = """
import importlib, os, signal, sys

module, _, name = sys.argv[1].rpartition(".")
owner = importlib.import_module(module) if "OwnServer" not in module else importlib.import_module("fieval_tasks.on_prefect.prefect_server").OwnServer
whole = getattr(owner, name)

def interrupted(*arguments, **options):
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGINT)
    return whole(*arguments, **options)

setattr(owner, name, interrupted)
from flows.cli.command import collect_command, evaluate_command
sys.exit(evaluate_command(sys.argv[2:]))
"""
"""A command in which Ctrl-C is pressed, twice, just before something."""


@pytest.mark.usefixtures("interruptible_here")
@pytest.mark.parametrize(
    ("before", "said"),
    [
        ("fieval_tasks.runs.outline.read_dataset", "interrupted: nothing was sent"),
        ("flows.cli.actions._run_evaluate", "interrupted; to carry on: python -m flows.evaluate --resume cut"),
        (
            "fieval_tasks.runs.conclusion.write_report",
            "interrupted; to carry on: python -m flows.evaluate --resume cut",
        ),
        ("flows.cli.screen.table", "interrupted; run cut had ended: 6 of 6 items scored"),
    ],
)
def test_ctrl_c_says_what_is_true_at_each_moment(
    before: str, said: str, here: Command, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = pkgutil.resolve_name(before)

    def interrupted(*arguments: Any, **options: Any) -> Any:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
        return whole(*arguments, **options)

    monkeypatch.setattr(before, interrupted)
    code = exit_code(lambda: here(evaluate_command, "--run", "cut", "--limit", "3"))
    told = capfd.readouterr().err
    assert code == 130, told
    assert [line for line in told.splitlines() if "interrupted" in line] == [said]
    assert "Traceback" not in told


def test_ctrl_c_while_the_own_server_ends_names_the_run_that_was_paid_for(prefect_home: Path) -> None:
    place = "fieval_tasks.on_prefect.prefect_server.OwnServer.__exit__"
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, place, "--run", "paid", "--limit", "3"],
        capture_output=True, text=True, timeout=PATIENCE, check=False, env=os.environ | {"PREFECT_API_URL": ""},
    )  # fmt: skip
    assert done.returncode == 130, done.stderr
    assert "report: fieval-runs/paid/report.html" in done.stdout
    assert done.stderr.splitlines()[-1] == "interrupted; run paid had ended: 6 of 6 items scored"


def test_with_no_prefect_at_all_a_command_brings_its_own_ends_clean_and_the_process_runs_another(
    prefect_home: Path,
) -> None:
    script = """
import os, sys
before = dict(os.environ)
from flows.cli.command import collect_command, evaluate_command
assert evaluate_command(["missing.csv", "--template", "completeness"]) == 2
assert dict(os.environ) == before, "though it ended in an error"
codes = [evaluate_command(["--run", name, "--limit", "3"]) for name in ("one", "two")]
from prefect.settings import PREFECT_API_URL
assert dict(os.environ) == before, {*os.environ.items()} ^ {*before.items()}
assert PREFECT_API_URL.value() is None, PREFECT_API_URL.value()
sys.exit(max(codes))
"""
    clean = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        capture_output=True, text=True, timeout=PATIENCE, check=False, env=clean,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("report: ") == 2
    assert "Traceback" not in done.stderr
    assert "Error" not in done.stderr
    assert summary("one")["items"]["scored"] == summary("two")["items"]["scored"] == 6


def test_a_cancel_from_prefect_stops_the_run_and_it_can_be_resumed(
    evaluator: Evaluator, prefect_api: str, here: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    many("cancelled", 150)

    def cancel() -> str:
        wait_until(lambda: len(evaluator.submissions("What is cancelled")) >= 10)
        wanted = {"flow_runs": {"name": {"any_": ["cancelled"]}}, "flows": {"name": {"any_": ["evaluate"]}}}
        [flow_run] = httpx.post(f"{prefect_api}/flow_runs/filter", json=wanted).raise_for_status().json()
        asked = {"state": {"type": "CANCELLING"}}
        httpx.post(f"{prefect_api}/flow_runs/{flow_run['id']}/set_state", json=asked).raise_for_status()
        return str(flow_run["id"])

    with ThreadPoolExecutor(1) as aside:
        cancelled = aside.submit(cancel)
        code = here(evaluate_command, *COMPLETENESS, "--run", "cancelled", "--rate", "15/s", **evaluator.environment)
    told = capfd.readouterr().err
    assert code == 130
    assert "python -m flows.evaluate --resume cancelled" in told
    assert "Traceback" not in told
    after = httpx.get(f"{prefect_api}/flow_runs/{cancelled.result()}").raise_for_status().json()
    assert after["state"]["type"] == "CANCELLED"
    assert here(evaluate_command, "--resume", "cancelled", "--rate", "1000/s", **evaluator.environment) == 0
    assert summary("cancelled")["items"]["scored"] == 150


def test_a_run_is_paused_and_quickened_while_it_is_at_work(
    evaluator: Evaluator, here: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    many("steered", 500)  # over a minute and a half at its first pace: no command takes so long to steer it

    def sent() -> int:
        return len(evaluator.submissions("What is steered"))

    def steer() -> tuple[int, int, int]:
        wait_until(lambda: sent() >= 10)
        paused = control_command(["steered", "--pause"])
        wait_until(lambda: is_still(sent))
        return paused, sent(), control_command(["steered", "--unpause", "--rate", "1000/s"])

    with ThreadPoolExecutor(1) as aside:
        steered = aside.submit(copy_context().run, steer)
        code = here(evaluate_command, *COMPLETENESS, "--run", "steered", "--rate", "5/s", **evaluator.environment)
    paused, sent_by_then, quickened = steered.result()
    assert (paused, quickened, "1000/s" in capfd.readouterr().err) == (0, 0, True)
    assert sent_by_then < 500
    assert code == 0
    assert (summary("steered")["items"]["scored"], sent()) == (500, 500)


def test_two_commands_that_steer_one_run_at_once_are_both_heard_and_an_unknown_run_is_refused(
    prefect_api: str, here: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    from fieval_tasks.core.steering import variable_of

    for name in ("both", "other"):
        with prepared(EvaluationPlan(run=name, limit=1)):
            pass
    with ThreadPoolExecutor(3) as at_once:
        steering = [
            at_once.submit(copy_context().run, control_command, words)
            for words in (["both", "--pause"], ["both", "--rate", "5/s"], ["other", "--pause"])
        ]
    assert [command.result() for command in steering] == [0, 0, 0], capfd.readouterr().err
    capfd.readouterr()
    said = {
        name: httpx.get(f"{prefect_api}/variables/name/{variable_of(name)}").raise_for_status().json()["value"]
        for name in ("both", "other")
    }
    assert said == {"both": {"run": "both", "paused": True, "rate": "5/s"}, "other": {"run": "other", "paused": True}}
    assert here(control_command, "bath", "--pause") == 2
    unknown = capfd.readouterr().err
    assert unknown.count("\n") == 1
    assert "no run 'bath' is at work, did you mean both?" in unknown
    assert httpx.get(f"{prefect_api}/variables/name/{variable_of('bath')}").status_code == 404


def is_still(count: Callable[[], int], *, seconds: float = 2.0) -> bool:
    """It does not change for so long."""
    before = count()
    time.sleep(seconds)
    return count() == before


def wait_until(happened: Any) -> None:
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_where_no_run_waits_for_anything_no_server_is_started(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("flows.cli.actions.prefect_session", None)
    assert collect_command([]) == 0
    assert capfd.readouterr().err == "no run waits for anything\n"


def test_what_was_only_submitted_is_collected_later(
    evaluator: Evaluator, here: Command, capfd: pytest.CaptureFixture[str]
) -> None:
    many("later", 30)
    submitted = ("--run", "later", "--mode", "submit")
    assert here(evaluate_command, *COMPLETENESS, *submitted, **evaluator.environment) == 0
    told = capfd.readouterr()
    assert "python -m flows.collect later" in told.out + told.err
    assert summary("later")["items"]["pending"] == 30
    assert here(collect_command, "later") == 0
    assert summary("later")["items"]["scored"] == 30
    assert len(evaluator.submissions("What is later")) == 30


@pytest.mark.parametrize("words", [[""], ["  ", "--template", "tone"], ["a.csv", "", "--template", "tone"]])
def test_an_empty_dataset_is_an_unset_variable_and_not_the_sample(words: list[str]) -> None:
    with pytest.raises(PlanError, match="DATASET is empty"):
        typed(*words)


@pytest.mark.parametrize(
    "words",
    [
        ("--template", "groundedness"),
        ("--template", "groundedness", "--gate", "groundedness.pass_rate >= 0.5"),
        ("--map", "output=answer"),
        ("--id", "id"),
        ("--format", "csv"),
    ],
)
def test_the_sample_is_not_for_who_says_something_of_a_dataset(words: tuple[str, ...], tmp_path: Path) -> None:
    from fieval_tasks.runs.preparation import prepared

    plan = typed(*words, "--store", str(tmp_path / "ledger.db"))
    option = "--template" if "--template" in words else words[0]
    with pytest.raises(PlanError, match=rf"dataset: none is named, though .*{option}.* given"), prepared(plan):
        pass


def test_several_files_are_one_dataset() -> None:
    plan = typed("a.csv", "b.csv", "--template", "groundedness")
    assert plan.dataset == "a.csv\nb.csv"


def test_rows_that_are_piped_without_being_named_are_not_passed_over(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    with open(writer, "w") as pipe:
        pipe.write('{"output": "x"}\n')
    with open(reader) as rows:
        monkeypatch.setattr(sys, "stdin", rows)
        assert evaluate_command(["--dry-run"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert "no DATASET is named: name it -" in err
