"""What a reply may cost: so many bytes, so much memory, so much time, and no more."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable
from functools import cache

import pytest

from fieval_tasks.api.client import EvalClient
from fieval_tasks.api.reply_bodies import BOUNDS, Bounds
from fieval_tasks.core.errors import ApiError, Lost, NotTheProtocol, Refused, ServerFault, TurnedAway
from fieval_tasks.core.items import Pending
from tests.conftest import PATIENCE
from tests.contract.raw_server import Manner, RawServer, answers, drips, is_silent, says_without_end
from tests.contract.test_client_faults import CALLS, PENDING, TAKEN, failure, get_result, submit

MIB = 2**20
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


SHORT = Bounds(longest=MIB, longest_error=MIB // 4)
"""Bounds that a test reaches in no time."""


# -- bytes ---------------------------------------------------------------------------------------------------------


def test_the_limits_leave_room_for_what_was_seen() -> None:
    assert BOUNDS.longest > 2 * 30 * MIB, "a row that echoes inputs of 30 MiB was seen"
    assert BOUNDS.longest_error > 428_000


ENDLESS = {
    "in chunks": says_without_end(CHUNKED, b"10000\r\n" + b" " * 65_536 + b"\r\n"),
    "of a length that it names": says_without_end(OK + b"Content-Length: 999999999999\r\n\r\n", b" " * 65_536),
    "until it hangs up": says_without_end(b"HTTP/1.0 200 OK\r\n\r\n", b"[" * 65_536),
}


@pytest.mark.parametrize("manner", [pytest.param(m, id=name) for name, m in ENDLESS.items()])
@pytest.mark.parametrize("call", CALLS)
async def test_a_reply_without_end_is_not_the_protocol_and_its_line_is_cut(
    manner: Manner, call: Callable[[EvalClient], Awaitable[object]]
) -> None:
    async with RawServer(manner) as server, server.client(bounds=SHORT) as client:
        with pytest.raises(NotTheProtocol, match="longer than 1 MiB") as told:
            await call(client)
        await asyncio.wait_for(server.was_cut_off.wait(), timeout=PATIENCE)
    assert told.value.ambiguous


@pytest.mark.parametrize(("spare", "is_read"), [(0, True), (1, False)])
async def test_a_reply_may_be_as_long_as_the_limit(spare: int, is_read: bool) -> None:
    body = PENDING + b" " * (MIB - len(PENDING) + spare)
    for reply in (answers(200, body), answers(200, gzip.compress(body), content_encoding="gzip")):
        async with RawServer(reply) as server, server.client(bounds=SHORT) as client:
            if is_read:
                assert await get_result(client) == Pending()
            else:
                with pytest.raises(NotTheProtocol, match="longer than 1 MiB"):
                    await get_result(client)


@cache
def bomb(size: int) -> bytes:
    """So many spaces, packed a thousandfold."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    parts = [packer.compress(b" " * MIB) for _ in range(size // MIB)]
    return b"".join([*parts, packer.flush()])


@pytest.mark.parametrize(("status", "kind"), [(200, NotTheProtocol), (400, TurnedAway), (500, ServerFault)])
async def test_a_gzip_bomb_is_unpacked_no_further_than_the_limit(status: int, kind: type[ApiError]) -> None:
    manner = answers(status, bomb(64 * MIB), content_encoding="gzip")
    tracemalloc.start()
    try:
        error = await failure(manner, bounds=SHORT)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert type(error) is kind
    assert most < 16 * MIB


@pytest.mark.parametrize("encoding", ["br", "zstd", "gzip, gzip", "compress", "\x7f", "a" * 5_000])
async def test_an_encoding_that_nobody_asked_for_is_not_the_protocol(encoding: str) -> None:
    async with RawServer(answers(200, PENDING, content_encoding=encoding)) as server, server.client() as client:
        with pytest.raises(NotTheProtocol, match="can't be decoded") as told:
            await get_result(client)
    assert server.received[0].header("accept-encoding") == "gzip, deflate"
    assert len(str(told.value)) < 200
    assert str(told.value).isprintable()


@pytest.mark.parametrize("window", [15, -15])
async def test_deflate_is_read_as_its_standard_and_as_some_servers_have_it(window: int) -> None:
    packer = zlib.compressobj(9, zlib.DEFLATED, window)
    body = packer.compress(PENDING) + packer.flush()
    async with RawServer(answers(200, body, content_encoding="deflate")) as server, server.client() as client:
        assert await get_result(client) == Pending()


async def test_of_a_long_error_the_status_still_counts() -> None:
    page = b"<html>" + b"x" * 2 * MIB
    assert type(await failure(answers(500, page), bounds=SHORT)) is ServerFault
    refusal = b'{"detail": "no", "padding": "' + b"x" * 1_000 + b'"}'
    assert type(await failure(answers(400, refusal), bounds=SHORT)) is Refused


async def test_endless_replies_to_many_questions_share_what_memory_there_is() -> None:
    bounds = Bounds(longest=4 * MIB, short=MIB // 16)
    async with (
        RawServer(ENDLESS["until it hangs up"]) as server,
        server.client(timeout=PATIENCE, bounds=bounds) as client,
    ):
        tracemalloc.start()
        try:
            ended = await asyncio.gather(*(get_result(client) for _ in range(40)), return_exceptions=True)
            _, most = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert {type(error) for error in ended} == {NotTheProtocol}
    assert most < 80 * MIB, "and not 40 times 4 MiB, or more"


async def test_a_long_reply_waits_for_others_within_its_time_and_a_short_one_for_none() -> None:
    bounds = Bounds(short=1_000)
    stuck = drips(OK + b"Content-Length: 99999\r\n\r\n" + b" " * 2_000, b" ")
    manners = [*[stuck] * (BOUNDS.long_at_once + 1), answers(200, PENDING)]
    async with RawServer(*manners) as server, server.client(timeout=1.0, bounds=bounds) as client:
        calls = []
        for count in range(1, BOUNDS.long_at_once + 2):
            calls.append(asyncio.ensure_future(get_result(client)))
            while len(server.received) < count:
                await asyncio.sleep(0.01)
        assert await get_result(client) == Pending()
        ended = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(error) for error in ended} == {Lost}


ENDLESS_HEADS = {
    "headers": says_without_end(OK, b"X-A: b\r\n" * 1_000),
    "one header": says_without_end(OK + b"X-A: ", b"a" * 10_000),
    "trailers": says_without_end(CHUNKED + b"0\r\n", b"X-A: b\r\n" * 1_000),
}


@pytest.mark.parametrize("manner", [pytest.param(m, id=name) for name, m in ENDLESS_HEADS.items()])
async def test_headers_without_end_are_lost_in_a_short_sentence(manner: Manner) -> None:
    error = await failure(manner)
    assert type(error) is Lost
    assert len(str(error)) <= 3_000


# -- time ----------------------------------------------------------------------------------------------------------

DRIPS = {
    "its status": drips(b"HTTP/1.1 200 O", b"K"),
    "a header": drips(OK + b"X-A: ", b"a"),
    "its body": drips(OK + b"Content-Length: 99999\r\n\r\n", b" "),
    "chunks": drips(CHUNKED, b"1\r\n \r\n"),
    "promises": drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "an error": drips(b"HTTP/1.1 500 So\r\nContent-Length: 99999\r\n\r\n", b" "),
    "nothing": is_silent,
}


async def test_a_server_that_drips_is_lost_at_the_timeout_however_often_it_drips() -> None:
    calls = asyncio.gather(*(failure(manner, timeout=1.0) for manner in DRIPS.values()))
    for what, error in zip(DRIPS, await asyncio.wait_for(calls, timeout=PATIENCE), strict=True):
        assert type(error) is Lost, what
        assert "no whole reply came back within 1 s" in str(error), what


async def test_a_server_that_reads_no_body_holds_nobody_whether_it_answers_or_not() -> None:
    big = {"text": "x" * 16 * MIB}
    deaf = RawServer(answers(200, TAKEN), is_silent, reads_bodies=False)
    async with deaf as server, server.client(timeout=2.0) as client:
        assert await client.submit("t", big) == "e-1"
        with pytest.raises(Lost):
            await client.submit("t", big)


async def test_a_call_that_is_cancelled_stays_cancelled_and_its_line_is_cut() -> None:
    async with RawServer(DRIPS["promises"]) as server, server.client() as client:
        call = asyncio.ensure_future(submit(client))
        while not server.received:
            await asyncio.sleep(0)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await asyncio.wait_for(server.was_cut_off.wait(), timeout=PATIENCE)
