"""The server's connections: how long one may stay that brings no request, and how many there may be."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE: Final = 15.0
"""Seconds between two looks at a connection; one that owes us the same at both is closed. 16 MiB, the largest body, take
far less on any network that this is for."""
MOST: Final = 2_000
"""Connections: twice as many as one run has requests in flight at most."""
_OTHER_FILES: Final = 100
"""Open files that are no connections: the database's, pipes, libraries."""


class Connection(H11Protocol):
    """A connection that is closed where its client leaves a request unfinished, brings none, or leaves an answer unread."""

    most = MOST

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._seen: object = None
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._opened = self.loop.time()
        self._look = self.loop.call_later(PATIENCE, self._look_again)
        if len(self.connections) > self.most:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._look is not None:
            self._look.cancel()

    def look(self) -> None:
        """Close the connection where nothing has come of what it owed at the last look."""
        unread = self.transport.get_write_buffer_size()
        seen = (self.cycle, self.owes_a_request, unread)
        if seen == self._seen and (self.owes_a_request or unread):
            self.transport.abort()
        self._seen = seen

    @property
    def owes_a_request(self) -> bool:
        """Nothing is asked, or not wholly: the server has nothing to do for it."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def _look_again(self) -> None:
        self.look()
        self._look = self.loop.call_later(PATIENCE, self._look_again)

    def _make_room(self) -> None:
        """One goes that owes a request: sooner one that never brought any, and the oldest of these. Else this one."""
        owing = [other for other in self.connections if isinstance(other, Connection) and other.owes_a_request]
        first = min(owing, key=lambda other: (other.cycle is not None, other._opened), default=self)
        first.transport.abort()


def room_for_connections() -> int:
    """How many there may be, with as many files open as the system lets a process have."""
    try:
        import resource
    except ImportError:  # Windows
        return MOST
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST + _OTHER_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, soft - _OTHER_FILES)
    return MOST
