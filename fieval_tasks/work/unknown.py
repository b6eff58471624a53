"""Tickets that the server does not know: whether they are the exception, or the server is not the one that gave them."""

from __future__ import annotations

from dataclasses import dataclass

from fieval_tasks.core.policy import MANY_UNKNOWN, SHARE_UNKNOWN


@dataclass(frozen=True)
class Stranger:
    """A ticket that the server was asked about and did not know."""

    seq: int
    eval_id: str
    told: str
    """The server's words."""


class Unknown:
    """Held back until the others have been asked about: a few may fail, many say something about the server."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        """Items, however often they were asked about: one that takes long is asked about twenty times."""
        self._held: dict[int, Stranger] = {}

    def heard(self, seq: int) -> None:
        """The server knew an item's ticket."""
        self._known.add(seq)

    def add(self, stranger: Stranger) -> None:
        self._known.discard(stranger.seq)
        self._held[stranger.seq] = stranger

    @property
    def only(self) -> bool:
        """Many are unknown, and not one was known: no need to ask further."""
        return not self._known and len(self._held) >= MANY_UNKNOWN

    @property
    def too_many(self) -> bool:
        """They are not the exception."""
        n = len(self._held)
        return n >= MANY_UNKNOWN and n > SHARE_UNKNOWN * (n + len(self._known))

    def __str__(self) -> str:
        n, asked = len(self._held), len(self._held) + len(self._known)
        those = f"{n:,} of {asked:,}" if self._known else f"any of the {n:,}"
        return (
            f"the server does not know {those} evaluations that it was asked about: it has lost them, or is not the one that "
            f"took them, or the keys are another workspace's. Nothing is failed for that; if they are gone for good, "
            f"--resume with --retry-failed sends those items once more, each perhaps paid twice"
        )

    def taken(self) -> list[Stranger]:
        """All that are held back, which are not any more."""
        held, self._held = self._held, {}
        return [*held.values()]
