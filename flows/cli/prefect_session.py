"""The Prefect API that a command works with: the user's own where one is set, else a server that ends with the command."""

from __future__ import annotations

import os
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from urllib.request import getproxies

import httpx

from fieval_tasks.core.errors import RunStopped, in_words
from fieval_tasks.on_prefect.prefect_api import configured_api, require_api, require_settings
from fieval_tasks.on_prefect.prefect_server import OwnServer, environment_set
from fieval_tasks.on_prefect.times import TIMES, PrefectTimes
from fieval_tasks.terminal.door import say
from fieval_tasks.terminal.manner import is_quiet

QUIET_CONSOLE = {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"}
"""The run shows itself; Prefect's log still goes to its server."""


@contextmanager
def prefect_session() -> Iterator[Callable[[], None]]:
    """Yields what waits until the API answers: a server of our own is starting meanwhile.

    Raises RunStopped, with the cause and what to set, where Prefect's client can't work with it.
    """
    _require_proxies()
    with ExitStack() as afterwards:
        afterwards.enter_context(warnings.catch_warnings())
        warnings.filterwarnings("ignore", "Failed to create the Prefect home")  # the server makes it, or says why not
        wanted = {name: value for name, value in QUIET_CONSOLE.items() if name not in os.environ}
        if configured_api():
            afterwards.enter_context(_prefect_set(wanted))
            require_api()
            yield lambda: None
            return
        server = afterwards.enter_context(OwnServer())
        afterwards.enter_context(_prefect_set(wanted | {"PREFECT_API_URL": server.api_url}))
        yield lambda: _wait_for(server)


def _wait_for(server: OwnServer) -> None:
    """Return once the server is up and Prefect's client can work with it."""
    require_settings()  # the server would stumble over the same, with more words
    patiently(server.wait_until_ready)
    require_api()


def patiently(wait: Callable[[], None], times: PrefectTimes = TIMES) -> None:
    """Wait, and say so where it takes longer than a moment."""
    said = () if is_quiet.get() else ("waiting for the Prefect server of this run to start",)
    slow = threading.Timer(times.said_after, lambda: [*map(say, said)])
    slow.daemon = True
    slow.start()
    try:
        wait()
    finally:
        slow.cancel()


def _require_proxies() -> None:
    """Prefect's client must be able to begin with the proxies of the environment, or no run would be seen to its end."""
    try:
        if getproxies():
            httpx.Client().close()
    except (ImportError, ValueError, httpx.InvalidURL) as error:
        raise RunStopped(
            f"Prefect's client can't use a proxy that the environment names ({in_words(error)}), so nothing was sent: "
            "do as it says, or unset that variable (all_proxy, http_proxy or https_proxy, also in capitals)"
        ) from error


@contextmanager
def _prefect_set(variables: Mapping[str, str]) -> Iterator[None]:
    """Prefect goes by these settings within the block, and by the user's own after it, however it ends."""
    with environment_set(variables):
        _have_prefect_look()
        yield
    _have_prefect_look()


def _have_prefect_look() -> None:
    """Prefect reads its settings once, when it is imported: where it is already, again."""
    if "prefect.context" in sys.modules:
        from prefect.context import refresh_global_settings_context
        from prefect.logging.configuration import setup_logging

        refresh_global_settings_context()
        setup_logging()
