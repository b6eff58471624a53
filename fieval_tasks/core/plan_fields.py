"""The texts that fields of a plan take: what is refused of each, in sentences, before anything else looks at it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated
from unicodedata import category, normalize

from pydantic import AfterValidator, BeforeValidator, Field

from fieval_tasks.core.gates import Gate
from fieval_tasks.core.locations import holds_a_secret, is_url, locations_in
from fieval_tasks.core.sink_names import destination

RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,79}")
LONGEST_CHECK_NAME = 60
# No dot: it separates a check's name from its parameter or metric, as in `refund.keyword` and `refund.mean`.
CHECK_NAME = re.compile(r"\w[\w-]*")
"""A check's name without its combining marks (see `check_name`)."""


def check_name(text: str) -> str:
    """The check's name in Unicode's composed form (macOS decomposes accents). Raises ValueError for other characters."""
    name = normalize("NFC", text)
    letters = "".join(one for one in name if not category(one).startswith("M"))  # as the vowels of Hindi and Thai
    if len(name) > LONGEST_CHECK_NAME or not CHECK_NAME.fullmatch(letters):
        raise ValueError(f"a check's name is letters, digits, dashes and underscores, {LONGEST_CHECK_NAME} at most")
    return name


def _composed(mapping: dict[str, str]) -> dict[str, str]:
    composed = {normalize("NFC", target): column for target, column in mapping.items()}
    if len(composed) < len(mapping):
        raise ValueError("a name stands twice, its accents composed in two ways; leave one out")
    return composed


def _tab_may_be_written(value: object) -> object:
    return "\t" if value == r"\t" else value


def _parts_cells(value: str) -> str:
    if value.isalnum() or value in '"\r\n\0':
        raise ValueError(
            "what parts cells is a character that their text need not have, such as ; or | or \\t for a tab"
        )
    return value


def long_enough_to_reuse(seconds: float) -> float:
    """The same number of seconds. Raises ValueError for a few, as `7` is: with days meant, everything would be paid again."""
    if seconds < 60:
        raise ValueError(
            f"verdicts of the last {seconds:g} seconds are too few to reuse; for days write a unit, as in 7d"
        )
    return seconds


def _in_a_file(value: object) -> object:
    if isinstance(value, (list, tuple, dict)):
        raise ValueError("rows do not travel in parameters, write them to a file and give its path or URL")
    return value


def _no_secret(value: str) -> str:
    if any(is_url(one) and holds_a_secret(one) for one in locations_in(value)):
        raise ValueError(
            "a URL with a password or a signature would show in Prefect, leave that out and give it by the "
            "environment of the machine that reads it"
        )
    return value


def _no_password(value: str) -> str:
    if is_url(value) and holds_a_secret(value):
        raise ValueError("a store URL with a password would show in Prefect: set it as FIEVAL_STORE_URL instead")
    return value


def _plain_name(value: str) -> str:
    if not RUN_NAME.fullmatch(value):
        raise ValueError("a run name is letters, digits, dots, dashes and underscores, 80 at most")
    if value in ("last", "blessed"):
        raise ValueError(f"a run can't be named {value}: that stands for the newest such run")
    return value


def _listed(good: object) -> object:
    """`{"tone": "neutral, joy"}`, as it is typed, as lists of choices."""
    if not isinstance(good, Mapping):
        return good
    return {
        check: [part.strip() for part in choices.split(",")] if isinstance(choices, str) else choices
        for check, choices in good.items()
    }


def _named(good: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
    if empty := [check for check, choices in good.items() if not choices or not all(map(str.strip, choices))]:
        raise ValueError(f"{empty[0]} has no choice, or an empty one; write such as {empty[0]}=neutral,joy")
    return good


def _read(gates: tuple[str, ...]) -> tuple[str, ...]:
    if faults := [fault for text in gates if (fault := Gate.fault_of(text))]:
        raise ValueError("; ".join(faults))
    return gates


Locations = Annotated[str, BeforeValidator(_in_a_file), AfterValidator(_no_secret)]
Mapped = Annotated[dict[str, str], AfterValidator(_composed)]
GateTexts = Annotated[tuple[str, ...], AfterValidator(_read)]
GoodChoices = Annotated[dict[str, tuple[str, ...]], BeforeValidator(_listed), AfterValidator(_named)]
Address = Annotated[str, AfterValidator(_no_secret)]
StoreUrl = Annotated[str, AfterValidator(_no_password)]
Destination = Annotated[str, AfterValidator(destination)]
RunName = Annotated[str, AfterValidator(_plain_name)]
Delimiter = Annotated[
    str, Field(min_length=1, max_length=1), BeforeValidator(_tab_may_be_written), AfterValidator(_parts_cells)
]
Positive = Annotated[int, Field(ge=1)]
