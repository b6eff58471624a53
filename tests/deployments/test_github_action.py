"""The action of deployments/github-action, its steps run as a runner does: their conditions, files, environment and shell."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.cli.command import app_of, evaluate, parsed
from tests.conftest import PATIENCE
from tests.github_runner import RunnerFiles

ROOT = Path(__file__).parents[2]
ACTION = ROOT / "deployments" / "github-action"
EXPRESSION = re.compile(r"\$\{\{\s*(.*?)\s*\}\}")
FAKE_GH = """#!/bin/sh
[ -z "$GH_REFUSES" ] || { echo "HTTP 403: Resource not accessible by integration" >&2; exit 1; }
printf '%s\\n' "$*" >>"$GH_CALLS"
case "$*" in *--paginate*select\\(.viewerDidAuthor\\ and*) [ ! -f "$GH_COMMENTS" ] || grep -F -- "mine $MARKER" "$GH_COMMENTS" | cut -d' ' -f1 ;; esac
case "$*" in *POST*|*PATCH*) for word; do case $word in body=@*) cat "${word#body=@}" >"$GH_BODY" ;; esac; done ;; esac
"""
"""`gh api`, which writes down how it is called. GH_COMMENTS holds the comments that are there, each an id, whose it is
and a first line."""


@dataclass
class Workflow:
    """A job with one step: this action."""

    folder: Path
    event: Mapping[str, Any] = field(default_factory=lambda: {"pull_request": {"number": 12}})
    environment: Mapping[str, str] = field(default_factory=dict)
    outputs: dict[str, dict[str, str]] = field(default_factory=dict)
    used: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """The actions that it used, and with what."""
    printed: str = ""

    def run(self, **given: str) -> int:
        """The exit code of the action. An input's dashes are underscores here."""
        action = yaml.safe_load((ACTION / "action.yml").read_text(encoding="utf-8"))
        known = {name: one.get("default", "") for name, one in action["inputs"].items()}
        named = {name.replace("_", "-"): value for name, value in given.items()}
        assert named.keys() <= known.keys()
        self.inputs = {name: self._filled(value) for name, value in (known | named).items()}
        code = 0
        for step in action["runs"]["steps"]:
            condition = step.get("if", "true")
            if (code == 0 or "always()" in condition) and self._holds(condition):
                code = self._step(step) or code
        self.results = {name: self._filled(one["value"]) for name, one in action["outputs"].items()}
        return code

    def _step(self, step: Mapping[str, Any]) -> int:
        if "uses" in step:
            self.used.append((step["uses"], {name: self._filled(value) for name, value in step["with"].items()}))
            return 0
        assert step["shell"] == "bash"
        assert not EXPRESSION.search(step["run"]), "an input would be pasted into the script"
        files = RunnerFiles(self.folder / f"step-{len(self.outputs)}-{step.get('id', '')}")
        files.folder.mkdir()
        own = {name: self._filled(value) for name, value in step.get("env", {}).items()}
        always = {
            "RUNNER_TEMP": str(self.folder),
            "GITHUB_ACTION_PATH": str(ACTION),
            "GITHUB_WORKSPACE": str(self.folder),
        }
        script = files.folder / "script.sh"
        script.write_text(step["run"], encoding="utf-8")
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-eo", "pipefail", str(script)],
            cwd=self.folder / self._filled(step.get("working-directory", ".")), capture_output=True, text=True,
            env=os.environ | always | files.environment | dict(self.environment) | own, timeout=PATIENCE, check=False,
        )  # fmt: skip
        self.printed += done.stdout + done.stderr
        self.outputs[step.get("id", str(len(self.outputs)))] = files.outputs()
        return done.returncode

    def _filled(self, text: str) -> str:
        return EXPRESSION.sub(lambda found: str(self._value(found[1]) or ""), str(text))

    def _value(self, name: str) -> Any:
        parts = name.split(".")
        if parts[0] == "inputs":
            return self.inputs[parts[1]]
        if parts[0] == "steps":
            return self.outputs.get(parts[1], {}).get(parts[3], "")
        if parts[:2] == ["github", "event"]:
            return self.event.get(parts[2], {}).get(parts[3])
        assert name == "github.token"
        return "a-token"

    def _holds(self, condition: str) -> bool:
        """`a != 'b' && c` with Python's words."""
        names = re.sub(
            r"\b(?:inputs|steps|github)\.[\w.-]+", lambda found: repr(self._value(found[0]) or ""), condition
        )
        return bool(
            eval(
                names.replace("&&", " and ")
                .replace("always()", "True")
                .replace("true", "True")
                .replace("'True'", "'true'")
            )
        )


@pytest.fixture
def workflow(tmp_path: Path) -> Workflow:
    """A checked-out repository with a dataset, and the commands that a runner has."""
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    (bin_ / "gh").write_text(FAKE_GH)
    (bin_ / "gh").chmod(0o755)
    (bin_ / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (bin_ / "python").chmod(0o755)
    rows = [{"text": text, "lang": lang} for lang in ("fr", HOSTILE) for text in ('{"a": 1}', "{", "[1]")]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    files = {f"GH_{name}": str(tmp_path / f"gh-{name.lower()}") for name in ("CALLS", "COMMENTS", "BODY")}
    path = {"PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}
    return Workflow(tmp_path, environment={**path, **files})


HOSTILE = "$(touch pwned) `touch pwned` \"; touch pwned; ' -- %0A ${IFS}"
INSTALLED = {"python_version": "none", "install": "none", "checks": "is_json"}


def calls(workflow: Workflow) -> list[str]:
    file = workflow.folder / "gh-calls"
    return file.read_text(encoding="utf-8").splitlines() if file.exists() else []


def test_a_gate_that_passes_is_a_green_job_with_a_report_and_one_comment(workflow: Workflow) -> None:
    inputs = {
        "gates": f"is_json.pass_rate >= 0.5\r\n\n  is_json.pass_rate[lang={HOSTILE}] >= 0.5\n",
        "arguments": "--run=first\n--keep=lang",
        "output": f"out {HOSTILE}",
    }
    assert workflow.run(**INSTALLED, **inputs, dataset="rows.jsonl\n") == 0, workflow.printed
    folder = workflow.folder / f"out {HOSTILE}"
    assert workflow.results == {
        "verdict": "PASS", "exit-code": "0", "run": "first", "folder": str(folder),
        "report": str(folder / "report.html"),
    }  # fmt: skip
    assert (folder / "report.html").is_file()
    assert workflow.used == [("actions/upload-artifact@v4", {"name": "fieval", "path": str(folder)})]
    gates = json.loads((folder / "summary.json").read_text(encoding="utf-8"))["gates"]
    assert [gate["verdict"] for gate in gates] == ["PASS", "PASS"]
    looked, posted = calls(workflow)
    assert looked.startswith(
        "api graphql --paginate --raw-field owner=acme --raw-field name=answers --field number=12 "
    )
    assert posted.startswith("api --silent --method POST repos/acme/answers/issues/12/comments --field body=@")
    assert (workflow.folder / "gh-body").read_text(encoding="utf-8") == (folder / "comment.md").read_text(
        encoding="utf-8"
    )
    assert not [*workflow.folder.rglob("pwned")]


def test_a_gate_that_fails_ends_the_job_once_the_comment_that_is_there_is_up_to_date(workflow: Workflow) -> None:
    inputs = {"gates": "is_json.pass_rate >= 0.99", "artifact": "", "output": "out", "working_directory": "."}
    assert workflow.run(**INSTALLED, **inputs, dataset="rows.jsonl", comment="false") == 1, workflow.printed
    assert (calls(workflow), workflow.used) == ([], [])
    marker = (workflow.folder / "out" / "comment.md").read_text(encoding="utf-8").partition("\n")[0]
    there = f"6 theirs {marker}\n7 mine Nice!\n8 mine {marker}\n9 mine {marker}\n"
    (workflow.folder / "gh-comments").write_text(there, encoding="utf-8")
    again = Workflow(workflow.folder / "again", environment=workflow.environment)
    again.folder.mkdir()
    (again.folder / "rows.jsonl").write_bytes((workflow.folder / "rows.jsonl").read_bytes())
    assert again.run(**INSTALLED, **inputs, dataset="rows.jsonl") == 1, again.printed
    assert again.results["verdict"] == "FAIL"
    assert "::error file=rows.jsonl,title=gate failed::gate FAIL: is_json.pass_rate >= 0.99" in again.printed
    assert calls(workflow)[1].startswith(
        "api --silent --method PATCH repos/acme/answers/issues/comments/8 --field body=@"
    )
    assert len(calls(workflow)) == 2


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ({"dataset": " \n"}, "neither dataset nor plan is given"),
        ({"dataset": f"--version\n{HOSTILE}"}, "--version"),
        ({"dataset": "rows.jsonl", "checks": HOSTILE}, "touch pwned"),
        ({"dataset": "rows.jsonl", "baseline": f"--resume=last\n{HOSTILE}"}, "it has no runs yet"),
        ({"dataset": "rows.jsonl", "arguments": "--no-such-option"}, "--no-such-option"),
    ],
)
def test_a_bad_input_is_refused_and_runs_nothing_of_its_own(
    workflow: Workflow, inputs: dict[str, str], said: str
) -> None:
    assert workflow.run(**INSTALLED | inputs) == 2, workflow.printed
    assert (workflow.results["verdict"], workflow.results["exit-code"]) == ("REFUSED", "2")
    assert said in workflow.printed
    assert (calls(workflow), workflow.used) == ([], [])
    assert not [*workflow.folder.rglob("pwned")]


def test_a_fork_without_keys_is_skipped_with_a_sentence_where_that_is_asked_for(workflow: Workflow) -> None:
    assert workflow.run(**INSTALLED, dataset="rows.jsonl", without_keys="skip") == 0
    assert workflow.results == {"verdict": "SKIPPED", "exit-code": "0", "report": "", "run": "", "folder": ""}
    assert "::notice title=evaluation skipped::FI_API_KEY or FI_SECRET_KEY is not set" in workflow.printed


def test_a_token_that_may_not_write_comments_fails_nothing(workflow: Workflow) -> None:
    workflow.environment = {**workflow.environment, "GH_REFUSES": "yes"}
    assert workflow.run(**INSTALLED, dataset="rows.jsonl") == 0, workflow.printed
    assert "::notice title=no comment::" in workflow.printed


@pytest.mark.parametrize(
    ("install", "installed"),
    [("", r"--constraint \S+/constraints\.txt \S+\[parquet\]"), ("a\nb", r"--requirement /dev/stdin")],
)
def test_the_package_is_installed_into_an_environment_of_its_own(
    workflow: Workflow, install: str, installed: str
) -> None:
    """By a Python that writes down what it is asked, and makes an environment with itself in it."""
    workflow.environment = {**workflow.environment, "FI_API_KEY": "a", "FI_SECRET_KEY": "b"}
    fake = workflow.folder / "bin" / "python"
    log = workflow.folder / "python-calls"
    fake.write_text(
        f'#!/bin/sh\necho "$@" ${{FI_API_KEY:+with keys}}>>"{log}"\n'
        'case $2 in venv) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;; flows.evaluate) exit 137 ;; esac\n'
    )
    assert workflow.run(dataset="rows.jsonl", install=install) == 137
    _, venv, pip, evaluate = log.read_text(encoding="utf-8").splitlines()
    assert venv == f"-m venv {workflow.folder}/fieval-python"
    assert re.fullmatch(rf"-m pip install --quiet {installed}", pip)
    assert evaluate == "-m flows.evaluate --no-prefect --github -- rows.jsonl with keys"
    assert workflow.used == [("actions/setup-python@v5", {"python-version": "3.12"})]
    assert (workflow.results["verdict"], workflow.results["exit-code"]) == ("ERROR", "137")


def test_a_module_of_the_repository_is_never_taken_for_another(workflow: Workflow) -> None:
    """Not while it is installed, either, with the keys in the environment."""
    for name in ("venv.py", "argparse.py", "logging.py", "flows.py", "json.py"):
        (workflow.folder / name).write_text("open('pwned', 'w')")
    install = {"install": "\n", "python_version": "none", "checks": "is_json", "dataset": "rows.jsonl"}
    workflow.run(**install)
    assert workflow.run(**INSTALLED, dataset="rows.jsonl") == 0, workflow.printed
    assert not [*workflow.folder.rglob("pwned")]


def test_a_python_that_could_take_one_is_refused(workflow: Workflow) -> None:
    (workflow.folder / "bin" / "python").write_text('#!/bin/sh\ncase $1 in -c) exit 1 ;; esac\ntouch "$0.ran"\n')
    assert workflow.run(dataset="rows.jsonl") == 1
    assert "::error title=Python is too old::" in workflow.printed
    assert not [*workflow.folder.rglob("*.ran")]


def test_a_copy_of_the_action_elsewhere_says_that_it_knows_nothing_to_install(workflow: Workflow) -> None:
    workflow.environment = {**workflow.environment, "GITHUB_ACTION_PATH": str(workflow.folder / "actions" / "fieval")}
    (workflow.folder / "bin" / "python").write_text("#!/bin/sh\n")
    assert workflow.run(dataset="rows.jsonl") == 1
    assert "::error title=nothing to install::" in workflow.printed
    assert workflow.results["exit-code"] == ""


def test_the_readme_names_every_input_and_output() -> None:
    action = yaml.safe_load((ACTION / "action.yml").read_text(encoding="utf-8"))
    readme = (ACTION / "README.md").read_text(encoding="utf-8")
    assert [name for name in (*action["inputs"], *action["outputs"]) if f"`{name}`" not in readme] == []


def test_the_workflow_of_the_readme_names_inputs_that_are_there() -> None:
    action = yaml.safe_load((ACTION / "action.yml").read_text(encoding="utf-8"))
    (example,) = blocks(ACTION / "README.md", "yaml")
    workflow = yaml.safe_load(example)
    (step,) = (one for one in workflow["jobs"]["evaluate"]["steps"] if "github-action" in one.get("uses", ""))
    assert set(step["with"]) <= set(action["inputs"])
    assert set(step["env"]) == {"FI_API_KEY", "FI_SECRET_KEY"}


def test_the_commands_of_other_ci_systems_are_commands() -> None:
    page = ROOT / "docs" / "reports.md"
    (job,) = (yaml.safe_load(block)["evaluate"] for block in blocks(page, "yaml"))
    assert job["artifacts"]["reports"] == {"junit": "report/junit.xml"}
    lines = re.findall(r"python -m flows\.evaluate ([^'\n]*--output report[^'\n]*)", page.read_text(encoding="utf-8"))
    assert len(lines) == 3
    for line in lines:
        _, words = parsed(app_of(evaluate), shlex.split(line))
        assert words.kwargs["output"] == "report"
        assert words.kwargs["no_prefect"] is True


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
