"""The server's connections: closing those that stand still, and bounding their number."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any, Final

from uvicorn.protocols.http.h11_impl import H11Protocol


@dataclass(frozen=True)
class ConnectionLimits:
    """The bounds of the server's connections."""

    # The largest body, 16 MiB, takes far less on any network that this server is for.
    patience: float = 15.0
    """Seconds between two checks of a connection; one that made no progress between them is closed."""
    # Twice as many as one run has requests under way at most.
    most: int = 2_000
    """Connections at the same time."""
    # The database's, pipes, libraries.
    other_files: int = 100
    """Open files of the process that are not connections."""

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
    """A connection that is closed if its client sends no request, does not finish one, or does not read the answer."""

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
        """Close the connection if it made no progress since the last check."""
        unread = self.transport.get_write_buffer_size()
        seen = (self.cycle, self.owes_a_request, unread)
        if seen == self._seen and (self.owes_a_request or unread):
            self.transport.abort()
        self._seen = seen

    @property
    def owes_a_request(self) -> bool:
        """Whether the server waits for the client: no request has come, or only a part of one."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    def _look_again(self) -> None:
        self.look()
        self._look = self.loop.call_later(self.limits.patience, self._look_again)

    def _make_room(self) -> None:
        """Close one connection that waits for a request: first the oldest one that never sent any; if none waits, this one."""
        owing = [other for other in self.connections if isinstance(other, ServerConnection) and other.owes_a_request]
        first = min(owing, key=lambda other: (other.cycle is not None, other._opened), default=self)
        first.transport.abort()
