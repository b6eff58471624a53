"""A wait for leave to send ends with the run, whose gates are decided: a tier may hold it up for minutes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from fieval_tasks.work.early_end import EarlyEnd, NotNeeded


def an_end() -> EarlyEnd:
    nobody: Any = None
    return EarlyEnd(lambda: False, *[nobody] * 6)


async def test_a_wait_that_is_over_gives_its_result() -> None:
    assert await an_end().unless_over(asyncio.sleep(0, "leave")) == "leave"


async def test_a_wait_ends_with_the_run_and_takes_nothing_with_it() -> None:
    end, cancelled = an_end(), asyncio.Event()

    async def held_up() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    waiting = asyncio.ensure_future(end.unless_over(held_up()))
    await asyncio.sleep(0)
    end._ended.set()
    with pytest.raises(NotNeeded):
        await waiting
    assert cancelled.is_set()


async def test_an_error_of_a_wait_is_raised() -> None:
    async def refused() -> None:
        raise LookupError

    with pytest.raises(LookupError):
        await an_end().unless_over(refused())
