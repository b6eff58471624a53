"""Open tickets -> verdicts: one question at a time, and what each answer means."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Collection, Sequence
from math import inf
from time import monotonic

from fieval_tasks.api.client import EvalClient
from fieval_tasks.core import policy
from fieval_tasks.core.errors import (
    ApiError,
    FievalError,
    NotFound,
    NotTheProtocol,
    RunStopped,
    Throttled,
    TurnedAway,
    Unreachable,
    no_credit,
    stopped_by,
)
from fieval_tasks.core.items import Failed, Pending, Verdict
from fieval_tasks.core.policy import SILENCE, STRANGE_REPLIES, Remedy, Signal
from fieval_tasks.ledger.changes import Asked, Noted, Requeued
from fieval_tasks.ledger.recording import Recorder
from fieval_tasks.ledger.schema import utc_now
from fieval_tasks.pace.pace import Pace, Turn
from fieval_tasks.pace.pace_tuning import TUNING
from fieval_tasks.work.agenda import Answer
from fieval_tasks.work.echoes import Echoes, Told
from fieval_tasks.work.open_items import Held, OpenItems
from fieval_tasks.work.orphans import Orphans
from fieval_tasks.work.setbacks import Setbacks
from fieval_tasks.work.submission import Lane
from fieval_tasks.work.unknown import Stranger, Unknown

LAST_QUESTION = 5.0
"""Seconds that a question has at least: the one at an item's deadline is asked, too, and the reply is a few hundred bytes."""
IN_VAIN = 100
"""Items whose questions fail in a row before the run stops though the API answers otherwise: a firewall that dislikes some rows
dislikes few, and to ask about thousands in vain, at each resume, helps nobody."""


class Settlement:
    """Asks the server about one ticket, and sees to what it says."""

    def __init__(
        self,
        client: EvalClient,
        recorder: Recorder,
        pace: Pace,
        *,
        open_items: OpenItems,
        echoes: Echoes,
        lane_of: Callable[[str], Lane],
        decide: Callable[[Sequence[Told]], Awaitable[None]],
        send_again: Callable[[int, Told | None], None],
        on_stop: Callable[[FievalError], None],
        resendable: Collection[int] = (),
        item_timeout: float = inf,
        orphans: policy.OnStuck = "wait",
    ) -> None:
        """`decide` gets verdicts; `send_again` gets an item that is to be sent once more, and what failed, to stand if it
        is not bought again; `resendable`: items that are sent again, once, where their ticket turns out to be worth nothing;
        `item_timeout`: seconds from an item's first submission after which a limit does not have it put back for ever.
        """
        self._client = client
        self._recorder = recorder
        self._pace = pace
        self._open_items = open_items
        self._echoes = echoes
        self._lane_of = lane_of
        self._decide = decide
        self._send_again = send_again
        self._on_stop = on_stop
        self._resendable = set(resendable)
        self._unknown = Unknown()
        self._item_timeout = item_timeout
        self._orphan_policy = orphans
        self._setbacks: defaultdict[str, Setbacks] = defaultdict(Setbacks)
        self._orphans: defaultdict[str, Orphans] = defaultdict(Orphans)
        self.orphans: set[int] = set()
        """Items whose evaluation the server seems to have forgotten."""
        self._failing_since: float | None = None
        self._strange_in_a_row = 0
        self._asked_in_vain: set[int] = set()
        """Items whose questions failed since the last answer."""
        self._is_there: bool | None = None
        """Whether the API answered something else since then; None: it was not asked."""
        self._left: Counter[str] = Counter()
        """Why items were left pending -> how many."""

    async def ask(self, seq: int, eval_id: str, check: str, age: float, *, urgent: bool = False) -> Answer:
        """Ask for a ticket of that age in seconds; what it brought. `urgent`: before others. Raises RunStopped."""
        if self._is_too_late(seq, eval_id, age):
            return Answer.UNHEARD
        queued_at = monotonic()
        async with self._pace.turn("poll", urgent=urgent) as turn:
            waited = monotonic() - queued_at
            if self._is_too_late(seq, eval_id, age + waited):
                turn.unused()
                return Answer.UNHEARD
            left = self._item_timeout - age - waited
            held = self._open_items.behind(seq, eval_id)
            if held is None:  # it is closed: whatever it would say was heard
                return Answer.DROPPED
            self._recorder.count("polls")
            held.questions += 1
            try:
                row = await self._client.in_time(self._client.get_row(eval_id), max(LAST_QUESTION, left))
            except ApiError as error:
                return await self._not_told(seq, eval_id, check, age, error, turn, held)
        turn.accepted()
        self._unknown.heard(seq)
        self._failing_since, self._strange_in_a_row = None, 0
        self._asked_in_vain.clear()
        self._is_there = None
        answer = row.verdict
        self._tell_quota(held, check, answer)
        if isinstance(answer, Pending):
            return await self._pending(seq, eval_id, check, age, held)
        self.orphans.discard(seq)
        if objection := await self._echoes.objection(seq, eval_id, held.digest, row):
            self._lane_of(check).answered_pack(fully=False)  # it may be packs that the server mixes up
            answer = objection
        if isinstance(answer, Failed):
            return await self._not_judged(seq, eval_id, check, age, answer, held)
        return await self._judged(seq, eval_id, check, age, answer, held.redone)

    def _is_too_late(self, seq: int, eval_id: str, age: float) -> bool:
        """Its time is over, and the server away: to wait until its turn to probe came would take it far beyond."""
        held = self._open_items.behind(seq, eval_id)
        was_asked = held is not None and held.questions > 0
        return was_asked and self._pace.is_away and age >= self._item_timeout

    async def _judged(self, seq: int, eval_id: str, check: str, age: float, verdict: Verdict, redone: int) -> Answer:
        now = monotonic()
        self._orphans[check].settled(now - age, now)
        self._setbacks[check].judged(seq)
        self._lane_of(check).breaker.heard(verdict, again=redone > 0)
        await self._decide([(seq, eval_id, verdict)])
        return Answer.DECIDED

    def _tell_quota(self, held: Held, check: str, answer: Pending | Verdict) -> None:
        sent_at = held.sent_at
        if sent_at is None:  # found open on resuming: sent by a process before this one
            return
        quota = self._lane_of(check).quota
        if isinstance(answer, Pending):
            quota.in_work(sent_at)
        elif isinstance(answer, Failed) and answer.kind == "rate_limited":
            quota.refused(sent_at)
        elif isinstance(answer, Failed) and answer.kind == "insufficient_credits":
            return  # no word that what was sent with it has passed: that would let more go out in vain
        else:
            quota.granted(sent_at)

    async def _pending(self, seq: int, eval_id: str, check: str, age: float, held: Held) -> Answer:
        now = monotonic()
        if seq in self.orphans or not self._orphans[check].has(now - age, now):
            return Answer.PENDING
        self.orphans.add(seq)
        chosen = policy.on_orphan(self._orphan_policy, redone=held.redone)
        note = Noted((seq,), "orphan", f"{eval_id} is pending after {age:.0f} s, and later ones are done", utc_now())
        if chosen is not Remedy.RESUBMIT:
            await self._recorder.record(note)
            return Answer.PENDING
        self.orphans.discard(seq)
        self._lane_of(check).breaker.put_back()
        return await self._sent_again(seq, held, note, counts=True, doubtful=True)

    async def _not_told(
        self, seq: int, eval_id: str, check: str, age: float, error: ApiError, turn: Turn, held: Held
    ) -> Answer:
        chosen = policy.on_asking(error, age=age)
        if chosen is Remedy.STOP:
            raise stopped_by(error) from error
        if isinstance(error, Throttled):
            self._recorder.count("throttled")
            turn.throttled(error.retry_after)
            return Answer.UNHEARD
        if chosen is Remedy.FAIL:
            turn.answered()
            return await self._worth_nothing(seq, eval_id, check, error, held)
        self._recorder.count("retries")
        if error.ambiguous:
            turn.faltered()
        if policy.is_answer(error):
            turn.answered()
        else:
            turn.failed(None if isinstance(error, Unreachable) else eval_id)
        await self._recorder.record(Noted((seq,), error.kind, error.explained, utc_now()))
        return await self._in_vain(seq, error)

    async def _worth_nothing(self, seq: int, eval_id: str, check: str, error: ApiError, held: Held) -> Answer:
        """The server will never say what became of this ticket."""
        self.orphans.discard(seq)
        if seq in self._resendable:
            self._resendable.discard(seq)
            self._lane_of(check).breaker.put_back()
            note = Noted((seq,), error.kind, f"{eval_id}: {error.explained}", utc_now())
            return await self._sent_again(seq, held, note, counts=True, doubtful=True)
        if isinstance(error, NotFound):
            self._unknown.add(Stranger(seq, eval_id, str(error)))
            if self._unknown.only:
                raise RunStopped(str(self._unknown)) from error
        else:
            await self._decide([(seq, eval_id, Failed("wait", error.kind, str(error)))])
        return Answer.DROPPED

    async def fail_unknown(self) -> None:
        """Once all others have been asked about: fail those that the server does not know. Raises RunStopped if they are many."""
        if self._unknown.too_many:
            raise RunStopped(str(self._unknown))
        failed = [(one.seq, one.eval_id, Failed("wait", "lost", one.told)) for one in self._unknown.taken()]
        if failed:
            await self._decide(failed)

    async def _in_vain(self, seq: int, error: ApiError) -> Answer:
        """A question failed. Once that is hopeless, the run stops, or a few items alone are left pending."""
        self._asked_in_vain.add(seq)
        why = self._hopeless(error)
        if why is None:
            return Answer.UNHEARD
        if isinstance(error, Unreachable) or not await self._are_alone():
            raise RunStopped(f"{why}: {error}") from error
        self._left[why] += 1
        await self._recorder.record(Noted((seq,), error.kind, f"left pending: {why}", utc_now()))
        return Answer.DROPPED

    async def _are_alone(self) -> bool:
        """It is these few items' questions that fail, and not the server's answers to whatever is asked."""
        if len(self._asked_in_vain) < TUNING.different:
            return True
        if self._is_there is None:
            self._is_there = await self._client.is_there()
        return self._is_there and len(self._asked_in_vain) < IN_VAIN

    @property
    def notices(self) -> tuple[str, ...]:
        return tuple(
            f"{n:,} of the items were left pending, for the questions about them alone kept failing: {why}"
            for why, n in self._left.items()
        )

    def _hopeless(self, error: ApiError) -> str | None:
        """Why nothing more is to be hoped for, where that is so."""
        is_strange = isinstance(error, (NotTheProtocol, TurnedAway))
        self._strange_in_a_row = self._strange_in_a_row + 1 if is_strange else 0
        if self._strange_in_a_row >= STRANGE_REPLIES:
            return f"{STRANGE_REPLIES} answers in a row are not the evaluation API's"
        now = monotonic()
        self._failing_since = now if self._failing_since is None else self._failing_since
        return f"no answer for {SILENCE:.0f} s" if now - self._failing_since > SILENCE else None

    async def _not_judged(self, seq: int, eval_id: str, check: str, age: float, answer: Failed, held: Held) -> Answer:
        """The evaluation failed: for a limit that hides, for want of credit, or by itself."""
        breaker = self._lane_of(check).breaker
        chosen, answer = self._remedy(seq, check, age, answer, held.redone)
        if chosen is Remedy.FAIL:
            return await self._judged(seq, eval_id, check, age, answer, held.redone)
        note = Noted((seq,), answer.kind, f"{eval_id}: {answer.message}", utc_now())
        if chosen is Remedy.STOP and held.sent_at is not None:  # else it is news from before this process: try again
            reason = no_credit(answer.message)
            self._on_stop(reason)  # before this is committed: meanwhile more would be sent in vain
            await self._put_back(seq, held, note)
            raise reason
        if chosen is Remedy.RESUBMIT:
            self._setbacks[check].judged(seq)
            breaker.heard(answer, again=held.redone > 0)
            await self._sent_again(seq, held, note, counts=True, failed=(seq, eval_id, answer))
            return Answer.DECIDED  # the judge ran: how long it took tells when to ask about the others
        self._recorder.count("throttled", chosen is not Remedy.STOP)
        breaker.put_back()
        if chosen is Remedy.LEAVE_PENDING:
            await self._recorder.record(note)
            return Answer.DROPPED
        return await self._sent_again(seq, held, note, counts=False)

    def _remedy(self, seq: int, check: str, age: float, answer: Failed, redone: int) -> tuple[Remedy, Failed]:
        """What to do, and what the failure is called."""
        if policy.judgement(answer.kind) is not Signal.RATE_LIMITED:
            return policy.on_judgement(answer.kind, answer.message, redone=redone), answer
        now = monotonic()
        setback = self._setbacks[check].refused(seq, sent_at=now - age)
        had_its_time = setback.has_had_its_time(now, self._item_timeout)
        chosen = policy.on_setback(setback.overtaken, had_its_time=had_its_time)
        return chosen, setback.explained(answer) if chosen is Remedy.FAIL else answer

    async def _sent_again(
        self, seq: int, held: Held, note: Noted, *, counts: bool, doubtful: bool = False, failed: Told | None = None
    ) -> Answer:
        await self._put_back(seq, held, note, counts=counts, doubtful=doubtful)
        self._send_again(seq, failed)
        return Answer.DROPPED

    async def _put_back(
        self, seq: int, held: Held, note: Noted, *, counts: bool = False, doubtful: bool = False
    ) -> None:
        """`doubtful`: the ticket that is given up may have been judged."""
        asked = Asked(seq, held.questions)
        self._open_items.put_back(seq, counts=counts)
        await self._recorder.record(note, asked, Requeued(seq, counts=counts, doubtful=doubtful))
