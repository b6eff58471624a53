"""An installed package has all that a clone has: its code and the files that it reads."""

from __future__ import annotations

import fnmatch
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]
PRODUCT = ("deployments", "fieval_tasks", "flows")


def setuptools_said() -> dict[str, Any]:
    said: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]
    return said


def is_cached(path: Path) -> bool:
    return any(part in {"__pycache__", ".mypy_cache"} for part in path.parts)


@pytest.mark.parametrize("package", PRODUCT)
def test_every_folder_with_code_is_a_package_of_it(package: str) -> None:
    folders = {file.parent for file in (ROOT / package).rglob("*.py") if not is_cached(file)}
    named = {".".join(folder.relative_to(ROOT).parts) for folder in folders}
    assert named
    assert named <= set(setuptools_said()["packages"])


@pytest.mark.parametrize("package", PRODUCT)
def test_every_file_that_is_no_code_travels_with_it(package: str) -> None:
    files = [file for file in (ROOT / package).rglob("*") if file.is_file() and file.suffix != ".py"]
    left = [file for file in files if not is_cached(file) and not travels(file)]
    assert left == []


def test_an_installed_package_carries_the_file_that_lies_in_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setuptools, said = pytest.importorskip("setuptools"), dict[str, Any]()
    monkeypatch.setattr(setuptools, "setup", said.update)
    runpy.run_path(str(ROOT / "setup.py"))
    monkeypatch.chdir(ROOT)
    building = said["cmdclass"]["build_py"](
        setuptools.Distribution({"packages": ["deployments"], "script_name": "setup.py"})
    )
    building.ensure_finalized()
    building.build_lib = str(tmp_path)
    building.run()
    assert (tmp_path / "deployments" / "prefect.yaml").read_text() == (ROOT / "prefect.yaml").read_text()
    assert (tmp_path / "deployments" / "definitions.py").is_file()


def travels(file: Path) -> bool:
    """Does a pattern of the package data name it, in the folder of the pattern's package?"""
    for package, patterns in setuptools_said()["package-data"].items():
        folder = ROOT.joinpath(*package.split("."))
        if folder in file.parents and any(matches(file.relative_to(folder), pattern) for pattern in patterns):
            return True
    return False


def matches(path: Path, pattern: str) -> bool:
    """As setuptools reads it: an asterisk does not go into folders."""
    parts = pattern.split("/")
    return len(parts) == len(path.parts) and all(map(fnmatch.fnmatchcase, path.parts, parts))
