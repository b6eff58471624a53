"""The entailment heuristic of the `ai-evaluation` package.

It compares content words, negations and numbers of a premise and a hypothesis; no model, no network.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from enum import Enum
from functools import lru_cache
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from fieval_tasks.local.verdicts import Unscorable

_MODULE: Final = "fi.evals.metrics.hallucination.nli"
_loading = threading.Lock()


class Relation(Enum):
    """What a premise says about a claim."""

    SUPPORTS = "entailment"
    CONTRADICTS = "contradiction"
    NEITHER = "neutral"


def relation(premise: str, claim: str) -> tuple[Relation, float]:
    """How the premise bears on the claim, with the heuristic's confidence (0..1)."""
    label, confidence = _heuristic()(premise, claim)
    return Relation(label.value), float(confidence)


def _heuristic() -> Callable[[str, str], tuple[Any, float]]:
    with _loading:
        return _load()


@lru_cache(maxsize=1)
def _load() -> Callable[[str, str], tuple[Any, float]]:
    module = _alone() or _with_its_package()
    heuristic: Callable[[str, str], tuple[Any, float]] = module.check_entailment_heuristic
    return heuristic


def _alone() -> ModuleType | None:
    """The module without the packages around it, whose import costs 3 s and 270 MB for an LLM client unused here."""
    package = find_spec("fi")
    for folder in package.submodule_search_locations or () if package else ():
        path = Path(folder, *_MODULE.split(".")[1:]).with_suffix(".py")
        spec = spec_from_file_location("_fi_nli_heuristic", path)
        if path.is_file() and spec and spec.loader:
            module = module_from_spec(spec)
            spec.loader.exec_module(module)
            return module if hasattr(module, "check_entailment_heuristic") else None
    return None


def _with_its_package() -> ModuleType:
    # litellm, which the package imports, fetches a price list from the network unless told not to.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    try:
        return import_module(_MODULE)
    except ImportError as error:
        raise Unscorable(
            f"this template needs the ai-evaluation package ({error}): pip install ai-evaluation"
        ) from error
