"""The templates this evaluator scores, as `get-evals` lists them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final


@dataclass(frozen=True)
class CatalogueEntry:
    """What a request must hold to be scored by one template."""

    name: str
    required_keys: tuple[str, ...]
    """Every key the template knows, in its own order; those in `optional_keys` may be left out."""
    optional_keys: tuple[str, ...]
    output: str
    """`Pass/Fail`, `score` or `choices`."""
    is_code: bool
    """True for an exact function, false for a judge template (here: a heuristic)."""
    parameters: Mapping[str, Mapping[str, Any]] | None
    """Schema of `config.params` by name; None when the template does not declare one."""


def _read(entry: Mapping[str, Any]) -> CatalogueEntry:
    config = entry["config"]
    return CatalogueEntry(
        name=entry["name"],
        required_keys=tuple(config["required_keys"]),
        optional_keys=tuple(config.get("optional_keys", ())),
        output=config["output"],
        is_code=config["eval_type_id"] == "CustomCodeEval",
        parameters=config.get("function_params_schema"),
    )


# What `get-evals` answers, verbatim.
LISTING: Final[list[dict[str, Any]]] = json.loads(Path(__file__).with_name("catalogue.json").read_text("utf-8"))

CATALOGUE: Final[Mapping[str, CatalogueEntry]] = {entry["name"]: _read(entry) for entry in LISTING}

# Names of the templates that are really scored; any other name is refused as unknown.
SUPPORTED: Final[tuple[str, ...]] = tuple(sorted(CATALOGUE))
