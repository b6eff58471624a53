"""What this process knows of the run's budget: for which checks it has no room, and whether room may yet come back."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Allowance:
    """The budget itself is kept in the ledger, where all processes of the run spend it. On the engine's event loop."""

    def __init__(self) -> None:
        self._full: set[str] = set()
        """Checks of which a further evaluation was refused, and for which nothing has come back since."""
        self._out = 0
        """Requests on their way, whose evaluations the server may not take."""
        self._news = asyncio.Event()

    async def has_room(self, check: str) -> bool:
        """Whether an evaluation of the check may be tried. Waits while it was refused, and requests on their way may make room."""
        while check in self._full and self._out:
            self._news.clear()
            await self._news.wait()
        return check not in self._full

    @contextmanager
    def on_its_way(self) -> Iterator[None]:
        """A request whose evaluations are counted, until its reply is recorded."""
        self._out += 1
        try:
            yield
        finally:
            self._out -= 1
            if not self._out:
                self._news.set()

    def refused(self, check: str) -> None:
        """The budget had no room for a single evaluation of the check."""
        self._full.add(check)

    def given_back(self) -> None:
        """Evaluations were not taken, or not charged: there may be room again."""
        self._full.clear()
        self._news.set()
