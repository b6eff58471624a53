"""Open tickets -> verdicts: one question at a time, and what each answer means."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from time import monotonic

from fieval_tasks.client import EvalClient
from fieval_tasks.errors import ApiError, NotFound, Refused, RunStopped, Throttled
from fieval_tasks.items import Failed, Item, Pending, Verdict
from fieval_tasks.pace import Pace, Turn
from fieval_tasks.polling import Answer
from fieval_tasks.quota import Quota
from fieval_tasks.recording import Recorder
from fieval_tasks.store import Requeued
from fieval_tasks.submission import Told

GRACE_FOR_UNKNOWN = 30.0
"""Seconds for which a fresh ticket may be unknown to the server."""
SILENCE = 120.0
"""Seconds of failing questions, with no answer in between, after which the server counts as gone."""


class Settlement:
    """Asks the server about one ticket, and sees to what it says."""

    def __init__(
        self,
        client: EvalClient,
        recorder: Recorder,
        pace: Pace,
        *,
        quota_of: Callable[[str], Quota],
        decide: Callable[[Sequence[Told]], Awaitable[None]],
        send_again: Callable[[int], None],
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._pace = pace
        self._quota_of = quota_of
        self._decide = decide
        self._send_again = send_again
        self._last_answer = monotonic()
        self._sent_at: dict[int, float] = {}

    def sent(self, item: Item, at: float) -> None:
        """The item's submission began then, by the pace's clock."""
        self._sent_at[item.seq] = at

    async def ask(self, seq: int, eval_id: str, check: str, age: float) -> Answer:
        """One question for one ticket. Raises RunStopped."""
        async with self._pace.turn("poll") as turn:
            self._recorder.count("polls")
            try:
                answer = await self._client.get_result(eval_id)
            except ApiError as error:
                return await self._not_told(seq, eval_id, age, error, turn)
        turn.accepted()
        self._last_answer = monotonic()
        self._tell_quota(seq, check, answer)
        if isinstance(answer, Pending):
            return Answer.PENDING
        self._sent_at.pop(seq, None)
        if isinstance(answer, Failed) and answer.kind in ("rate_limited", "insufficient_credits"):
            return await self._not_judged(seq, answer)
        await self._decide([(seq, eval_id, answer)])
        return Answer.DECIDED

    def _tell_quota(self, seq: int, check: str, answer: Pending | Verdict) -> None:
        sent_at = self._sent_at.get(seq)
        if sent_at is None:  # found open on resuming: sent by a process before this one
            return
        quota = self._quota_of(check)
        if isinstance(answer, Pending):
            quota.in_work(sent_at)
        elif isinstance(answer, Failed) and answer.kind == "rate_limited":
            quota.refused(sent_at)
        else:
            quota.granted(sent_at)

    async def _not_told(self, seq: int, eval_id: str, age: float, error: ApiError, turn: Turn) -> Answer:
        if error.stops_run:
            raise RunStopped(str(error)) from error
        if isinstance(error, Throttled):
            self._recorder.count("throttled")
            turn.throttled(error.retry_after)
            return Answer.UNHEARD
        if isinstance(error, Refused) and not (isinstance(error, NotFound) and age < GRACE_FOR_UNKNOWN):
            kind = "lost" if isinstance(error, NotFound) else error.kind
            await self._decide([(seq, eval_id, Failed("wait", kind, str(error)))])
            return Answer.DROPPED
        self._recorder.count("retries")
        if error.ambiguous:
            turn.faltered()
        if monotonic() - self._last_answer > SILENCE:
            raise RunStopped(f"no answer for {SILENCE:.0f} s: {error}") from error
        return Answer.UNHEARD

    async def _not_judged(self, seq: int, answer: Failed) -> Answer:
        """The platform's own limits show in the row: the item goes back to the queue, or the run stops."""
        await self._recorder.record(Requeued(seq))
        if answer.kind == "insufficient_credits":
            raise RunStopped(f"no credit left ({answer.message}): top up the account, then resume")
        self._recorder.count("throttled")
        self._send_again(seq)
        return Answer.DROPPED
