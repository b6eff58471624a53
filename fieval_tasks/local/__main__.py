"""`python -m fieval_tasks.local`: the embedded evaluator as a server on this machine."""

from __future__ import annotations

if __name__ == "__main__":
    from fieval_tasks.terminal.door import run_command

    run_command("fieval_tasks.local.__main__", "main")

import argparse
import ipaddress
import logging
import os
import secrets
import shlex
import signal
import socket
import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from fieval_tasks.local import NOTICE, create_app

_USAGE_ERROR: Final = 2
_INTERRUPTED: Final = 130
# Addresses to listen on that are none to go to, and this machine's own in their stead.
_EVERYWHERE: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


class _Usage(Exception):
    """The server cannot start; the text says why, and what to do."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted. Returns the exit code: 0 after SIGTERM, 130 after Ctrl-C, 2 when it cannot start."""
    options = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.WARNING)
    # The server ends in good order on SIGTERM, and then raises it again: this makes the second one quiet.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        if not _is_loopback(options.host):
            _warn_or_refuse(options.host, allow_remote=options.allow_remote)
        fresh = secrets.token_hex(16), secrets.token_hex(16)
        keys = fresh if options.generate_keys else _keys_in_environment()
        with _listen(options.host, options.port) as listener:
            _serve(listener, options, keys)
    except _Usage as problem:
        print(f"fieval_tasks.local: {problem}", file=sys.stderr)
        return _USAGE_ERROR
    except KeyboardInterrupt:
        return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m fieval_tasks.local", description=NOTICE)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: %(default)s)")
    parser.add_argument("--port", type=_port, default=8300, help="0 picks a free one (default: %(default)s)")
    parser.add_argument("--database", type=Path, metavar="FILE", help="SQLite file that outlives the server")
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="evaluations at a time (default: 2)")
    parser.add_argument("--delay", type=float, default=0.0, metavar="S", help="extra seconds per evaluation")
    parser.add_argument("--allow-remote", action="store_true", help="let --host be reachable from other machines")
    parser.add_argument("--name", action="append", default=[], help="a host name clients reach it by; may be repeated")
    parser.add_argument(
        "--generate-keys", action="store_true", help="make fresh keys, and print what points a client here"
    )
    return parser


def _port(text: str) -> int:
    if not 0 <= (port := int(text)) < 2**16:  # getaddrinfo would take it modulo 65,536
        raise argparse.ArgumentTypeError(f"{text} is not a port from 0 to 65535")
    return port


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _warn_or_refuse(host: str, *, allow_remote: bool) -> None:
    if not allow_remote:
        raise _Usage(f"{host} is not a loopback address; add --allow-remote to be reachable from other machines")
    print(
        f"warning: {host} can be reached from other machines, where the keys and the rows travel unencrypted, "
        f"and whoever has the keys may use it",
        file=sys.stderr,
    )


def _keys_in_environment() -> tuple[str, str]:
    keys = [os.environ.get(name, "").strip() for name in ("FI_API_KEY", "FI_SECRET_KEY")]
    if not all(keys):
        raise _Usage("set FI_API_KEY and FI_SECRET_KEY to the keys clients will send, or add --generate-keys")
    return keys[0], keys[1]


def _say_ready(base_url: str, fresh_keys: tuple[str, str] | None) -> None:
    """With fresh keys: as lines to be pasted into a shell, the address among them, else a client goes to the cloud."""
    ready = f"local evaluator ready at {base_url}"
    if fresh_keys is not None:
        exports = {"FI_BASE_URL": base_url, "FI_API_KEY": fresh_keys[0], "FI_SECRET_KEY": fresh_keys[1]}
        ready = "\n".join([*(f"export {name}={shlex.quote(value)}" for name, value in exports.items()), f"# {ready}"])
    print(ready, flush=True)


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=1024)
    except OSError as error:
        raise _Usage(f"cannot listen on {host} port {port} ({error}); choose another --port") from error


def _serve(listener: socket.socket, options: argparse.Namespace, keys: tuple[str, str]) -> None:
    import uvicorn

    from fieval_tasks.local.connection import LIMITS, ServerConnection

    try:
        app = create_app(
            api_key=keys[0],
            secret_key=keys[1],
            database=options.database,
            workers=options.workers,
            delay=options.delay,
            names=[options.host, *options.name],
        )
    except (sqlite3.Error, ValueError) as error:
        told = f" (--database {options.database})" if options.database else ""
        raise _Usage(f"{error}{told}") from error
    ServerConnection.limits = replace(LIMITS, most=LIMITS.that_fit())
    # Faults are logged where they happen; uvicorn would report the calls that the server's end cuts off.
    logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL + 1)
    config = uvicorn.Config(
        app, http=ServerConnection, log_config=None, access_log=False, ws="none", timeout_graceful_shutdown=1
    )

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            # Not sooner: what ends it before it has started is a traceback.
            if self.started:
                _say_ready(_base_url(listener), keys if options.generate_keys else None)

    Server(config).run(sockets=[listener])


def _base_url(listener: socket.socket) -> str:
    """Where a client on this machine reaches it."""
    host, port = listener.getsockname()[:2]
    host = _EVERYWHERE.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
