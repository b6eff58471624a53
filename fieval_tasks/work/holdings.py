"""The chunks of a run that this process has: against other processes, by claims in the ledger that it renews."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from fieval_tasks.core.errors import RunStopped, StoreAway
from fieval_tasks.core.plan import Mode
from fieval_tasks.ledger.book import Book
from fieval_tasks.ledger.claims import Claim
from fieval_tasks.work.options import Options
from fieval_tasks.work.work_tuning import WorkTuning


@dataclass(eq=False)
class Holdings:
    """What this process may work on. Its methods wait for the ledger; any thread may call them."""

    book: Book
    options: Options
    tuning: WorkTuning
    _claimed: set[int] = field(default_factory=set, init=False)
    _tried: set[int] = field(default_factory=set, init=False)
    _adopted: list[int] | None = field(default=None, init=False)
    """What was left for it to finish, once it had done its own part; None before."""
    _kept: threading.Lock = field(default_factory=threading.Lock, init=False)
    """Held while claims are renewed or let go: or some would seem lost."""

    def to_submit(self) -> list[int]:
        """The chunks that have something left to send and are for this process to try."""
        unsent = self.book.unsent_chunks()
        ours = self._own(unsent) if self._adopted is None else [chunk for chunk in unsent if chunk in self._adopted]
        self._tried.update(ours)
        return ours

    def with_open_tickets(self) -> list[int]:
        """Of the chunks that are its to begin with, those it has now and in which something was submitted before."""
        return self.claim(self._own(self.book.open_chunks()))

    def _own(self, chunks: list[int]) -> list[int]:
        return chunks if self.options.share is None else self.options.share.of_these(chunks)

    def claim(self, chunks: Sequence[int]) -> list[int]:
        """Those of the chunks that it has from now on: no other process does. The others may be tried again."""
        ours = self.book.claims.take(chunks, self.options.owner, lease=self.tuning.lease) if chunks else []
        self._claimed.update(ours)
        # what another process has just now may be let go unfinished, and is then for this one to try
        self._tried.difference_update(chunks)
        self._tried.update(ours)
        return ours

    def has(self, chunk: int) -> bool:
        return chunk in self._claimed

    def take_one(self) -> list[int]:
        """A free chunk that nobody else was quicker to take; the processes begin to look at different ones."""
        free, share = self._free(), self.options.share
        # else all would look at the same chunk first, and wait for each other at the ledger
        start = 0 if share is None else len(free) * share.number // share.of
        return next(filter(None, (self.claim([chunk]) for chunk in free[start:] + free[:start])), [])

    def adopt(self) -> list[int]:
        """All that is free, to be finished: what `to_submit` goes by from now on."""
        self._adopted = self.claim(self._free())
        return self._adopted

    def _free(self) -> list[int]:
        """Unfinished chunks whose process is gone, and those that nobody holds and this process has not tried: no shard
        has come to them, or another process held them when this one did, and has let them go."""
        unfinished = self._unfinished()
        live = {claim.chunk: claim.is_live for claim in self._claims_of_others()}
        gone = [chunk for chunk in unfinished if live.get(chunk) is False]
        return gone + [chunk for chunk in unfinished if chunk not in live and chunk not in self._tried]

    def _unfinished(self) -> list[int]:
        """The chunks in which this process could still do something."""
        only_submits = self.options.mode is Mode.SUBMIT
        return (self.book.unsent_chunks if only_submits else self.book.unfinished_chunks)()

    def are_others_at_work(self) -> bool:
        unfinished = set(self._unfinished())
        return any(claim.chunk in unfinished for claim in self._claims_of_others())

    def _claims_of_others(self) -> Sequence[Claim]:
        return self.book.claims.of_others(self.options.owner)

    def let_go(self) -> None:
        """Other processes may have all of it."""
        with self._kept:
            self._claimed.clear()
            self.book.claims.release(self.options.owner)

    async def keep(self) -> None:
        """Renew the claims, for ever. Raises RunStopped where another process has taken over."""
        while True:
            await asyncio.sleep(self.tuning.lease / 3)
            try:
                is_kept = await asyncio.to_thread(self._renew)
            except StoreAway:
                continue  # what is to be written waits for longer (recording), and a takeover shows at the next renewal
            if not is_kept:
                raise RunStopped("this process was not heard of for too long: another one took over its work")

    def _renew(self) -> bool:
        with self._kept:
            held = len(self._claimed)
            return self.book.claims.renew(self.options.owner, lease=self.tuning.lease) >= held
