"""The chunks that this process has claimed in the ledger, so that no other process works on them; it renews its claims."""

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


@dataclass(eq=False)
class Holdings:
    """The chunks that this process may work on. Thread-safe; methods block on the ledger."""

    book: Book
    options: Options
    _claimed: set[int] = field(default_factory=set, init=False)
    _tried: set[int] = field(default_factory=set, init=False)
    _adopted: list[int] | None = field(default=None, init=False)
    """Chunks of ended processes that this process has taken over; None while it works on its own part."""
    _kept: threading.Lock = field(default_factory=threading.Lock, init=False)
    """Held while claims are renewed or released; a renewal that ran beside a release would find some missing."""

    def to_submit(self) -> list[int]:
        """The chunks with unsent items that this process should try."""
        unsent = self.book.unsent_chunks()
        ours = self._own(unsent) if self._adopted is None else [chunk for chunk in unsent if chunk in self._adopted]
        self._tried.update(ours)
        return ours

    def with_open_tickets(self) -> list[int]:
        """Chunks of this process's own part that it has claimed and in which tickets are open."""
        return self.claim(self._own(self.book.open_chunks()))

    def _own(self, chunks: list[int]) -> list[int]:
        return chunks if self.options.share is None else self.options.share.of_these(chunks)

    def claim(self, chunks: Sequence[int]) -> list[int]:
        """Claim these chunks; those that were free. The others may be tried again."""
        ours = self.book.claims.take(chunks, self.options.owner, lease=self.options.work_tuning.lease) if chunks else []
        self._claimed.update(ours)
        # Another process may release a chunk unfinished; this process may then claim it.
        self._tried.difference_update(chunks)
        self._tried.update(ours)
        return ours

    def has(self, chunk: int) -> bool:
        return chunk in self._claimed

    def take_one(self) -> list[int]:
        """Claim one free chunk; empty where there is none. Each process begins its search at another chunk."""
        free, share = self._free(), self.options.share
        # With the same order, all processes would wait for each other at the ledger for the first chunk.
        start = 0 if share is None else len(free) * share.number // share.of
        return next(filter(None, (self.claim([chunk]) for chunk in free[start:] + free[:start])), [])

    def adopt(self) -> list[int]:
        """Claim every free chunk, to finish them; `to_submit` lists these from now on."""
        self._adopted = self.claim(self._free())
        return self._adopted

    def _free(self) -> list[int]:
        """Unfinished chunks whose process is gone, or that are unclaimed and were not tried by this process (no shard has
        reached them, or another process held them at the time and has released them)."""
        unfinished = self._unfinished()
        live = {claim.chunk: claim.is_live for claim in self._claims_of_others()}
        gone = [chunk for chunk in unfinished if live.get(chunk) is False]
        return gone + [chunk for chunk in unfinished if chunk not in live and chunk not in self._tried]

    def _unfinished(self) -> list[int]:
        """The chunks with work left for this process's mode: unsent items, or items without a verdict."""
        only_submits = self.options.mode is Mode.SUBMIT
        return (self.book.unsent_chunks if only_submits else self.book.unfinished_chunks)()

    def are_others_at_work(self) -> bool:
        unfinished = set(self._unfinished())
        return any(claim.chunk in unfinished for claim in self._claims_of_others())

    def _claims_of_others(self) -> Sequence[Claim]:
        return self.book.claims.of_others(self.options.owner)

    def let_go(self) -> None:
        """Release all claims, so that other processes may take the chunks."""
        with self._kept:
            self._claimed.clear()
            self.book.claims.release(self.options.owner)

    async def keep(self) -> None:
        """Renew the claims until cancelled. Raises RunStopped where another process has taken one over."""
        while True:
            await asyncio.sleep(self.options.work_tuning.lease / 3)
            try:
                is_kept = await asyncio.to_thread(self._renew)
            except StoreAway:
                continue  # the recorder waits longer for the database; the next renewal shows a takeover
            if not is_kept:
                raise RunStopped("this process was not heard of for too long: another one took over its work")

    def _renew(self) -> bool:
        with self._kept:
            held = len(self._claimed)
            return self.book.claims.renew(self.options.owner, lease=self.options.work_tuning.lease) >= held
