"""Which faults a platform has, and how often: settable, seeded, and the same whatever order requests come in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from random import Random

Chances = Mapping[str, float]
"""Fault -> its probability. At most one is drawn, so they add up to 1 at most."""

REFUSALS = ("500", "503", "429")
"""The sender is told, and nothing was taken."""
SILENCES = ("drop", "html", "502", "truncated", "cut", "hang")
"""The sender can't know whether a POST was taken."""
NONSENSE = "400"
"""A question is refused for good, though the evaluation is there."""
TAKEN = "taken "
"""Stands before a silence that comes after the POST's items were accepted."""
FATES = ("fails", "rate_limited", "hollow", "stuck", "odd")
"""What becomes of an accepted evaluation. `odd`: read back as `failed`, with a value and no message."""
CURSES = ("refused", "broken", "fails", "hollow", "stuck")
"""What an item meets each time it is sent: 400 or 500 for the whole POST, or always the same fate."""
HABITS = (
    "alternates", "second unnamed", "last left out", "swapped", "one id", "rows of others", "no inputs", "one answer",
)  # fmt: skip
"""How it speaks: every other reply in the other spelling; a pack's second item without an eval_id, its last not mentioned,
its eval_ids in reverse; one eval_id for every three items; another item's row under each third eval_id; rows that don't
say what was judged; the first verdict that was told at once for every item."""


@dataclass(frozen=True)
class Mix:
    """A platform's character."""

    seed: int = 0
    post: Chances = field(default_factory=dict)
    """Of a POST: REFUSALS, and SILENCES with or without TAKEN before them."""
    get: Chances = field(default_factory=dict)
    """Of a question: REFUSALS, SILENCES and NONSENSE."""
    rows: Chances = field(default_factory=dict)
    """Of each accepted evaluation: FATES."""
    items: Chances = field(default_factory=dict)
    """Of each item, whenever it is sent: CURSES."""
    reply: float = 0.0
    """Seconds that a reply takes; the items are accepted in the middle of them."""
    takes: tuple[float, float] = (0.0, 0.0)
    """Seconds of an evaluation, from and to."""
    unknown_for: float = 0.0
    """Seconds for which a fresh eval_id is not found."""
    retry_after: str = "0"
    camel_case: bool = False
    habits: tuple[str, ...] = ()
    """Of HABITS."""
    credit: int | None = None
    """Evaluations that are judged; all later ones fail at once, for want of credit."""
    refuses: str | None = None
    """A complaint about the inputs with which every POST is refused."""
    keys_refused_after: int | None = None
    """Requests that are answered before the keys are refused."""

    @classmethod
    def parse(cls, text: str) -> Mix:
        said = json.loads(text)
        lists = {"takes": tuple(said.get("takes", (0.0, 0.0))), "habits": tuple(said.get("habits", ()))}
        return cls(**said | lists)

    def __str__(self) -> str:
        return json.dumps(asdict(self))

    def post_fault(self, body: bytes, nth: int) -> str | None:
        """What happens to the n-th POST with this body."""
        return self._drawn(self.post, "post", body, nth)

    def get_fault(self, eval_id: str, nth: int) -> str | None:
        return self._drawn(self.get, "get", eval_id, nth)

    def curse(self, text: str) -> str | None:
        return self._drawn(self.items, "item", text)

    def fate(self, text: str, nth: int) -> str | None:
        """What becomes of an item that is accepted for the n-th time."""
        curse = self.curse(text)
        return curse if curse in FATES else self._drawn(self.rows, "row", text, nth)

    def duration(self, text: str, nth: int) -> float:
        return self._random("takes", text, nth).uniform(*self.takes)

    def _drawn(self, chances: Chances, *key: object) -> str | None:
        if not chances:
            return None
        left = self._random(*key).random()
        for name, chance in chances.items():
            left -= chance
            if left < 0:
                return name
        return None

    def _random(self, *key: object) -> Random:
        return Random(repr((self.seed, *key)))
