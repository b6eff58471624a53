"""A command under GitHub Actions: what its runs came to goes into the step's summary, a comment, annotations and outputs."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO
from uuid import uuid4

from fieval_tasks.core.errors import ExitCode, FievalError
from fieval_tasks.core.private_files import make_folder
from fieval_tasks.core.unexpected import as_unexpected
from fieval_tasks.data.dataset import lines_of
from fieval_tasks.data.finding import Reading
from fieval_tasks.report.caps import CAPS
from fieval_tasks.report.differences import Comparison
from fieval_tasks.report.endings import verdict
from fieval_tasks.report.folder import COMMENT, COMPARISON, new_file
from fieval_tasks.report.for_github import (
    GitHubPage,
    InRepository,
    annotation,
    annotations_of,
    comparison_annotations,
)
from fieval_tasks.report.text import clean
from fieval_tasks.runs.conclusion import Outcome
from fieval_tasks.terminal.door import answered, say
from fieval_tasks.terminal.manner import no_commands

IN_SUMMARY = replace(CAPS, flips_shown=CAPS.flips_kept, worst_in_markdown=CAPS.worst)
"""What the step's summary shows: all that is kept. A comment has the first of each."""


class GitHubStep:
    """One step of a workflow. What can't be written is said, and ends no run."""

    def __init__(self, environment: Mapping[str, str], stream: TextIO) -> None:
        self._environment = environment
        self._stream = stream
        self._annotations: list[str] = []
        self._outputs: dict[str, object] = {}
        self._worst = -1
        """The exit code that the outputs are about; -1: there are none."""
        self.why = ""
        """The error that ended the command."""

    def conclude(self, outcome: Outcome) -> None:
        """Tell of a run."""
        report, folder = outcome.report, outcome.folder.resolve()
        if outcome.exit_code > self._worst:
            self._worst = outcome.exit_code
            self._put_out(verdict(outcome.exit_code, report), report.facts.run_id, folder, COMMENT)
        with harmless():
            series = str(self._plan(outcome).get("dataset") or report.facts.dataset)
            pages = [GitHubPage.of_report(report, series, str(folder), self._link, caps) for caps in (CAPS, IN_SUMMARY)]
            self._write(folder / COMMENT, *pages)
            self._annotations += annotations_of(report, lambda rows: self._place(outcome, rows))

    def compare(self, found: Comparison, folder: Path) -> None:
        """Tell of a comparison. `folder`: that of the run's files."""
        folder, self._worst = folder.resolve(), found.exit_code
        self._put_out(verdict(found.exit_code), found.run, folder, COMPARISON)
        with harmless():
            pages = [GitHubPage.of_comparison(found, str(folder), self._link, caps) for caps in (CAPS, IN_SUMMARY)]
            self._write(folder / COMPARISON, *pages)
            self._annotations += comparison_annotations(found)

    def _put_out(self, said: str, run: str, folder: Path, comment: str) -> None:
        """Whole paths: a later step may work in another folder."""
        self._outputs = {
            "verdict": said,
            "run": run,
            "folder": folder,
            "report": folder / "report.html",
            "comment": folder / comment,
        }

    def end(self, code: int) -> None:
        """Tell how the command ended."""
        if not self._outputs and code != ExitCode.OK:
            why = self.why or f"it ended with exit code {code} and no report: see the lines above"
            self._annotations.append(annotation("error", why, title=f"evaluation {verdict(code).lower()}"))
        if code > self._worst:
            self._outputs["verdict"] = verdict(code)
        self._outputs["exit-code"] = int(code)
        self._write_outputs()
        for line in self._annotations:
            print(line, file=self._stream, flush=True)

    def _write(self, comment: Path, page: GitHubPage, whole: GitHubPage) -> None:
        def write_comment() -> None:
            make_folder(comment.parent)
            with new_file(comment) as file:
                file.write(page.within(CAPS.github_comment))

        self._attempt(write_comment, f"the comment {comment}")
        self._append("GITHUB_STEP_SUMMARY", lambda there: whole.within(CAPS.github_summary - there))

    def _write_outputs(self) -> None:
        """Each between two lines of a word that no value holds: a value may have several lines."""
        end = uuid4().hex
        text = "".join(f"{name}<<{end}\n{clean(str(value))}\n{end}\n" for name, value in self._outputs.items())
        self._append("GITHUB_OUTPUT", lambda _: text)

    def _append(self, variable: str, text: Callable[[int], str]) -> None:
        """Append the text to the file that the variable names; `text` is told how many bytes are there."""
        path = self._environment.get(variable)
        if not path:
            return

        def append() -> None:
            there = Path(path).stat().st_size if Path(path).exists() else 0
            added = text(there)
            if not added:
                say(
                    f"the step's summary has no room for this run: {there:,} bytes are in it, and {COMMENT} has what matters"
                )
            with open(path, "a", encoding="utf-8", newline="\n") as file:
                file.write(added)

        self._attempt(append, f"{variable} ({path})")

    def _attempt(self, write: Callable[[], None], what: str) -> None:
        try:
            write()
        except OSError as error:
            say(
                f"{what} can't be written ({error.strerror or error}): what the run came to is in its folder all the same"
            )

    def _place(self, outcome: Outcome, rows: list[int]) -> InRepository:
        """Where these rows stand in the repository, if they do."""
        plan = self._plan(outcome)
        path = Path(plan.get("dataset") or "").expanduser().absolute()
        root = Path(self._environment.get("GITHUB_WORKSPACE") or ".").resolve()
        if outcome.run is None or not path.is_file() or root not in path.resolve().parents:
            return InRepository()
        reading = Reading(format=plan.get("format"), delimiter=plan.get("delimiter"), rows=plan.get("rows"))
        try:
            lines = lines_of(str(path), reading, outcome.run.dataset_fingerprint, rows)
        except (FievalError, OSError):
            lines = {}  # it can't be read any more: which rows they are is said in words
        return InRepository(path.resolve().relative_to(root).as_posix(), lines)

    @staticmethod
    def _plan(outcome: Outcome) -> Mapping[str, Any]:
        return outcome.run.plan if outcome.run else {}

    @property
    def _link(self) -> str:
        """The address of the workflow's run."""
        named = [self._environment.get(f"GITHUB_{name}") for name in ("SERVER_URL", "REPOSITORY", "RUN_ID")]
        return "{}/{}/actions/runs/{}".format(*named) if all(named) else ""


@contextmanager
def harmless() -> Iterator[None]:
    """An error of the block is said, with its log, and ends nothing: what a run came to is decided and written by then."""
    try:
        yield
    except Exception as error:
        say(f"GitHub is not told all of it: {as_unexpected(error)}")


github_step: ContextVar[GitHubStep | None] = ContextVar("github_step", default=None)
"""The step that the command is; None where it is none, or is to tell GitHub nothing."""


def on_github(work: Callable[[], int], *, as_json: bool = False) -> int:
    """Do the work, tell GitHub what its runs come to, too, and how it ended; its exit code.

    Errors are said here: once this is over, a line of them would be a command to GitHub. `as_json`: standard output is for the
    command's object alone: annotations go to standard error, where GitHub reads them, too.
    """
    stream = sys.stderr if as_json else sys.stdout
    step, code = GitHubStep(os.environ, stream), int(ExitCode.INTERRUPTED)  # unless it comes to its end
    token = github_step.set(step)
    try:
        with no_commands(stream):
            code = answered(told_why()(work))
    finally:
        github_step.reset(token)
        step.end(code)
    return code


@contextmanager
def told_why() -> Iterator[None]:
    """An error that ends the block is what GitHub is told of the command, if it is told anything."""
    try:
        yield
    except FievalError as error:
        if step := github_step.get():
            step.why = str(error)
        raise
