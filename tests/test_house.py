"""What keeps the house readable: bounds on the size of things, and one meaning for each name."""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator

from tests.test_layers import FOR_OTHERS, modules, tree

LONGEST_MODULE = 450
"""Lines: what can be read in one sitting."""
MOST_METHODS, MOST_ATTRIBUTES, MOST_PARAMETERS = 25, 16, 9
"""A class or a function beyond them is two things."""


def classes(name: str) -> Iterator[ast.ClassDef]:
    return (node for node in ast.walk(tree(name)) if isinstance(node, ast.ClassDef))


def functions(name: str) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree(name)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def methods(of: ast.ClassDef) -> list[ast.AST]:
    return [node for node in of.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def attributes(of: ast.ClassDef) -> set[str]:
    """Those that its methods set on `self`."""
    stored = (node for method in methods(of) for node in ast.walk(method) if isinstance(node, ast.Attribute))
    mine = (node for node in stored if isinstance(node.ctx, ast.Store) and isinstance(node.value, ast.Name))
    return {node.attr for node in mine if isinstance(node.value, ast.Name) and node.value.id == "self"}


def test_a_module_a_class_and_a_function_are_small_enough_to_be_one_thing() -> None:
    too_large = {name: found for name in modules() if (found := what_is_too_large(name))}
    assert not too_large, "look for the two things that it is"


def what_is_too_large(name: str) -> list[str]:
    too_large = []
    lines = modules()[name].read_text(encoding="utf-8").count("\n")
    too_large += [f"{lines} lines"] if lines > LONGEST_MODULE else []
    for one in classes(name):
        for what, n, most in (
            ("methods", len(methods(one)), MOST_METHODS),
            ("attributes", len(attributes(one)), MOST_ATTRIBUTES),
        ):
            too_large += [f"{one.name} has {n} {what}"] if n > most else []
    for function in functions(name):
        given = [arg.arg for arg in function.args.args[:1] if arg.arg not in ("self", "cls")]
        n = len(given) + len(function.args.args[1:]) + len(function.args.kwonlyargs)
        too_large += [f"{function.name} takes {n} parameters"] if n > MOST_PARAMETERS else []
    return too_large


def test_a_class_name_means_one_thing() -> None:
    where: dict[str, list[str]] = {}
    for name in modules():
        for one in classes(name):
            where.setdefault(one.name, []).append(name)
    twice = {one: places for one, places in where.items() if len(places) > 1 and not one.startswith("_")}
    assert not twice, "one name means one thing: rename one of them"


def test_a_module_name_means_one_thing() -> None:
    """A room and its main module share their name, as `work/work.py` does, and a command may be called like a room."""
    is_room = {name for name, file in modules().items() if file.name == "__init__.py"}
    inside = [name for name in modules() if name not in {*FOR_OTHERS, *is_room} and not name.endswith("__main__")]
    counted = Counter(name.rpartition(".")[2] for name in inside)
    twice = sorted(name for name in inside if counted[name.rpartition(".")[2]] > 1)
    rooms = {room.rpartition(".")[2]: room for room in is_room}
    owner_and_name = ((name, *name.rpartition(".")[::2]) for name in inside if name.count(".") > 1)
    twice += [name for name, owner, last in owner_and_name if rooms.get(last, owner) != owner]
    assert not twice, "one name means one thing: rename one of them"
