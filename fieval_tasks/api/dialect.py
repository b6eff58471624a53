"""What a server was heard to change while a run talked to it: a notice for the report, and never an error."""

from __future__ import annotations

_ALL_THE_SAME = ": perhaps it is being upgraded; every answer was read as it came"
SPELLING = "the server answered partly in {before}, partly in {now}" + _ALL_THE_SAME
ENVELOPE = "the server answered {about} partly with {before}, partly with {now}" + _ALL_THE_SAME
OUTPUT_TYPE = "the server said of {about!r} that it gives {before!r}, and that it gives {now!r}" + _ALL_THE_SAME
VALUES = "the server wrote the values of {about!r} partly as {before}, partly as {now}" + _ALL_THE_SAME
MORE_THAN_SENT = "the server answered a request of one item with several evaluations, and only the first was asked for"

MOST_TRAITS = 10_000
"""A server that invents names without end must not fill the memory: what is beyond is not remembered."""


class Listener:
    """Remembers each trait as the first reply that had it showed it. One for each run, on one event loop."""

    def __init__(self) -> None:
        self._heard: dict[tuple[str, ...], str] = {}
        self._notices: dict[str, str] = {}

    @property
    def notices(self) -> tuple[str, ...]:
        """A sentence for each kind of change, about the first of them."""
        return tuple(self._notices.values())

    def hear(self, kind: str, *about: str, now: str | None) -> None:
        """How the server puts something: `kind` is one of the sentences above. None: it does not show here."""
        if now is None:
            return
        trait = (kind, *about)
        before = self._heard.get(trait)
        if before is None and len(self._heard) < MOST_TRAITS:
            self._heard[trait] = now
        elif before not in (None, now):
            self.notice(kind, about=about[-1], before=before, now=now)

    def notice(self, kind: str, **told: str | None) -> None:
        self._notices.setdefault(kind, kind.format(**told))
