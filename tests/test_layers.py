"""Who may import whom: a line imports only from lines below it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("deployments", "flows", "fieval_tasks")
LOCAL = "fieval_tasks.local"

LAYERS = """
flows.command
flows.collect flows.fan_out
flows.evaluate flows.explain flows.control
flows.naming flows.poll
flows.showing
flows.arguments flows.laptop flows.prefect_api flows.shared flows.watching flows.events flows.ending
flows.parameters
fieval_tasks.tasks
fieval_tasks.dataframe fieval_tasks.blocks
fieval_tasks.own_server fieval_tasks.script
fieval_tasks.display fieval_tasks.terminal fieval_tasks.door
fieval_tasks.conclusion fieval_tasks.threads
fieval_tasks.preparation
fieval_tasks.engine
fieval_tasks.report.files fieval_tasks.report.artifacts
fieval_tasks.report.html fieval_tasks.report.junit fieval_tasks.report.markdown fieval_tasks.report.table
fieval_tasks.report.drawing fieval_tasks.report.words
fieval_tasks.report.summary
fieval_tasks.report.amendments fieval_tasks.biography
fieval_tasks.report.css fieval_tasks.report.folder fieval_tasks.report.tally fieval_tasks.report.text
fieval_tasks.report.record
fieval_tasks.settlement
fieval_tasks.submission fieval_tasks.poller fieval_tasks.orphans fieval_tasks.setbacks fieval_tasks.unknown
fieval_tasks.agenda fieval_tasks.connections fieval_tasks.belonging fieval_tasks.echoes
fieval_tasks.account
fieval_tasks.client fieval_tasks.waits fieval_tasks.intake fieval_tasks.open_items fieval_tasks.recording fieval_tasks.breaker
fieval_tasks.binding fieval_tasks.dataset fieval_tasks.permits fieval_tasks.quota fieval_tasks.store
fieval_tasks.drafts
fieval_tasks.claims
fieval_tasks.changes fieval_tasks.database fieval_tasks.duplicates
fieval_tasks.schema
fieval_tasks.pace fieval_tasks.prefect_server fieval_tasks.progress fieval_tasks.records fieval_tasks.statistics
fieval_tasks.delimited fieval_tasks.parameters
fieval_tasks.columns fieval_tasks.control fieval_tasks.files fieval_tasks.foreign fieval_tasks.lanes fieval_tasks.limits fieval_tasks.transport fieval_tasks.values fieval_tasks.wire fieval_tasks.yaml_text
fieval_tasks.plan fieval_tasks.error_replies
fieval_tasks.templates
fieval_tasks.verdict_values
fieval_tasks.dialect fieval_tasks.commands fieval_tasks.faults fieval_tasks.items fieval_tasks.locations fieval_tasks.policy fieval_tasks.prefect_errors fieval_tasks.gates fieval_tasks.refusals
fieval_tasks.errors
fieval_tasks.cutting fieval_tasks.private fieval_tasks.scrubbing
"""
"""From the top down. Modules of one line know nothing of each other; deployments/ stands above them all."""

ON_PREFECT = (
    "deployments",
    "flows",
    "fieval_tasks.tasks",
    "fieval_tasks.blocks",
    "fieval_tasks.own_server",
    "fieval_tasks.report.artifacts",
)
OPENS_LOCAL = ("fieval_tasks.connections", "fieval_tasks.blocks")
LEVEL = {name: level for level, line in enumerate(reversed(LAYERS.split("\n"))) for name in line.split()}


@cache
def modules() -> dict[str, Path]:
    """Every module of ours, local/ included; an empty __init__.py is no module."""
    files = (file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py")))
    found = {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in files}
    return {name.removesuffix(".__init__"): file for name, file in found.items()}


def imports(name: str) -> Iterator[str]:
    """What a module imports, wherever in it that stands, except under `if __name__ == "__main__"`: its own door."""
    tree = ast.parse(modules()[name].read_text(encoding="utf-8"))
    tree.body = [node for node in tree.body if not (isinstance(node, ast.If) and "__main__" in ast.unparse(node.test))]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} imports relatively: name the package, so that this test can read it"
            yield from (_module(node.module or "", alias.name) for alias in node.names)


def _module(package: str, name: str) -> str:
    """`from package import name` names a module, or something in one."""
    return f"{package}.{name}" if f"{package}.{name}" in modules() else package


def is_in(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def ours(name: str) -> list[str]:
    return [imported for imported in imports(name) if is_in(imported, *PACKAGES)]


def is_empty(name: str) -> bool:
    """A package's own file: a docstring at most, so that nothing is imported through it."""
    return modules()[name].stem == "__init__" and not list(imports(name))


def placed() -> list[str]:
    """The modules that need a place in LAYERS."""
    return [name for name in modules() if not is_in(name, LOCAL, "deployments") and not is_empty(name)]


def test_the_imports_are_read() -> None:
    assert "fieval_tasks.errors" in ours("fieval_tasks.store")
    assert "fieval_tasks.wire" in ours("fieval_tasks.client"), "from fieval_tasks import wire"
    assert "flows.evaluate" in ours("flows.command"), "inside of a function"
    assert "flows.command" not in ours("flows.evaluate"), "under if __name__"


def test_every_module_has_its_place() -> None:
    missing = [name for name in placed() if name not in LEVEL]
    assert not missing, f"add {', '.join(missing)} to LAYERS in {Path(__file__).name}: above all that it imports"
    gone = [name for name in LEVEL if name not in modules()]
    assert not gone, f"take {', '.join(gone)} out of LAYERS in {Path(__file__).name}"


@pytest.mark.parametrize("name", placed())
def test_a_module_imports_only_from_lines_below_it(name: str) -> None:
    known = [imported for imported in ours(name) if imported in LEVEL]
    level = LEVEL.get(name, len(LEVEL))
    upward = sorted({imported for imported in known if LEVEL[imported] >= level})
    assert not upward, f"{name} imports {', '.join(upward)}, which does not stand below it in LAYERS"


@pytest.mark.parametrize("name", modules())
def test_prefect_is_imported_at_the_rim_only(name: str) -> None:
    if not is_in(name, *ON_PREFECT):
        assert not [imported for imported in imports(name) if is_in(imported, "prefect")]


@pytest.mark.parametrize("name", [name for name in modules() if is_in(name, LOCAL)])
def test_the_local_evaluator_imports_nothing_of_ours_outside_itself(name: str) -> None:
    assert [imported for imported in ours(name) if not is_in(imported, LOCAL)] == []


@pytest.mark.parametrize("name", [name for name in modules() if not is_in(name, LOCAL, *OPENS_LOCAL)])
def test_only_what_opens_connections_imports_the_local_evaluator(name: str) -> None:
    assert [imported for imported in ours(name) if is_in(imported, LOCAL)] == []


@pytest.mark.parametrize("name", [name for name in modules() if is_in(name, "fieval_tasks")])
def test_no_step_knows_of_flows_or_deployments(name: str) -> None:
    assert [imported for imported in ours(name) if is_in(imported, "flows", "deployments")] == []


@pytest.mark.parametrize("name", [name for name in modules() if is_in(name, "flows")])
def test_no_flow_knows_when_it_happens(name: str) -> None:
    assert [imported for imported in ours(name) if is_in(imported, "deployments")] == []


def test_flows_is_an_empty_package() -> None:
    assert (ROOT / "flows" / "__init__.py").read_text() == "", "a name in it would shadow its module under python -m"


def test_nobody_waits_for_prefects_futures_with_a_timeout() -> None:
    """Its alarm may go off while its own lock is held, and the main thread then waits for ever, deaf to signals."""
    waits = [name for name in modules() if "prefect.futures.wait" in names_imported(name)]
    assert not waits


def names_imported(name: str) -> Iterator[str]:
    for node in ast.walk(ast.parse(modules()[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
