"""The quick tests on the oldest Python that the project takes and on the newest that Prefect takes: `python -m tests.other_pythons`.

Each gets a fresh environment with the project installed in it. A Python that this machine lacks is named as not run, and in place of
the newest comes the newest that is here.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parent.parent
OLDEST, NEWEST = 10, 14
"""Of Python 3: `requires-python` in pyproject.toml, and the classifiers of the Prefect that it names."""
HERE = sys.version_info.minor
PYENV = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
ALIKE = (
    "tests/pace/test_pace.py",
    "tests/pace/test_tiers.py",
    "tests/work/test_polling.py",
    "tests/decisions/test_statistics.py",
    "tests/security/test_hostile_content.py",
)
"""A third of the time, and no matter of a Python's version: simulated hours, arithmetic, and one page made of many texts."""
TESTS = ("pytest", "--quick", "-q", "-n", "2", "--dist", "loadfile", "--no-loadscope-reorder", "--durations=1")
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
    failed = [f"3.{minor}" for minor in chosen if not passes(found[minor])]
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
        commands = ([*uv, "venv", "--python", python, str(environment)], install, tests)
        return all(_done(command, copy) for command in commands)


def _done(command: Sequence[str], folder: Path) -> bool:
    print(f"== {' '.join(command)}", flush=True)
    return subprocess.run(command, cwd=folder, check=False).returncode == 0


if __name__ == "__main__":
    sys.exit(main())
