"""What the first replies of a run settle of how its server speaks; a later reply that differs is Drift."""

from __future__ import annotations

from dataclasses import dataclass

from fieval_tasks.errors import Drift

CASING = "the server answered in {now} where it used {before} before"
ENVELOPE = "the server answered {about} with {now} where it came with {before} before"
OUTPUT_TYPE = "the server says that {about!r} gives {now!r} where it said {before!r} before"
VALUE_TYPE = "the value of {about!r} came as {now} where it came as {before} before"

MOST_TRAITS = 10_000
"""A server that invents names without end must not fill the memory: what is beyond is not settled."""


@dataclass(frozen=True)
class Dialect:
    """How the server has spoken so far."""

    casing: str | None = None
    """`snake_case` or `camelCase`, or both where its submissions and its states differ; None before it showed."""
    longest_pack: int = 0
    """Items of the longest request that was accepted; 0 before the first."""

    def __str__(self) -> str:
        packs = f"packs of up to {self.longest_pack}" if self.longest_pack > 1 else ""
        return ", ".join(filter(None, (self.casing, packs))) or "nothing heard yet"


class Canary:
    """Remembers each trait as the first reply that had it showed it. One for each run, on one event loop."""

    def __init__(self) -> None:
        self._settled: dict[tuple[str, ...], str] = {}
        self._doubted: set[tuple[str, ...]] = set()
        self._usual: set[tuple[str | None, ...]] = set()
        self._longest_pack = 0

    @property
    def dialect(self) -> Dialect:
        casings = {now for (trait, *_), now in self._settled.items() if trait is CASING}
        return Dialect(casing=" and ".join(sorted(casings)) or None, longest_pack=self._longest_pack)

    def took(self, items: int) -> None:
        """The server accepted a request of so many items."""
        self._longest_pack = max(self._longest_pack, items)

    def envelope(self, part: str, now: str, *, casing: str | None = None) -> None:
        """What a reply is wrapped in. `part` says of which kind of reply this is; what differs by kind may differ."""
        self._settle((ENVELOPE, part), now)
        if casing is not None:
            self._settle((CASING, part), casing)

    def evaluation(
        self,
        part: str,
        *,
        casing: str | None,
        template: str | None,
        output_type: str | None,
        value_type: str | None = None,
        readable: bool = True,
    ) -> None:
        """One evaluation of a reply. None for what it does not show: a failed row has no output type, for one."""
        seen = (part, casing, template, output_type, value_type)
        if seen in self._usual and not self._doubted:  # the common case, and one look-up for all of its traits
            return
        if casing is not None:
            self._settle((CASING, part), casing)
        if template is not None and output_type is not None:
            self._settle((OUTPUT_TYPE, part, template), output_type)
        if output_type is not None and value_type is not None:
            self._settle_value((VALUE_TYPE, part, output_type, template or output_type), value_type, readable)
        if readable and len(self._usual) < MOST_TRAITS:
            self._usual.add(seen)

    def _settle_value(self, trait: tuple[str, ...], now: str, readable: bool) -> None:
        """A value of another JSON type that can't be read is a judge's slip, and that item's own. A second one in a
        row, or one that could be read, is another way of writing values.
        """
        before = self._settled.get(trait)
        if before is None and not readable:
            return
        if before not in (None, now) and not readable and trait not in self._doubted:
            self._doubted.add(trait)
            return
        self._settle(trait, now)
        self._doubted.discard(trait)

    def _settle(self, trait: tuple[str, ...], now: str) -> None:
        before = self._settled.get(trait)
        if before == now:
            return
        if before is not None:
            raise Drift(trait[0].format(about=trait[-1], now=now, before=before))
        if len(self._settled) < MOST_TRAITS:
            self._settled[trait] = now
