"""Every check of the repository, in the order in which they are quickest to fail: `python -m tests`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CHECKS = (
    ("ruff", "check", "."),
    ("ruff", "format", "--check", "."),
    ("mypy",),
    ("pytest",),
)


def main(arguments: list[str]) -> int:
    """Run them all, the arguments going to pytest; 0 where every one passes."""
    root = Path(__file__).parent.parent
    failed = []
    for check in CHECKS:
        command = [*check, *arguments] if check[0] == "pytest" else list(check)
        print(f"== {' '.join(command)}", flush=True)
        if subprocess.run([sys.executable, "-m", *command], cwd=root, check=False).returncode:
            failed.append(check[0])
    print(f"failed: {', '.join(failed)}" if failed else "every check passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
