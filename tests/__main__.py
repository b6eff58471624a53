"""Every check of the repository, those that take long beside each other: `python -m tests`.

`python -m tests --quick` leaves out the tests of commands, servers and whole runs, and other Pythons. Other arguments go to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryFile

from tests.memory import in_memory

WORKERS = 4
"""Processes in which the tests run, on a machine of two cores: half the tests wait for others, and the quick ones for sockets and timers
of their own (in two processes they took 124 s, in four 89)."""

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    # A file stays in one process, in which its tests share what they have started; see SLOW in tests/conftest.py.
    ("pytest", "--dist", "loadfile", "--no-loadscope-reorder"),
)
OTHER_PYTHONS = "tests.other_pythons"
BESIDE = ("mypy", OTHER_PYTHONS)
"""Modules that run beside the checks, on one processor each; what they say is printed at the end."""
ROOT = Path(__file__).parent.parent
PYTHONS_APART = "FIEVAL_OTHER_PYTHONS"
"""`apart` in this variable says that somebody else runs the quick tests on other Pythons, as .ci/run does."""
COMPILED = {"PYTHONDONTWRITEBYTECODE": ""}
"""Or every process that the tests start would compile the project anew."""


def main(arguments: list[str]) -> int:
    """Run them all, the arguments going to pytest; 0 where every one passes."""
    is_apart = arguments or os.environ.get(PYTHONS_APART) == "apart"
    modules = [module for module in BESIDE if module != OTHER_PYTHONS or not is_apart]
    with ExitStack() as running:
        beside = {module: running.enter_context(_beside(module)) for module in modules}
        failed = _failed(arguments)
    failed += [module for module, process in beside.items() if process.returncode]
    print(f"failed: {', '.join(failed)}" if failed else "every check passed")
    return 1 if failed else 0


def _failed(arguments: list[str]) -> list[str]:
    failed = []
    with in_memory() as environment:
        for check in CHECKS:
            command = [*check, "-n", str(WORKERS), *arguments] if check[0] == "pytest" else list(check)
            print(f"== {' '.join(command)}", flush=True)
            done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, env=environment | COMPILED, check=False)
            failed += [check[0]] if done.returncode else []
    return failed


@contextmanager
def _beside(module: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that runs it meanwhile, and has ended afterwards."""
    command = [sys.executable, "-m", module]
    with TemporaryFile() as said:
        with subprocess.Popen(
            command, cwd=ROOT, env=os.environ | COMPILED, stdout=said, stderr=subprocess.STDOUT
        ) as process:
            yield process
        said.seek(0)
        print(f"== {module}, beside the others\n{said.read().decode(errors='replace')}", end="", flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
