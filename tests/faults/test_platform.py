"""The platform that the fault suite trusts: each fault is what it says, with and without a socket."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from fieval_tasks.api.client import Credentials, EvalClient
from fieval_tasks.core.errors import (
    ApiError,
    GatewayFault,
    KeysRefused,
    Lost,
    NotTheProtocol,
    Refused,
    ServerFault,
    Throttled,
)
from fieval_tasks.core.items import Failed, Pending, Scored
from tests.faults.account import Account
from tests.faults.driving import inputs
from tests.faults.mix import REFUSALS, SILENCES, TAKEN, Mix
from tests.faults.platform import (
    API_KEY,
    IN_CONTEXT,
    SECRET_KEY,
    FaultyPlatform,
    reason,
    verdict,
)
from tests.faults.running import Server, serving
from tests.faults.transport import FaultyTransport

SEEN_AS: dict[str, type[ApiError]] = {
    "500": ServerFault, "503": Throttled, "429": Throttled, "drop": Lost, "html": NotTheProtocol, "502": GatewayFault,
    "truncated": NotTheProtocol, "cut": Lost, "hang": Lost,
}  # fmt: skip
PACK = [inputs(IN_CONTEXT, n) for n in range(3)]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("server"), Mix()) as running:
        yield running


@pytest.fixture
async def over_socket(server: Server) -> AsyncIterator[EvalClient]:
    credentials = Credentials(API_KEY, SECRET_KEY, base_url=server.url)
    async with EvalClient(credentials, timeout=5.0) as client:  # a busy machine may take seconds to connect
        yield client


@pytest.fixture
def account() -> Iterator[Account]:
    with closing(Account()) as opened:
        yield opened


def near(mix: Mix, account: Account) -> EvalClient:
    """A client of such a platform, without a socket."""
    return FaultyTransport(FaultyPlatform(mix, account)).client()


@pytest.mark.parametrize("fault", [*REFUSALS, *SILENCES, *(TAKEN + silence for silence in SILENCES)])
async def test_each_fault_of_a_post_is_what_it_says_with_and_without_a_socket(
    fault: str, account: Account, server: Server, over_socket: EvalClient
) -> None:
    mix = Mix(post={fault: 1.0})
    await asyncio.to_thread(server.become, mix)
    before = server.account.items_accepted()
    for client in (near(mix, account), over_socket):
        with pytest.raises(ApiError) as raised:
            await client.submit_pack(IN_CONTEXT, PACK)
        assert type(raised.value) is SEEN_AS[fault.removeprefix(TAKEN)]
    taken = 3 if fault.startswith(TAKEN) else 0
    assert account.items_accepted() == server.account.items_accepted() - before == taken


@pytest.mark.parametrize("fault", [*REFUSALS, *SILENCES])
async def test_each_fault_of_a_question_is_what_it_says(fault: str, account: Account) -> None:
    client = near(Mix(get={fault: 1.0}), account)
    told = await client.submit_pack(IN_CONTEXT, PACK)
    with pytest.raises(ApiError) as raised:
        await client.get_result(told[0])
    assert type(raised.value) is SEEN_AS[fault]
    assert account.times_asked(told[0]) == 1


@pytest.mark.parametrize("camel_case", [False, True])
async def test_each_item_of_a_pack_gets_the_verdict_on_its_own_text(camel_case: bool, account: Account) -> None:
    pack = [inputs(IN_CONTEXT, n) for n in (3, 4, 5)]
    client = near(Mix(camel_case=camel_case), account)
    told = await client.submit_pack(IN_CONTEXT, pack)
    found = [await client.get_result(eval_id) for eval_id in told]
    assert [(f.value, f.reason) for f in found if isinstance(f, Scored)] == [(verdict(i), reason(i)) for i in pack]
    assert [i["output"] for i in pack] == [e.text for e in account.evaluations()]
    assert len({reason(i) for i in pack}) == 3


@pytest.mark.parametrize(
    ("fate", "answer"),
    [
        ("fails", "evaluation_error"),
        ("rate_limited", "rate_limited"),
        ("hollow", "hollow"),
        ("stuck", None),
        ("odd", "scored"),
    ],
)
async def test_each_fate_is_told_as_the_contract_has_it(fate: str, answer: str | None, account: Account) -> None:
    client = near(Mix(rows={fate: 1.0}), account)
    told = await client.submit_pack(IN_CONTEXT, PACK)
    found = await client.get_result(told[0])
    if answer is None:
        assert isinstance(found, Pending)
    elif answer == "scored":
        assert isinstance(found, Scored)
    else:
        assert isinstance(found, Failed)
        assert found.kind == answer


async def test_credit_lasts_for_as_many_evaluations_as_it_says_and_refused_ones_are_not_charged(
    account: Account,
) -> None:
    client = near(Mix(credit=2), account)
    told = await client.submit_pack(IN_CONTEXT, PACK)
    found = [await client.get_result(eval_id) for eval_id in told]
    assert [getattr(f, "kind", "judged") for f in found] == ["judged", "judged", "insufficient_credits"]
    assert account.charged() == 2


async def test_an_eval_id_is_unknown_for_as_long_as_the_mix_says(account: Account) -> None:
    client = near(Mix(unknown_for=60.0), account)
    told = await client.submit_pack(IN_CONTEXT, PACK)
    with pytest.raises(Refused, match="Evaluation not found"):
        await client.get_result(told[0])


async def test_keys_are_refused_after_so_many_requests(account: Account) -> None:
    client = near(Mix(keys_refused_after=1), account)
    told = await client.submit_pack(IN_CONTEXT, PACK)
    with pytest.raises(KeysRefused):
        await client.get_result(told[0])


async def test_a_refused_mapping_is_named_and_costs_the_platform_nothing(account: Account) -> None:
    client = near(Mix(refuses="Missing required keys: question"), account)
    with pytest.raises(Refused, match="Missing required keys: question"):
        await client.submit_pack(IN_CONTEXT, PACK)
    assert account.items_accepted() == 0


def test_the_same_seed_draws_the_same_faults_whatever_the_order() -> None:
    mix = Mix(seed=3, post={"500": 0.3, "drop": 0.3})
    bodies = [f"{n}".encode() for n in range(50)]
    drawn = {body: mix.post_fault(body, 0) for body in bodies}
    assert drawn == {body: mix.post_fault(body, 0) for body in reversed(bodies)}
    assert set(drawn.values()) == {None, "500", "drop"}
    assert drawn != {body: replace(mix, seed=4).post_fault(body, 0) for body in bodies}


def test_a_mix_can_be_written_down() -> None:
    mix = Mix(seed=3, post={"500": 0.3}, takes=(0.1, 0.2), credit=5)
    assert Mix.parse(str(mix)) == mix


def test_a_server_that_was_killed_comes_back_with_all_it_knew(tmp_path: Path) -> None:
    with serving(tmp_path, Mix()) as server:
        first, [eval_id] = server.url, asyncio.run(submit_one(server))
        server.kill()
        server.start()
        assert server.url == first
        assert asyncio.run(ask(server, eval_id)) == reason(PACK[0])


async def submit_one(server: Server) -> list[str]:
    async with EvalClient(Credentials(API_KEY, SECRET_KEY, base_url=server.url)) as client:
        return await client.submit_pack(IN_CONTEXT, PACK[:1])


async def ask(server: Server, eval_id: str) -> str | None:
    async with EvalClient(Credentials(API_KEY, SECRET_KEY, base_url=server.url)) as client:
        found = await client.get_result(eval_id)
        return found.reason if isinstance(found, Scored) else None
