"""What other programs import: each name is there, and stays."""

from __future__ import annotations

import subprocess
import sys
from importlib import import_module

import pytest

import fieval_tasks

EARLIER = {
    "fieval_tasks.client": ["Credentials", "EvalClient"],
    "fieval_tasks.plan": ["Check", "EvaluationPlan", "Mode"],
}
"""Where some of them were before the rooms were made: programs that name these go on."""


@pytest.mark.parametrize("name", fieval_tasks.__all__)
def test_a_public_name_is_found_and_documented(name: str) -> None:
    assert getattr(fieval_tasks, name).__doc__


@pytest.mark.parametrize("module", EARLIER)
def test_earlier_addresses_lead_to_the_same_things(module: str) -> None:
    found = import_module(module)
    assert found.__all__ == EARLIER[module]
    assert [getattr(found, name) for name in EARLIER[module]] == [getattr(fieval_tasks, n) for n in EARLIER[module]]


def test_a_name_that_is_none_is_said_as_python_says_it() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'evaluate_datframe'"):
        fieval_tasks.evaluate_datframe  # noqa: B018


def test_the_package_alone_imports_nothing_heavy() -> None:
    code = "import sys, fieval_tasks; print([m for m in ('pandas', 'prefect', 'pydantic', 'sqlalchemy') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
