"""The quick tests on the oldest Python that the project takes and on the newest that Prefect takes: `python -m tests.other_pythons`.

Each gets a fresh environment with the project installed in it. A Python that this machine lacks is named as not run, and in place of
the newest comes the newest that is here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.memory import in_memory

ROOT = Path(__file__).parent.parent
OLDEST, NEWEST = 10, 14
"""Of Python 3: `requires-python` in pyproject.toml, and the classifiers of the Prefect that it names."""
HERE = sys.version_info.minor
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
ALIKE = (
    "tests/pace/",
    "tests/work/test_polling.py",
    "tests/decisions/test_statistics.py",
    "tests/local/test_local_scoring.py",
    "tests/report/test_summary.py",
    "tests/security/test_hostile_content.py",
    "tests/test_glossary.py",
    "tests/test_house.py",
    "tests/test_layers.py",
)
"""A third of the time, and no matter of a Python's version: simulated hours, arithmetic, many texts on one page, our own sources."""
TESTS = ("pytest", "--quick", "-q", "--durations=1", "--hypothesis-profile=brief")
NOT_COPIED = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "fieval-runs")
NICE = 10
"""These tests may run beside those of this Python, some of which wait for what must happen soon."""


def main() -> int:
    """0 where the quick tests pass on every Python that was found."""
    os.nice(NICE)
    found = {minor: python for minor in range(OLDEST, NEWEST + 1) if minor != HERE and (python := interpreter(minor))}
    chosen = sorted({min(found), max(found)}) if found else []
    for minor in {OLDEST, NEWEST} - {HERE, *chosen}:
        print(f"not run: Python 3.{minor} is not on this machine", flush=True)
    # Both at once, each in one process: to collect the tests, which every process does, is a good part of the work.
    with ThreadPoolExecutor() as threads:
        passed = dict(zip(chosen, threads.map(passes, (found[minor] for minor in chosen)), strict=True))
    failed = [f"3.{minor}" for minor, has_passed in passed.items() if not has_passed]
    print(f"failed on Python {', '.join(failed)}" if failed else "the quick tests pass on every Python that was found")
    return int(bool(failed))


def interpreter(minor: int) -> str | None:
    """Where Python 3.minor is: among pyenv's, or on the PATH; None where it does not start."""
    places = [*sorted(map(str, PYENV.glob(f"versions/3.{minor}.*/bin/python"))), shutil.which(f"python3.{minor}")]
    return next((place for place in reversed(places) if place and _starts(place)), None)


def _starts(python: str) -> bool:
    return subprocess.run([python, "-c", ""], capture_output=True, check=False).returncode == 0


def passes(python: str) -> bool:
    """With a copy of the project in an environment, both of which are gone afterwards: an installation writes into the project."""
    with TemporaryDirectory(prefix="fieval-python-") as folder:
        copy, environment = Path(folder) / "project", Path(folder) / "environment"
        shutil.copytree(ROOT, copy, ignore=NOT_COPIED)
        inside = str(environment / "bin" / "python")
        uv = [sys.executable, "-m", "uv", "-q"]
        install = [*uv, "pip", "install", "--python", inside, "-c", "constraints.txt", "-e", ".[dev]"]
        tests = [inside, "-m", *TESTS, *(f"--ignore={file}" for file in ALIKE)]
        commands = ([*uv, "venv", "--python", python, str(environment)], install)
        with in_memory() as variables:
            return all(_done(command, copy) for command in commands) and _done(tests, copy, variables)


def _done(command: Sequence[str], folder: Path, environment: Mapping[str, str] = os.environ) -> bool:
    """What it says is printed in one piece, for another Python's commands speak meanwhile."""
    said = subprocess.run(
        command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    print(f"== {' '.join(command)}\n{said.stdout}", end="", flush=True)
    return said.returncode == 0


if __name__ == "__main__":
    sys.exit(main())
