"""What report.html shows of single items, gathered while they stream past."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from fieval_tasks.core.items import Result
from fieval_tasks.report.caps import CAPS, Caps
from fieval_tasks.report.differences import Comparison
from fieval_tasks.report.figures import segments_of
from fieval_tasks.report.page_rows import COLUMNS, NOT_PASSED, WITHOUT_VERDICT, PageRows, verdict_word
from fieval_tasks.report.reasons import ReasonGroups
from fieval_tasks.report.text import clip, shown_text
from fieval_tasks.report.timeline import Timeline

WORDS = ("passed", NOT_PASSED, "scored", *WITHOUT_VERDICT.values())
"""The verdicts of rows in the page, in the order in which they are counted."""


@dataclass(frozen=True)
class Named:
    """An item that the page names."""

    item_id: str
    row: int
    check: str
    traits: Mapping[str, Any] | None = None


@dataclass
class PageData:
    """Gathers it, in memory that does not grow with the rows once the caps are reached."""

    comparison: Comparison | None = None
    caps: Caps = CAPS
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Check and verdict, as the page says it -> rows. Audits are among them, as they are among the rows."""
    named: dict[tuple[str, str], list[Named]] = field(default_factory=dict)
    """Check and verdict -> the first items."""
    failures: list[Result] = field(default_factory=list)
    """The first that did not pass, or have no verdict."""
    timeline: Timeline = field(default_factory=Timeline)

    def __post_init__(self) -> None:
        self.reasons = ReasonGroups(self.caps)
        self.rows = PageRows(self.comparison, self.caps)

    def add(self, result: Result) -> None:
        word = verdict_word(result.status, result.passed)
        self.rows.add(result, self.reasons.add(result))
        self.timeline.add(result)
        self.counts[result.check, word] += 1
        named = self.named.setdefault((result.check, word), [])
        if len(named) < self.caps.items_named:
            named.append(Named(result.item_id, result.row, result.check, result.traits))
        if word in (NOT_PASSED, "unmeasured") and len(self.failures) < self.caps.page_failures:
            self.failures.append(result)

    def counted(self, check: str | None = None) -> list[tuple[str, int]]:
        """Verdict -> rows, of one check or of all; those that there are none of are left out."""
        of = {
            word: sum(n for (name, one), n in self.counts.items() if one == word and check in (None, name))
            for word in WORDS
        }
        return [(word, n) for word, n in of.items() if n]

    def first(self, check: str, verdict: str) -> list[Named]:
        """The first items of a check with such a verdict."""
        return self.named.get((check, verdict), [])[: self.caps.first_rows]

    @property
    def failed(self) -> int:
        """Rows that did not pass, or have no verdict."""
        return sum(n for (_, word), n in self.counts.items() if word in (NOT_PASSED, "unmeasured"))

    def items(self, verdicts: Collection[str], n: int, place: Mapping[str, str]) -> list[Named]:
        """All `n` items with such a verdict, of a check and a segment (`COLUMN:VALUE`); none where they are too many."""
        check, segment = place.get("check"), place.get("segment")
        found = [
            one
            for (name, word), several in self.named.items()
            if word in verdicts and check in (None, name)
            for one in several
            if segment is None or segment in map(":".join, segments_of(one.traits).items())
        ]
        return found if len(found) == n <= self.caps.items_named else []

    def as_rows(self) -> dict[str, Any]:
        """The object from which the page's script makes its list."""
        blocks = [*self.rows.blocks()]
        return {"columns": COLUMNS, "shown": self.rows.shown, "of": self.rows.of, "blocks": blocks}

    def beside_rows(self, explain: str | None) -> dict[str, Any]:
        """What that script must know beside the rows: names, and the command that explains the item ITEM."""
        checks = dict.fromkeys(name for name, _ in self.counts)
        return {
            "checks": [shown_text(name) for name in checks],
            "groups": {
                group.number: clip(shown_text(group.text), self.caps.short_text) for group in self.reasons.found
            },
            "explain": shown_text(explain or ""),
        }
