"""Tickets that the server does not know: whether they are the exception, or the server is not the one that gave them."""

from __future__ import annotations

from dataclasses import dataclass

from fieval_tasks.policy import MANY_UNKNOWN, SHARE_UNKNOWN


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
        self._known = 0
        self._held: dict[int, Stranger] = {}

    def heard(self) -> None:
        """The server knew a ticket."""
        self._known += 1

    def add(self, stranger: Stranger) -> None:
        self._held[stranger.seq] = stranger

    @property
    def only(self) -> bool:
        """Many are unknown, and not one was known: no need to ask further."""
        return self._known == 0 and len(self._held) >= MANY_UNKNOWN

    @property
    def too_many(self) -> bool:
        """They are not the exception."""
        n = len(self._held)
        return n >= MANY_UNKNOWN and n > SHARE_UNKNOWN * (n + self._known)

    def __str__(self) -> str:
        n, asked = len(self._held), len(self._held) + self._known
        those = f"{n:,} of about {asked:,}" if self._known else f"any of the {n:,}"
        return (
            f"the server does not know {those} evaluations that it was asked about: it has lost them, or is not the one that "
            f"took them, or the keys are another workspace's. Nothing is failed for that; if they are gone for good, "
            f"--resume with --retry-failed sends those items once more, each perhaps paid twice"
        )

    def taken(self) -> list[Stranger]:
        """All that are held back, which are not any more."""
        held, self._held = self._held, {}
        return [*held.values()]
