"""Whether a verdict is about its item: the inputs in the server's reply are compared with the inputs that were sent.

A row holds the judged inputs (`input_data`). In 64 recorded pairs of a submission and its row they were the sent ones,
value for value, also for the items of packs, with the keys in another order. These differences do not make it another
item: white space, the spelling of keys, JSON that was parsed and written again (a number or a truth value for its text,
too), a long value that was cut, keys that are missing or added. Where a reply has no inputs to compare (servers before
April 2026, synchronous replies), an eval_id that was given to two items counts for neither.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from decimal import Decimal
from enum import Enum
from hashlib import blake2b
from typing import Any

from fieval_tasks.core.items import Evaluation, Failed, Verdict
from fieval_tasks.core.scrubbing import MARK
from fieval_tasks.ledger.book import Book
from fieval_tasks.work.open_items import ItemVerdict, OpenItem

OTHER_INPUTS = "the row of this item's eval_id holds the inputs of another item: the server mixed them up"
SHARED = "the server named this item's eval_id for another item, too, and does not say which of them it judged"
# No server is known to cut; one that does would keep at least a line or two.
SHORTEST_CUT = 200
"""Characters from which a value may be a sent one that the server has cut."""

# Many rows may wait for the ledger at once, each with inputs of up to 30 MB.
LONGEST_WHOLE = 100_000
"""Characters up to which a value is kept whole for the comparison; of a longer one a digest is compared."""


class Match(Enum):
    """The result of comparing a row's inputs with the sent ones."""

    SAME = "what was sent"
    OTHER = "something else"
    UNKNOWN = "can't be compared"


def digest(inputs: Mapping[str, str]) -> bytes:
    """A digest of an item's inputs that does not depend on the order of keys or on white space at the ends."""
    hashed = blake2b(digest_size=16)
    for key in sorted(inputs):
        value = inputs[key].strip()
        hashed.update(f"{len(key)} {len(value)} {key}".encode("utf-8", "replace"))
        hashed.update(value.encode("utf-8", "replace"))
    return hashed.digest()


def match(sent: Mapping[str, str], judged: Mapping[str, Any]) -> Match:
    """Compare a row's inputs with the ones that were sent."""
    found = {_match(value, judged[key] if key in judged else judged.get(_camel(key))) for key, value in sent.items()}
    if Match.OTHER in found:
        return Match.OTHER
    return Match.UNKNOWN if Match.UNKNOWN in found or not found else Match.SAME


def _match(sent: str, judged: Any) -> Match:
    if judged is None or judged == "":
        return Match.UNKNOWN
    if _plain(sent) == _plain(judged) or _as_json(sent) == _as_json(judged) or _is_read_as(sent, judged):
        return Match.SAME
    if isinstance(judged, list):  # a whole pack, or another item's list
        return Match.UNKNOWN if any(_plain(one) == _plain(sent) for one in judged) else Match.OTHER
    is_part = isinstance(judged, str) and (_may_be_cut(sent, judged) or _may_be_scrubbed(sent, judged))
    return Match.UNKNOWN if is_part else Match.OTHER


def _plain(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return " ".join(text.split())


def _as_json(value: Any) -> str:
    """JSON in one spelling; text that is none stays as it is."""
    try:
        read = json.loads(value) if isinstance(value, str) else value
        return json.dumps(_whole(read), sort_keys=True)
    except (ValueError, RecursionError):
        return _plain(value)


def _is_read_as(sent: str, judged: Any) -> bool:
    """Whether a JSON number or truth value stands for the sent text, which need not be JSON: 7 for 007, true for True."""
    if isinstance(judged, bool):
        return sent.strip().lower() == str(judged).lower()
    try:
        if isinstance(judged, float):
            return float(sent) == judged
        return isinstance(judged, int) and Decimal(sent.strip()) == judged
    except (ArithmeticError, ValueError):
        return False


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _short(value: Any) -> Any:
    """The value, or for a long one its beginning and a digest, which are equal only for equal values."""
    text = _plain(value)
    if len(text) <= LONGEST_WHOLE:
        return value
    return f"{text[:SHORTEST_CUT]} {blake2b(text.encode('utf-8', 'replace'), digest_size=16).hexdigest()}"


def _may_be_cut(sent: str, judged: str) -> bool:
    beginning = _plain(judged).rstrip(".… ")
    return SHORTEST_CUT <= len(beginning) < len(sent) and _plain(sent).startswith(beginning)


def _may_be_scrubbed(sent: str, judged: str) -> bool:
    """Whether the difference is only a secret that was scrubbed: an item's own text may hold one, as every reply may."""
    before, mark, after = _plain(judged).partition(MARK)
    return bool(mark) and _plain(sent).startswith(before) and _plain(sent).endswith(after.rpartition(MARK)[2])


def _camel(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(word.capitalize() for word in rest)


class Echoes:
    """Finds verdicts that are on another item's inputs. One for each run and process."""

    def __init__(self, book: Book) -> None:
        self._book = book
        self._at_once: set[str] = set()
        self._compared = self._unknown = self._wrong = 0

    async def objection(self, item: OpenItem, row: Evaluation) -> Failed | None:
        """The failure of an item whose row is, or may be, another item's; None where the row is its own."""
        found = await self._match(item, row.inputs)
        if found is Match.UNKNOWN:
            self._unknown += 1
            return self._wrong_item(SHARED) if await self._is_shared(item.seq, item.eval_id or "") else None
        self._compared += 1
        return self._wrong_item(OTHER_INPUTS) if found is Match.OTHER else None

    async def _match(self, item: OpenItem, judged: Mapping[str, Any] | None) -> Match:
        if not judged:
            return Match.UNKNOWN
        if item.digest and all(isinstance(value, str) for value in judged.values()) and digest(judged) == item.digest:
            return Match.SAME
        judged = {key: _short(value) for key, value in judged.items()}  # many may wait for the ledger at once
        sent = await asyncio.to_thread(self._book.item, item.seq)
        return match({key: _short(value) for key, value in sent.inputs.items()}, judged)

    async def _is_shared(self, seq: int, eval_id: str) -> bool:
        return await asyncio.to_thread(self._book.is_shared, seq, eval_id)

    @asynccontextmanager
    async def own(self, verdicts: Sequence[ItemVerdict]) -> AsyncIterator[list[ItemVerdict]]:
        """Synchronous verdicts, replaced by a failure where the eval_id was given to another item too. Record them within the
        block: meanwhile no other reply may use these eval_ids."""
        ids = {eval_id for _, eval_id, _ in verdicts if eval_id}
        taken = ids & self._at_once
        self._at_once |= ids
        try:
            yield [
                (seq, eval_id, await self._owned(seq, eval_id, verdict, taken)) for seq, eval_id, verdict in verdicts
            ]
        finally:
            self._at_once -= ids

    async def _owned(self, seq: int, eval_id: str | None, verdict: Verdict, taken: set[str]) -> Verdict:
        is_shared = eval_id is not None and (eval_id in taken or await self._is_shared(seq, eval_id))
        return self._wrong_item(SHARED) if is_shared else verdict

    def _wrong_item(self, why: str) -> Failed:
        self._wrong += 1
        return Failed("evaluate", "wrong_item", why)

    @property
    def notices(self) -> tuple[str, ...]:
        wrong = (
            f"the server gave {self._wrong:,} verdicts that are on another item's inputs, or may be: they failed as "
            f"wrong_item; --retry-failed sends those items again"
        )
        unknown = (
            f"the server did not say on which inputs {self._unknown:,} of {self._unknown + self._compared:,} verdicts are: "
            f"whether each is on its own item could be checked for the others only"
        )
        return (*([wrong] if self._wrong else []), *([unknown] if self._unknown and self._compared else []))
