"""Whether Prefect's client can work with the Prefect API that is configured.

Prefect is imported inside of the functions, since it reads its settings when it is imported.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
from pydantic import BaseModel, ValidationError

from fieval_tasks.core.errors import PlanError, RunStopped, in_words
from fieval_tasks.core.refusals import sentences
from fieval_tasks.on_prefect.prefect_errors import answered, why
from fieval_tasks.on_prefect.times import TIMES, PrefectTimes

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

MOVED = (301, 302, 303)
"""Redirects after which a client repeats a POST as a GET, so that writes would be lost."""


def configured_api() -> str | None:
    """The Prefect API that the user has set, as Prefect itself finds it; None where there is none.

    Prefect takes a second or more to import, so it is asked only where something may name one.
    """
    if (named := os.environ.get("PREFECT_API_URL")) is not None:
        return named or None
    if not may_be_set(os.environ, Path()):
        return None
    require_settings()
    from prefect.settings import get_current_settings

    return get_current_settings().api.url or None


def may_be_set(environment: Mapping[str, str], folder: Path) -> bool:
    """False where none of the places in which Prefect looks for its settings says anything of an API."""
    variables = {name.upper() for name in environment}
    if variables & {"PREFECT_API_URL", "PREFECT_PROFILE", "PREFECT_PROFILES_PATH"}:
        return True
    home = Path(environment.get("PREFECT_HOME") or Path.home() / ".prefect")
    if (folder / home / "profiles.toml").exists() or (folder / "prefect.toml").exists():
        return True
    return any(_speaks_of_prefect(folder / name) for name in (".env", "pyproject.toml"))


def _speaks_of_prefect(file: Path) -> bool:
    try:
        return b"prefect" in file.read_bytes().lower()
    except (FileNotFoundError, IsADirectoryError):
        return False
    except OSError:  # which Prefect's own reading explains
        return True


def require_configured(problem: str, instead: str) -> None:
    """Raises PlanError where no Prefect API is set, and a server of our own would not do."""
    if configured_api() is None:
        raise PlanError(f"{problem}{instead}")


def require_api(times: PrefectTimes = TIMES) -> None:
    """Raises RunStopped, with the cause and what to set, where Prefect's client can't work with the API."""
    require_settings()
    from prefect.settings import PREFECT_API_URL

    from fieval_tasks.on_prefect.changed_settings import with_settings

    url = str(PREFECT_API_URL.value())
    with with_settings("client", max_retries=0), with_settings("api", request_timeout=times.answers_within):
        wrong = _wrong(times)
        whole = f"{url.rstrip('/')}/api"
        if wrong and not url.rstrip("/").endswith("/api"):
            with with_settings("api", url=whole):
                wrong = f"its address lacks /api: set PREFECT_API_URL={whole}" if _wrong(times) is None else wrong
    if wrong:
        raise RunStopped(f"the Prefect API at {url} can't be used, so nothing was sent: {wrong}")


def require_settings() -> None:
    """Raises PlanError where Prefect refuses what it is set to, which it reads as it is imported."""
    try:
        import prefect.context  # noqa: F401
    except ValidationError as error:
        problems = "; ".join(sentences(error, BaseModel))
        raise PlanError(f"Prefect refuses what it is set to ({error.title}): {problems}") from None
    except Exception as error:  # whatever it makes of a file that is not as it should be
        raise PlanError(
            "Prefect can't read what it is set to, in its profiles (PREFECT_PROFILES_PATH, or profiles.toml in PREFECT_HOME), "
            f".env, prefect.toml, pyproject.toml or the environment: {in_words(error)}"
        ) from error


def _wrong(times: PrefectTimes) -> str | None:
    """What is wrong with the API that Prefect is set to at this moment, if anything is."""
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_SSL_CERT_FILE

    try:
        client = get_client(sync_client=True)
    except OSError as error:
        return f"the file that PREFECT_API_SSL_CERT_FILE names, {PREFECT_API_SSL_CERT_FILE.value()}, can't be read ({error})"
    except (ValueError, httpx.InvalidURL) as error:
        return why(error)
    try:
        with client:
            _ask(client)
    except _Other as error:
        return str(error)
    except httpx.TimeoutException:
        return f"it does not answer within {times.answers_within:.0f} s: {_DO}"
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        cause = why(error)
        return cause if cause != in_words(error) else f"it does not answer ({cause}): {_DO}"
    return None


_DO = "start it, or change PREFECT_API_URL (or the profile that sets it); without one a run on a laptop starts its own"


class _Other(Exception):
    """Raised where the server that answers is not a Prefect API that this client can use."""


def _ask(client: SyncPrefectClient) -> None:
    """By calls that want a login, as all do but a look at its health."""
    from prefect.client.base import ServerType

    if client.server_type is ServerType.CLOUD:
        client.read_flows(limit=1)
        return
    hello = client.hello()
    if not _greets(hello):
        raise _Other(answered(hello))
    if any(step.status_code in MOVED for step in hello.history):
        raise _Other(f"it leads on to another address: set PREFECT_API_URL={str(hello.url).removesuffix('/hello')}")
    try:
        client.raise_for_api_version_mismatch()
    except (RuntimeError, ValueError, TypeError) as error:
        raise _Other(why(error.__cause__ or error)) from error


def _greets(hello: httpx.Response) -> bool:
    try:
        return isinstance(hello.json(), str)
    except ValueError:
        return False
