"""Who writes into a run's folder, what a killed writer leaves there, and who may read it."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from fieval_tasks.report.folder import FILES, LONGEST_WRITING, locked_folder, new_file
from fieval_tasks.report.output import write_report, write_results
from tests.report.report_examples import facts, small

KILLED = """
import os, sys
from pathlib import Path
from fieval_tasks.report.folder import new_file, locked_folder
with locked_folder(Path(sys.argv[1])), new_file(Path(sys.argv[1]) / "results.jsonl") as file:
    file.write("half a li")
    file.flush()
    os._exit(9)
"""


class Watch:
    """A clock that only pauses move on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def pause(self, seconds: float) -> None:
        self.now += seconds


@contextmanager
def with_umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def write_all(folder: Path) -> None:
    with locked_folder(folder):
        write_report(write_results(facts(), small(), folder), folder)


def test_what_a_killed_writer_left_is_gone_with_the_next_writing(tmp_path: Path) -> None:
    assert subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False).returncode == 9
    (left,) = names(tmp_path)
    assert left.startswith(".results.jsonl.")
    write_all(tmp_path)
    assert names(tmp_path) == set(FILES)


@pytest.mark.parametrize(
    "name", [".results.jsonl.part", ".notes.txt.0123abcd.part", "results.jsonl.0123abcd.part", ".results.csv.mine.part"]
)
def test_a_users_own_file_is_never_taken_for_a_leftover(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine")
    (tmp_path / ".report.md.0123abcd.part").mkdir()
    write_all(tmp_path)
    assert names(tmp_path) == {*FILES, name, ".report.md.0123abcd.part"}


def test_a_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    watch = Watch()
    with ExitStack() as first:
        first.enter_context(locked_folder(tmp_path))
        first.enter_context(new_file(tmp_path / "results.jsonl"))

        def pause(seconds: float) -> None:
            watch.pause(seconds)
            assert len(names(tmp_path)) == 1, "what is being written is no leftover"
            first.close()

        with locked_folder(tmp_path, clock=watch, pause=pause):
            assert 0 < watch.now < 1
            assert names(tmp_path) == {"results.jsonl"}


def test_a_writer_that_hangs_holds_nobody_up_for_ever_and_loses_nothing(tmp_path: Path) -> None:
    watch = Watch()
    with locked_folder(tmp_path), new_file(tmp_path / "results.jsonl"):
        with locked_folder(tmp_path, clock=watch, pause=watch.pause):
            assert watch.now == pytest.approx(LONGEST_WRITING, abs=1)
        assert len(names(tmp_path)) == 1
    assert names(tmp_path) == {"results.jsonl"}


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_what_is_written_is_for_its_owners_eyes_only(tmp_path: Path, umask: int) -> None:
    folder = tmp_path / "runs" / "mine"
    with with_umask(umask):
        write_all(folder)
        write_all(folder)
    assert {name: mode(folder / name) for name in FILES} == dict.fromkeys(FILES, 0o600)
    assert (mode(folder), mode(folder.parent)) == (0o700, 0o700)


def test_a_folder_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    write_all(tmp_path)
    assert mode(tmp_path) == 0o755
    assert mode(tmp_path / "results.csv") == 0o600
