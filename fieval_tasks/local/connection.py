"""The server's connections: how long one may stay that brings no request, and how many there may be."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol


@dataclass(frozen=True)
class ConnectionLimits:
    patience: float = 15.0
    """Seconds between two looks at a connection; one that owes us the same at both is closed. 16 MiB, the largest body,
    take far less on any network that this is for."""
    most: int = 2_000
    """Connections: twice as many as one run has requests in flight at most."""
    other_files: int = 100
    """Open files that are no connections: the database's, pipes, libraries."""

    def that_fit(self) -> int:
        """How many connections there may be, with as many files open as the system lets a process have."""
        try:
            import resource
        except ImportError:  # Windows
            return self.most
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = self.most + self.other_files
        if soft == resource.RLIM_INFINITY or soft >= wanted:
            return self.most
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        return max(1, soft - self.other_files)


LIMITS: Final = ConnectionLimits()


class ServerConnection(H11Protocol):
    """A connection that is closed where its client leaves a request unfinished, brings none, or leaves an answer unread."""

    limits = LIMITS

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._seen: object = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._opened = self.loop.time()
        self._look = self.loop.call_later(self.limits.patience, self._look_again)
        if len(self.connections) > self.limits.most:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
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
        self._look = self.loop.call_later(self.limits.patience, self._look_again)

    def _make_room(self) -> None:
        """One goes that owes a request: sooner one that never brought any, and the oldest of these. Else this one."""
        owing = [other for other in self.connections if isinstance(other, ServerConnection) and other.owes_a_request]
        first = min(owing, key=lambda other: (other.cycle is not None, other._opened), default=self)
        first.transport.abort()
