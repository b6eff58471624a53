"""The glossary and the code use the same words: each class that the page names is there, and bears its word."""

from __future__ import annotations

import ast
import re

import pytest

from tests.test_layers import ROOT, modules, tree

PAGE = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
ENTRIES = re.findall(r"\*\*([a-z ]+)\*\*[^(*\n]{0,12}\(`([A-Z]\w+)`\)", PAGE, re.IGNORECASE)
"""Word -> the class that bears it."""
NAMED_OTHERWISE = {"plan": "EvaluationPlan", "echo": "Echoes", "shard": "Share", "permit": "Leased"}
"""Words whose class is called otherwise: by its public name, or because it is a part of the thing."""
NAMED_OTHERWISE |= {"Facts": "RunFacts", "steering": "Control", "overview": "RunOverview"}


def names_defined() -> set[str]:
    """Classes of ours, and types that stand for several, such as Verdict."""
    nodes = [node for name in modules() for node in tree(name).body]
    aliases = {
        node.target.id for node in nodes if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    return aliases | {node.name for node in nodes if isinstance(node, ast.ClassDef)}


def test_every_class_that_the_glossary_names_is_there() -> None:
    named = set(re.findall(r"\(`([A-Z]\w+)`\)", PAGE))
    assert len(named) > 40
    missing = sorted(named - names_defined())
    assert not missing, "docs/glossary.md names classes that are not there"


@pytest.mark.parametrize(("word", "bearer"), ENTRIES)
def test_a_class_bears_the_word_that_it_explains(word: str, bearer: str) -> None:
    as_class = word.title().replace(" ", "")
    assert bearer in (as_class, f"{as_class}s", NAMED_OTHERWISE.get(word)), f"{bearer} is {word} in the glossary"


def test_no_word_is_explained_twice() -> None:
    heads = re.findall(r"^- \*\*([^*]+)\*\*", PAGE, re.MULTILINE)
    assert len(heads) == len(set(heads))


@pytest.mark.parametrize("page", ["README.md", "docs/architecture.md"])
def test_the_glossary_is_found(page: str) -> None:
    assert "glossary.md" in (ROOT / page).read_text(encoding="utf-8")
