"""Why items did not pass, or have no verdict: near-identical reasons together."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from fieval_tasks.core.items import Result
from fieval_tasks.report.caps import CAPS, Caps
from fieval_tasks.report.text import clip

_COMPARED = 200
"""Characters of a reason that are compared: what tells reasons apart stands at their beginning."""
_ALIKE = 80
"""Of 100, from which on two reasons say the same: most of their words, in any order."""
_REST = "\n"
"""Stands for all reasons that are like no other: no reason is compared with it."""
_PARTICULAR = re.compile(
    r"\d+(?:[.,]\d+)*|\"[^\"]{1,80}\"|'[^']{1,80}'(?!\w)|[\u2018\u201c][^\u2019\u201d]{1,80}[\u2019\u201d]"
)


@dataclass
class ReasonGroup:
    """Items of one check whose reasons say nearly the same."""

    number: int
    check: str
    stage: str
    """At which an error came; empty where the judge gave the reason."""
    kind: str
    """The error's; empty where the judge gave the reason."""
    text: str
    """The first one's reason; empty where there is none, and for all that are like no other, once there are too many groups."""
    is_rest: bool = False
    """Of those that are like no other."""
    count: int = 0
    examples: list[Result] = field(default_factory=list)
    """The first ones, their inputs cut."""

    @property
    def rows(self) -> list[int]:
        return [result.row for result in self.examples]


class ReasonGroups:
    """Puts each reason, as it comes, to the group whose first reason is most like it."""

    def __init__(self, caps: Caps = CAPS) -> None:
        self._caps = caps
        self._groups: list[ReasonGroup] = []
        self._known: dict[tuple[str, str, str], dict[str, ReasonGroup]] = {}
        """Check, stage and kind -> the first reason of each group, as it is compared -> the group."""

    def add(self, result: Result) -> int | None:
        """The number of the group that the result is in now; None where it needs no reason, or has none."""
        if result.status == "failed":
            error = result.error or {}
            of: tuple[str, str, str] = (result.check, result.stage or "unknown", error.get("kind", "unknown"))
            text = error.get("message", "")
        elif result.passed is False:
            of, text = (result.check, "", ""), result.reason or ""
        else:
            return None
        group = self._group(of, text)
        group.count += 1
        if len(group.examples) < self._caps.first_rows:
            cut = {key: clip(text, self._caps.long_text) for key, text in (result.inputs or {}).items()}
            group.examples.append(replace(result, inputs=cut))
        return group.number

    @property
    def found(self) -> list[ReasonGroup]:
        """The largest first; those that are like no other last."""
        return sorted(self._groups, key=lambda group: (group.is_rest, -group.count))

    def _group(self, of: tuple[str, str, str], text: str) -> ReasonGroup:
        known = self._known.setdefault(of, {})
        compared = _compared(text)
        group = known.get(compared) or self._nearest(known, compared)
        if group is None:
            is_full = len(known) >= self._caps.reason_groups
            key = _REST if is_full else compared
            group = known.get(key) or ReasonGroup(len(self._groups), *of, "" if is_full else text, is_full)
            if key not in known:
                known[key] = group
                self._groups.append(group)
        return group

    @staticmethod
    def _nearest(known: dict[str, ReasonGroup], compared: str) -> ReasonGroup | None:
        from rapidfuzz import fuzz, process

        found = process.extractOne(compared, known.keys(), scorer=fuzz.ratio, score_cutoff=_ALIKE)
        return None if found is None else known[found[0]]


def _compared(text: str) -> str:
    """The reason's words in the order of the alphabet, without what is particular to its item: numbers and quotations."""
    words = _PARTICULAR.sub("\u2026", text[:_COMPARED]).casefold().split()
    return " ".join(sorted(words))
