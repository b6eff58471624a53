"""Ways to a server that count the calls which go through them: one for each process whose calls are to be told apart."""

from __future__ import annotations

import asyncio
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_CALL = re.compile(rb"^(GET|POST|PUT|PATCH|DELETE) (/\S*) HTTP/1\.1\r$", re.MULTILINE)
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}")


class Relay:
    """Passes on, both ways, whatever is said to its port."""

    def __init__(self, to: int) -> None:
        self.calls: Counter[str] = Counter()
        """`POST /api/flow_runs/ID/set_state` -> how many."""
        self.port = 0
        self._to = to

    async def listen(self) -> None:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]

    async def _serve(self, heard: asyncio.StreamReader, told: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection("127.0.0.1", self._to)
        await asyncio.gather(self._pass(heard, back, counted=True), self._pass(there, told))

    async def _pass(self, source: asyncio.StreamReader, to: asyncio.StreamWriter, *, counted: bool = False) -> None:
        with suppress(ConnectionError):  # a process that is killed hangs up as it likes
            while said := await source.read(1 << 16):
                if counted:
                    self.calls.update(f"{one[1].decode()} {_path(one[2].decode())}" for one in _CALL.finditer(said))
                to.write(said)
                await to.drain()
        to.close()


def _path(target: str) -> str:
    return _ID.sub("ID", target.partition("?")[0])


@contextmanager
def relays(to: int, count: int) -> Iterator[list[Relay]]:
    """So many ways to the port, open until the block ends."""
    loop, ways = asyncio.new_event_loop(), [Relay(to) for _ in range(count)]
    for way in ways:
        loop.run_until_complete(way.listen())
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield ways
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
