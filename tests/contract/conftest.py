from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest

from fieval_tasks.api.client import EvalClient
from tests.contract.platforms import (
    WHY_NOT_LIVE,
    Platform,
    in_process,
    live,
    local_server,
    may_go_live,
    over_socket,
    recorded,
)

LIVE = pytest.param("live", marks=() if may_go_live() else pytest.mark.skip(WHY_NOT_LIVE))


@pytest.fixture(scope="session")
def local_server_url() -> Iterator[str]:
    with local_server() as base_url:
        yield base_url


@pytest.fixture(params=["recorded", "in-process", "socket", LIVE])
def platform(request: pytest.FixtureRequest) -> Platform:
    if request.param == "socket":
        return over_socket(request.getfixturevalue("local_server_url"))
    return {"recorded": recorded, "in-process": in_process, "live": live}[request.param]()


@pytest.fixture
async def client(platform: Platform) -> AsyncIterator[EvalClient]:
    async with platform.client() as client:
        yield client
