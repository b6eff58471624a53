"""Lanes: for each check, how its requests are posted and packed, with its quota, its breaker and its items' statistics."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any

from fieval_tasks.api.client import EvalClient
from fieval_tasks.core.items import Failed, Item, Pending, Scored, Ticket
from fieval_tasks.core.mode_choice import other_judges
from fieval_tasks.core.plan import Mode
from fieval_tasks.ledger.run import Run
from fieval_tasks.pace.quota import Quota, Quotas
from fieval_tasks.work.breaker import Breaker
from fieval_tasks.work.open_items import ItemVerdict
from fieval_tasks.work.options import Options
from fieval_tasks.work.peers import Peers

# The API has no limit for items with a single key; 10 were observed to be accepted (api/contract.md).
LONGEST_PACK = 10
"""Items of one key in one request."""
# The API's own limit: "Input lists cannot have more than 3 items".
LONGEST_PACK_OF_KEYS = 3
"""Items of two keys or more in one request."""


def longest_pack(keys: Collection[str]) -> int:
    """How many items with these keys one request may carry."""
    return LONGEST_PACK if len(keys) == 1 else LONGEST_PACK_OF_KEYS


def packs(items: Sequence[Item]) -> list[tuple[Item, ...]]:
    """The items grouped into requests: neighbours of one check with the same keys and parameters, up to the API's limit.

    Two evaluations of one row are never in one request: the judge is to come to the second on its own.
    """
    alike: dict[tuple[str, str, tuple[str, ...], int], list[Item]] = {}
    for item in items:
        params = json.dumps(item.params, sort_keys=True) if item.params else ""
        alike.setdefault((item.check, params, tuple(item.inputs), item.repeat), []).append(item)
    return [
        tuple(group[start : start + longest_pack(keys)])
        for (_, _, keys, _), group in alike.items()
        for start in range(0, len(group), longest_pack(keys))
    ]


@dataclass(frozen=True)
class PostReply:
    """The reply to a POST: tickets, or verdicts of a synchronous call; for some items perhaps neither."""

    tickets: tuple[Ticket, ...]
    verdicts: tuple[ItemVerdict, ...]

    def unnamed(self, items: Sequence[Item]) -> tuple[Item, ...]:
        """The request's items for which the reply has neither; the server may have accepted them."""
        named = {ticket.seq for ticket in self.tickets} | {seq for seq, _, _ in self.verdicts}
        return tuple(item for item in items if item.seq not in named)

    @property
    def shares_ids(self) -> bool:
        """Whether the reply has one eval_id for several items, so that it can't be assigned yet."""
        return len({ticket.eval_id for ticket in self.tickets}) < len(self.tickets)


class Lane:
    """One check on its way to the server. On the engine's event loop."""

    def __init__(
        self,
        client: EvalClient,
        quota: Quota,
        breaker: Breaker,
        params: dict[str, Any],
        options: Options,
    ) -> None:
        self.quota = quota
        self.breaker = breaker
        self.peers = Peers(options.work_tuning)
        self.longest_pack = LONGEST_PACK
        """Items in one request; smaller once the server has refused a longer pack."""
        self._client = client
        self._params = params
        self.is_sync = options.mode is Mode.SYNC
        """Each call waits for its verdict; it could be made asynchronously, and a failed row says more than a failed call."""
        self._within = max(options.work_tuning.shortest_post, options.item_timeout)
        self._tuning = options.work_tuning
        self._faults_in_a_row = 0
        self._pack_is_out = False
        self._pack_answered = asyncio.Event()

    async def post(self, items: Sequence[Item], *, async_instead: bool) -> PostReply:
        """Send these items in one request, for verdicts in a synchronous lane, else for tickets.

        `async_instead`: for tickets in any case.
        """
        # All items of a request have the same check, keys and parameters (`packs`), so the first one's are used.
        client, first = self._client, items[0]
        is_sync = self.is_sync and not (async_instead or self._faults_in_a_row >= self._tuning.turn_async_at)
        inputs, params = [item.inputs for item in items], {**self._params, **first.params}
        if is_sync:
            call = client.evaluate_pack(first.template, inputs, model=first.model, params=params)
            answers = await client.in_time(call, self._within)
        else:
            submission = client.submit_pack(first.template, inputs, model=first.model, params=params)
            answers = [(e, Pending()) for e in await client.in_time(submission, self._within)]
        both = [(item.seq, eval_id, verdict) for item, (eval_id, verdict) in zip(items, answers, strict=True)]
        return PostReply(
            tickets=tuple(Ticket(seq, e) for seq, e, verdict in both if e and isinstance(verdict, Pending)),
            verdicts=tuple((seq, e, verdict) for seq, e, verdict in both if isinstance(verdict, (Scored, Failed))),
        )

    def answered(self, *, well: bool) -> None:
        """Count server faults of synchronous calls. After WorkTuning.turn_async_at in a row the lane submits instead."""
        if self._faults_in_a_row < self._tuning.turn_async_at:
            self._faults_in_a_row = 0 if well else self._faults_in_a_row + 1

    async def may_pack(self) -> None:
        """Wait for the reply to the lane's first pack: it shows whether items may be packed."""
        if self._pack_is_out:
            await self._pack_answered.wait()
        else:
            self._pack_is_out = True
            asyncio.get_running_loop().call_later(self._tuning.first_pack_within, self._pack_answered.set)

    def answered_pack(self, *, fully: bool) -> None:
        """A pack was answered. Not `fully`: its evaluations can't be assigned to items, so the lane packs no more."""
        self._pack_answered.set()
        if not fully:
            self.longest_pack = 1


@dataclass(eq=False)
class Lanes:
    """A run's lanes, each created when first needed. Lanes of one judge model share its quota, as at the platform."""

    run: Run
    client: EvalClient
    quotas: Quotas
    options: Options
    _lanes: dict[str, Lane] = field(default_factory=dict, init=False)
    _no_longer: str | None = field(default=None, init=False)

    def lane_of(self, check: str) -> Lane:
        if check not in self._lanes:
            judge, quota = self.run.check(check), self.quotas.quota_of(self.run.check(check).model)
            breaker = Breaker(
                awaits_verdicts=self.options.mode is not Mode.SUBMIT,
                other_judges=other_judges(judge.template, judge.model, judge.models),
                tuning=self.options.work_tuning,
            )
            self._lanes[check] = Lane(self.client, quota, breaker, dict(judge.params), self.options)
        return self._lanes[check]

    def end(self, why: str) -> None:
        """Send nothing more, for nothing more is needed; what the server has taken is still asked about."""
        self._no_longer = why
        for lane in self._lanes.values():
            lane.breaker.stop(why)

    @property
    def stopped(self) -> dict[str, str]:
        """Check -> why its lane was stopped, though more of it was needed."""
        stopped = {check: lane.breaker.stopped for check, lane in self._lanes.items()}
        return {check: why for check, why in stopped.items() if why and why != self._no_longer}
