"""Every check of the repository, in the order in which they are quickest to fail: `python -m tests`.

`python -m tests --quick` leaves out the tests of commands, servers and whole runs, and other Pythons. Other arguments go to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import other_pythons

WORKERS, QUICK_WORKERS = 4, 2
"""Processes in which the tests run, on a machine of two cores: half the tests wait for others, and the quick ones for none."""

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    # A file stays in one process, in which its tests share what they have started; see SLOW in tests/conftest.py.
    ("pytest", "--dist", "loadfile", "--no-loadscope-reorder"),
)


def main(arguments: list[str]) -> int:
    """Run them all, the arguments going to pytest; 0 where every one passes."""
    root = Path(__file__).parent.parent
    # Or every process that the tests start would compile the project anew.
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": ""}
    workers = QUICK_WORKERS if "--quick" in arguments else WORKERS
    failed = []
    for check in CHECKS:
        command = [*check, "-n", str(workers), *arguments] if check[0] == "pytest" else list(check)
        print(f"== {' '.join(command)}", flush=True)
        if subprocess.run([sys.executable, "-m", *command], cwd=root, env=environment, check=False).returncode:
            failed.append(check[0])
    if not arguments:
        print("== the quick tests on other Pythons", flush=True)
        failed += ["other Pythons"] if other_pythons.main() else []
    print(f"failed: {', '.join(failed)}" if failed else "every check passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
