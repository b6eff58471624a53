"""One item against one template. A module for each family of templates; each ends with the table of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fieval_tasks.local.catalogue import CatalogueEntry
from fieval_tasks.local.scoring import checks, formats, grounding, likeness, phrases, series, trajectories
from fieval_tasks.local.scoring.shapes import Scorer
from fieval_tasks.local.verdicts import Inputs, NoInput, Params, Verdict

# Template name -> its scorer; as many as the catalogue lists.
SCORERS: Final[Mapping[str, Scorer]] = {
    **checks.SCORERS,
    **formats.SCORERS,
    **grounding.SCORERS,
    **likeness.SCORERS,
    **phrases.SCORERS,
    **series.SCORERS,
    **trajectories.SCORERS,
}

# What the platform takes for no input (contract: Errors).
_BLANK: Final = frozenset({"", "{}", "[]", "null"})


def score(entry: CatalogueEntry, inputs: Inputs, params: Params) -> Verdict:
    """The verdict on one item. Raises NoInput for a blank value, Unscorable for one the template cannot take."""
    blank = sorted(f"'{key}'" for key in entry.required_keys if key in inputs and _is_blank(inputs[key]))
    if len(blank) == 1:
        raise NoInput(f"No input received for {blank[0]}. Please check your input.")
    if blank:
        raise NoInput(f"No input received for any of {', '.join(blank)}. Please check your inputs.")
    return SCORERS[entry.name](inputs, params)


def _is_blank(value: Any) -> bool:
    return value.strip() in _BLANK if isinstance(value, str) else all(map(_is_blank, value))
