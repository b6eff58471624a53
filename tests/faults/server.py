"""The platform behind a real socket, in a process of its own: `python -m tests.faults.server --database FILE`.

It prints its URL. `PUT /mix` replaces its character; everything it saw is in the database, also after it was killed.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from pathlib import Path

from tests.faults.account import Account
from tests.faults.mix import Mix
from tests.faults.platform import Asked, FaultyPlatform, Reply


async def serve(platform: FaultyPlatform, port: int) -> None:
    """Until the process ends."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while not writer.is_closing() and (asked := await _read(reader)):
                await _send(writer, await _reply(platform, asked))
        except ConnectionError:  # the client was killed
            writer.transport.abort()
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", port, backlog=1000)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", flush=True)
    await server.serve_forever()


async def _reply(platform: FaultyPlatform, asked: Asked) -> Reply:
    if asked.method != "PUT":
        return await platform.answered(asked)
    platform.mix = Mix.parse(asked.body.decode())
    return Reply(200, b"{}")


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    line, *lines = head.decode("latin-1").rstrip().split("\r\n")
    method, target, _ = line.split(" ")
    headers = {name.lower(): value for name, _, value in (text.partition(": ") for text in lines)}
    return Asked(method, target, headers, await reader.readexactly(int(headers.get("content-length", "0"))))


async def _send(writer: asyncio.StreamWriter, reply: Reply) -> None:
    if reply.manner == "hang":
        await asyncio.Event().wait()
    if reply.manner != "drop":
        fields = {**reply.headers, "content-length": str(len(reply.body))}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        body = reply.body[: len(reply.body) // 2] if reply.manner == "cut" else reply.body
        writer.write(f"HTTP/1.1 {reply.status} So\r\n{head}\r\n".encode() + body)
        await writer.drain()
    if reply.manner != "whole":
        writer.close()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.faults.server", description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--database", type=Path, required=True)
    parser.add_argument("--mix", type=Mix.parse, default=Mix(), help="JSON, as str(Mix) writes it")
    options = parser.parse_args()
    try:
        asyncio.run(serve(FaultyPlatform(options.mix, Account(options.database)), options.port))
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
