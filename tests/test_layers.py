"""The rooms of the house, and who may know whom: a module knows its own room, and the rooms on the floors below."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("deployments", "flows", "fieval_tasks")
LOCAL = "fieval_tasks.local"

FLOORS = """
deployments
flows
on_prefect terminal
runs
sinks
work report
api data ledger pace decisions
core
"""
"""From the top down. Rooms on one floor don't know each other. local/ stands apart."""

ROOM_OF_A_DOOR = dict.fromkeys(("fieval_tasks.blocks", "fieval_tasks.dataframe", "fieval_tasks.tasks"), "on_prefect")
"""What lies outside of the rooms, for its users to find, and the room it belongs to."""
FOR_OTHERS = ("fieval_tasks", "fieval_tasks.client", "fieval_tasks.plan")
"""What only other programs import."""
AT_THE_RIM = ("deployments", "flows", "fieval_tasks.on_prefect", "fieval_tasks.blocks", "fieval_tasks.tasks")
"""What may import Prefect."""
OPENS_LOCAL = ("fieval_tasks.runs.connections",)
FLOOR = {room: floor for floor, line in enumerate(reversed(FLOORS.split("\n"))) for room in line.split()}


@cache
def modules() -> dict[str, Path]:
    """Every module of ours, local/ included."""
    files = (file for package in PACKAGES for file in sorted((ROOT / package).rglob("*.py")))
    found = {".".join(file.relative_to(ROOT).with_suffix("").parts): file for file in files}
    return {name.removesuffix(".__init__"): file for name, file in found.items()}


@cache
def tree(name: str) -> ast.Module:
    """The source of a module of ours, parsed; nobody changes it."""
    return ast.parse(modules()[name].read_text(encoding="utf-8"))


def room(name: str) -> str:
    package, *rest = name.split(".")
    return ROOM_OF_A_DOOR.get(name, rest[0] if package == "fieval_tasks" and rest else package)


@cache
def imports(name: str) -> tuple[str, ...]:
    """What a module imports, wherever in it that stands, except under `if __name__ == "__main__"`: its own door."""
    return tuple(_imports(name))


def _imports(name: str) -> Iterator[str]:
    outside = (
        node for node in tree(name).body if not (isinstance(node, ast.If) and "__main__" in ast.unparse(node.test))
    )
    for node in (inner for statement in outside for inner in ast.walk(statement)):
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


def test_the_imports_are_read() -> None:
    assert "fieval_tasks.core.errors" in ours("fieval_tasks.ledger.store")
    assert "fieval_tasks.api.wire" in ours("fieval_tasks.api.client"), "from fieval_tasks.api import wire"
    assert "flows.evaluate" in ours("flows.cli.actions"), "inside of a function"
    assert "flows.cli.command" not in ours("flows.evaluate"), "under if __name__"


def test_every_module_has_a_room_with_a_promise() -> None:
    homeless = [
        name for name in modules() if room(name) not in FLOOR and not is_in(name, LOCAL) and name not in FOR_OTHERS
    ]
    assert not homeless, f"put {', '.join(homeless)} into a room"
    empty = sorted(set(FLOOR) - {room(name) for name in modules()})
    assert not empty, f"nothing lies in {', '.join(empty)}"
    for name in FLOOR:
        if name not in PACKAGES:
            assert ast.get_docstring(tree(f"fieval_tasks.{name}")), f"{name} promises nothing"


def test_a_module_knows_its_own_room_and_the_floors_below() -> None:
    upward = []
    for name in modules():
        if not is_in(name, LOCAL) and name not in FOR_OTHERS:
            assert not set(ours(name)) & set(FOR_OTHERS), (
                f"{name}: what is for other programs leads here by a longer way"
            )
            known = {imported for imported in ours(name) if room(imported) in FLOOR and room(imported) != room(name)}
            upward += [f"{name} imports {one}" for one in known if FLOOR[room(one)] >= FLOOR[room(name)]]
    assert not upward, (
        "which does not lie on a floor below (FLOORS): move what both need down, or have it handed in from above"
    )


def test_no_module_knows_itself_by_way_of_others() -> None:
    """Modules that import each other, in a circle, can only be read together."""
    left = {name: set(ours(name)) - {name} for name in modules()}
    while ready := [name for name, known in left.items() if not known & left.keys()]:
        for name in ready:
            del left[name]
    assert not left, f"a circle among {', '.join(sorted(left))}"


def test_prefect_is_imported_at_the_rim_only() -> None:
    inside = [name for name in modules() if not is_in(name, *AT_THE_RIM)]
    known = [name for name in inside if any(is_in(imported, "prefect") for imported in imports(name))]
    assert not known, (
        "what needs Prefect stands in flows/, deployments/ or on_prefect/, and hands it in, as `Openers` are"
    )


def test_the_local_evaluator_imports_nothing_of_ours_outside_itself() -> None:
    local = [name for name in modules() if is_in(name, LOCAL)]
    known = [name for name in local if not all(is_in(imported, LOCAL) for imported in ours(name))]
    assert not known, "client and evaluator share no code, so that they can't agree on one mistake"


def test_only_what_opens_connections_imports_the_local_evaluator() -> None:
    others = [name for name in modules() if not is_in(name, LOCAL, *OPENS_LOCAL)]
    known = [name for name in others if any(is_in(imported, LOCAL) for imported in ours(name))]
    assert not known, f"the evaluator is reached like the platform, by a connection ({', '.join(OPENS_LOCAL)})"


def test_flows_is_an_empty_package() -> None:
    assert (ROOT / "flows" / "__init__.py").read_text() == "", "a name in it would shadow its module under python -m"


def test_nobody_waits_for_prefects_futures_with_a_timeout() -> None:
    """Its alarm may go off while its own lock is held, and the main thread then waits for ever, deaf to signals."""
    waits = [name for name in modules() if "prefect.futures.wait" in names_imported(name)]
    assert not waits, "wait on the future itself, as flows/evaluate.sent does"


def names_imported(name: str) -> Iterator[str]:
    for node in ast.walk(tree(name)):
        if isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_page_on_architecture_shows_these_floors_and_rooms() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert FLOORS in page, "docs/architecture.md draws other floors than FLOORS of this test"
    for name in FLOOR:
        if name not in PACKAGES:
            promise = ast.get_docstring(tree(f"fieval_tasks.{name}")) or ""
            assert promise[:-1].casefold() in page.casefold(), f"{name} promises something else"


def test_what_the_page_on_architecture_names_is_there() -> None:
    """`room/module`, or `room/module.name`. All other names of a row are found in one of the modules that it names."""
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    lost = []
    for line in page.splitlines():
        named = [place_named(found) for found in re.findall(r"`(\w+(?:/\w+)+)/?(?:\.\w+)?`", line)]
        lost += [f"`{name}`" for name, file in named if not file.exists()]
        source = "".join(file.read_text(encoding="utf-8") for _, file in named if file.is_file())
        if line.startswith("|") and source:
            lost += [name for name in re.findall(r"(?<=[`.])[a-zA-Z_]+(?=`)", line) if name not in source]
    assert not lost, "docs/architecture.md names what is not there (any more)"


def place_named(name: str) -> tuple[str, Path]:
    """A module's or a folder's name in the docs, and where it lies."""
    bare = name if name.startswith(("flows/", "tests/", "fieval_tasks/")) else f"fieval_tasks/{name}"
    folder = ROOT / bare
    return name, folder if folder.is_dir() else folder.with_suffix(".py")
