"""Asking the server about tickets, and what each answer means for the item, its lane and the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic
from typing import NamedTuple

from fieval_tasks.core import policy
from fieval_tasks.core.errors import (
    ApiError,
    NotFound,
    NotTheProtocol,
    RunStopped,
    Throttled,
    TurnedAway,
    Unreachable,
    no_credit,
    stopped_by,
)
from fieval_tasks.core.items import Evaluation, Failed, Pending, Verdict
from fieval_tasks.core.policy import MANY_UNKNOWN, SHARE_UNKNOWN, STRANGE_REPLIES, Remedy, Signal
from fieval_tasks.ledger.changes import Noted
from fieval_tasks.ledger.recording import Recorder
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.pace.pace import Pace, Turn
from fieval_tasks.work.agenda import Answer
from fieval_tasks.work.echoes import Echoes
from fieval_tasks.work.lanes import Lane, Lanes
from fieval_tasks.work.open_items import ItemVerdict, OpenItem, PutBack
from fieval_tasks.work.options import Options


class QuestionResult(NamedTuple):
    """The result of a question: what the agenda learns, and what is to be done."""

    answer: Answer
    verdict: Verdict | None = None
    """To be recorded for the item."""
    put_back: PutBack | None = None
    """The item is to be sent once more."""
    stops: RunStopped | None = None
    """The run is to be stopped with this error."""


class Unknown:
    """Tickets that the server does not know, held back until the others have been asked about: a few fail, many mean another
    server or other keys and stop the run."""

    def __init__(self) -> None:
        self._known: set[int] = set()
        """Items whose tickets the server knew; each counts once, though a slow one is asked about twenty times."""
        self._held: dict[int, ItemVerdict] = {}

    def heard(self, item: OpenItem) -> None:
        """The server knew an item's ticket."""
        self._known.add(item.seq)

    def add(self, item: OpenItem, said: str) -> None:
        self._known.discard(item.seq)
        self._held[item.seq] = (item.seq, item.eval_id, Failed("wait", "lost", said))

    @property
    def are_all(self) -> bool:
        """Whether many tickets are unknown and none was known, so that asking on is no use."""
        return not self._known and len(self._held) >= MANY_UNKNOWN

    @property
    def are_many(self) -> bool:
        """Whether so many tickets are unknown that the run stops (policy.MANY_UNKNOWN and SHARE_UNKNOWN)."""
        n = len(self._held)
        return n >= MANY_UNKNOWN and n > SHARE_UNKNOWN * (n + len(self._known))

    def __str__(self) -> str:
        n, asked = len(self._held), len(self._held) + len(self._known)
        those = f"{n:,} of {asked:,}" if self._known else f"any of the {n:,}"
        return (
            f"the server does not know {those} evaluations that it was asked about: it has lost them, or is not the one that "
            f"took them, or the keys are another workspace's. Nothing is failed for that; if they are gone for good, "
            f"--resume with --retry-failed sends those items once more, each perhaps paid twice"
        )

    def taken(self) -> list[ItemVerdict]:
        """Take out all tickets that are held back."""
        held, self._held = self._held, {}
        return [*held.values()]


@dataclass(eq=False)
class Settlement:
    """Asks the server about tickets, and decides what follows from each answer. On the engine's event loop."""

    lanes: Lanes
    echoes: Echoes
    recorder: Recorder
    pace: Pace
    options: Options
    clock: Callable[[], float] = monotonic
    _unknown: Unknown = field(default_factory=Unknown, init=False)
    _stuck: set[int] = field(default_factory=set, init=False)
    """Items that were flagged as perhaps forgotten by the server (`Peers.is_stuck`)."""
    _failing_since: float | None = field(default=None, init=False)
    _strange_in_a_row: int = field(default=0, init=False)
    _asked_in_vain: set[int] = field(default_factory=set, init=False)
    """Items whose questions failed since the last answer."""
    _is_there: bool | None = field(default=None, init=False)
    """Whether the API answered get-evals since the last answer to a question; None: it was not asked."""
    _left: Counter[str] = field(default_factory=Counter, init=False)
    """Why items were left pending -> how many."""

    async def ask(self, item: OpenItem) -> QuestionResult:
        """Ask about an item's ticket. Raises RunStopped."""
        if self._is_too_late(item):
            return QuestionResult(Answer.UNHEARD)
        async with self.pace.turn("poll", urgent=item.is_urgent) as turn:
            if self._is_too_late(item):
                turn.unused()
                return QuestionResult(Answer.UNHEARD)
            if not item.is_open or item.eval_id is None:  # it was decided while this question waited for its turn
                return QuestionResult(Answer.DROPPED)
            self.recorder.count("polls")
            item.questions += 1
            # No question outlasts its item's timeout, however slowly the bytes of the reply come.
            left = self.options.item_timeout - (self.clock() - item.since)
            try:
                row = await self.lanes.client.in_time(
                    self.lanes.client.get_row(item.eval_id), max(self.options.work_tuning.last_question, left)
                )
            except ApiError as error:
                return await self._unanswered(item, error, turn)
        turn.accepted()
        return await self._answered(item, row)

    def _is_too_late(self, item: OpenItem) -> bool:
        """Whether the item's time is over while the server is away: waiting for its turn to probe would take too long."""
        is_over = self.clock() - item.since >= self.options.item_timeout
        return is_over and item.is_open and item.questions > 0 and self.pace.is_away

    # -- what the server says of the evaluation ------------------------------------------------------------------------

    async def _answered(self, item: OpenItem, row: Evaluation) -> QuestionResult:
        self._unknown.heard(item)
        self._failing_since, self._strange_in_a_row, self._is_there = None, 0, None
        self._asked_in_vain.clear()
        answer, lane = row.verdict, self.lanes.lane_of(item.check)
        self._tell_quota(item, answer, lane)
        if isinstance(answer, Pending):
            return await self._pending(item, lane)
        self._stuck.discard(item.seq)
        # Before anything else: a failure, too, may be another item's.
        if objection := await self.echoes.objection(item, row):
            lane.answered_pack(fully=False)  # perhaps the server mixes up packs
            answer = objection
        if isinstance(answer, Failed):
            return await self._not_judged(item, answer, lane)
        return self._judged(item, answer, lane)

    def _tell_quota(self, item: OpenItem, answer: Pending | Verdict, lane: Lane) -> None:
        if item.sent_at is None:  # sent by an earlier process
            return
        kind = answer.kind if isinstance(answer, Failed) else None
        if isinstance(answer, Pending):
            lane.quota.in_work(item.sent_at)
        elif kind == "rate_limited":
            lane.quota.refused(item.sent_at)
        elif kind != "insufficient_credits":  # which does not show that evaluations sent with it have passed
            lane.quota.granted(item.sent_at)

    def _judged(self, item: OpenItem, verdict: Verdict, lane: Lane) -> QuestionResult:
        lane.peers.done(item, self.clock())
        lane.peers.judged(item)
        lane.breaker.heard(verdict, again=item.redone > 0)
        return QuestionResult(Answer.DECIDED, verdict=verdict)

    async def _pending(self, item: OpenItem, lane: Lane) -> QuestionResult:
        now = self.clock()
        if item.seq in self._stuck or not lane.peers.is_stuck(item, now):
            return QuestionResult(Answer.PENDING)
        said = f"{item.eval_id} is pending after {now - item.since:.0f} s, and later ones are done"
        note = Noted((item.seq,), "orphan", said, utc_now())
        if policy.on_orphan(self.options.on_stuck, redone=item.redone) is Remedy.RESUBMIT:
            lane.breaker.put_back()
            return QuestionResult(Answer.DROPPED, put_back=PutBack(note, counts=True, doubtful=True))
        self._stuck.add(item.seq)
        await self.recorder.record(note)
        return QuestionResult(Answer.PENDING)

    async def _not_judged(self, item: OpenItem, answer: Failed, lane: Lane) -> QuestionResult:
        """The evaluation failed: for a hidden limit, for want of credit, or by itself."""
        chosen = self._remedy(item, answer, lane)
        if chosen is Remedy.FAIL:
            if Signal.of(answer.kind) is Signal.RATE_LIMITED:
                answer = _no_limit(item, answer)
            return self._judged(item, answer, lane)
        note = Noted((item.seq,), answer.kind, f"{item.eval_id}: {answer.message}", utc_now())
        if chosen is Remedy.RESUBMIT:
            lane.peers.judged(item)
            lane.breaker.heard(answer, again=item.redone > 0)
            # the judge ran: how long it took says when to ask about the others
            return QuestionResult(Answer.DECIDED, put_back=PutBack(note, counts=True, failed=answer))
        if chosen is Remedy.STOP and item.sent_at is not None:
            return QuestionResult(Answer.DROPPED, put_back=PutBack(note), stops=no_credit(answer.message))
        self.recorder.count("throttled", chosen is not Remedy.STOP)
        lane.breaker.put_back()
        if chosen is Remedy.LEAVE_PENDING:
            await self.recorder.record(note)
            return QuestionResult(Answer.DROPPED)
        return QuestionResult(
            Answer.DROPPED, put_back=PutBack(note)
        )  # of want of credit, it was from before this process

    def _remedy(self, item: OpenItem, answer: Failed, lane: Lane) -> Remedy:
        if Signal.of(answer.kind) is not Signal.RATE_LIMITED:
            return policy.on_judgement(answer.kind, answer.message, redone=item.redone)
        lane.peers.refused(item)
        had_its_time = lane.peers.has_had_its_time(item, self.clock(), self.options.item_timeout)
        return policy.on_setback(item.overtaken, had_its_time=had_its_time)

    # -- questions that fail -------------------------------------------------------------------------------------------

    async def _unanswered(self, item: OpenItem, error: ApiError, turn: Turn) -> QuestionResult:
        chosen = policy.on_asking(error, age=self.clock() - item.since)
        if chosen is Remedy.STOP:
            raise stopped_by(error) from error
        if isinstance(error, Throttled):
            self.recorder.count("throttled")
            turn.throttled(error.retry_after)
            return QuestionResult(Answer.UNHEARD)
        if chosen is Remedy.FAIL:
            turn.answered()
            return self._worth_nothing(item, error)
        self.recorder.count("retries")
        if error.ambiguous:
            turn.faltered()
        if policy.is_answer(error):
            turn.answered()
        else:
            turn.failed(None if isinstance(error, Unreachable) else item.eval_id)
        await self.recorder.record(Noted((item.seq,), error.kind, error.explained, utc_now()))
        return await self._in_vain(item, error)

    def _worth_nothing(self, item: OpenItem, error: ApiError) -> QuestionResult:
        """The error is the server's final answer about this ticket (unknown or refused)."""
        self._stuck.discard(item.seq)
        if item.resend_if_unknown:
            self.lanes.lane_of(item.check).breaker.put_back()
            note = Noted((item.seq,), error.kind, f"{item.eval_id}: {error.explained}", utc_now())
            return QuestionResult(Answer.DROPPED, put_back=PutBack(note, counts=True, doubtful=True))
        if not isinstance(error, NotFound):
            return QuestionResult(Answer.DROPPED, verdict=Failed("wait", error.kind, str(error)))
        self._unknown.add(item, str(error))
        if self._unknown.are_all:
            raise RunStopped(str(self._unknown)) from error
        return QuestionResult(Answer.DROPPED)

    def unknown(self) -> list[ItemVerdict]:
        """Failures for the unknown tickets, once all others have been asked about. Raises RunStopped if they are many."""
        if self._unknown.are_many:
            raise RunStopped(str(self._unknown))
        return self._unknown.taken()

    async def _in_vain(self, item: OpenItem, error: ApiError) -> QuestionResult:
        """A question failed. If questions keep failing, the run stops, or the few items concerned are left pending."""
        self._asked_in_vain.add(item.seq)
        why = self._hopeless(error)
        if why is None:
            return QuestionResult(Answer.UNHEARD)
        if isinstance(error, Unreachable) or not await self._are_alone():
            raise RunStopped(f"{why}: {error}") from error
        self._left[why] += 1
        await self.recorder.record(Noted((item.seq,), error.kind, f"left pending: {why}", utc_now()))
        return QuestionResult(Answer.DROPPED)

    def _hopeless(self, error: ApiError) -> str | None:
        """Why no answer is to be expected any more; None while one is."""
        is_strange = isinstance(error, (NotTheProtocol, TurnedAway))
        self._strange_in_a_row = self._strange_in_a_row + 1 if is_strange else 0
        if self._strange_in_a_row >= STRANGE_REPLIES:
            return f"{STRANGE_REPLIES} answers in a row are not the evaluation API's"
        now, silence = self.clock(), self.options.work_tuning.silence
        self._failing_since = now if self._failing_since is None else self._failing_since
        return f"no answer for {silence:.0f} s" if now - self._failing_since > silence else None

    async def _are_alone(self) -> bool:
        """Whether only the questions about a few items fail, while the API answers get-evals."""
        if len(self._asked_in_vain) < self.options.pace_tuning.different:
            return True
        if self._is_there is None:
            self._is_there = await self.lanes.client.is_there()
        return self._is_there and len(self._asked_in_vain) < self.options.work_tuning.in_vain

    @property
    def notices(self) -> tuple[str, ...]:
        stuck = (
            f"{len(self._stuck):,} of the items were pending far longer than others that were submitted later and are done: the "
            f"server may have forgotten them; python -m flows.collect asks again, --on-stuck resubmit sends them once more"
        )
        left = (
            f"{n:,} of the items were left pending, for the questions about them alone kept failing: {why}"
            for why, n in self._left.items()
        )
        return (*([stuck] if self._stuck else []), *left, *self.echoes.notices)


def _no_limit(item: OpenItem, answer: Failed) -> Failed:
    """The failure of an item that was answered with `rate_limited` although no limit refuses the others."""
    said = f"failed {item.refusals} times with {answer.message!r}, while most others of its check were judged"
    return Failed(answer.stage, "always_rate_limited", f"{said}: no limit, but perhaps words of its own")
