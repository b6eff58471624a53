"""What a platform saw: every POST, every evaluation it accepted, every question, and what it answered to each."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import md5
from pathlib import Path
from time import time
from uuid import UUID

TABLES = """
CREATE TABLE IF NOT EXISTS posts (
    n INTEGER PRIMARY KEY, at REAL NOT NULL, body TEXT NOT NULL, answer TEXT NOT NULL, items INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS carried (post INTEGER NOT NULL, text TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS evaluations (
    eval_id TEXT PRIMARY KEY, post INTEGER NOT NULL, at REAL NOT NULL, text TEXT NOT NULL, inputs TEXT NOT NULL,
    fate TEXT NOT NULL, done_at REAL NOT NULL);
CREATE TABLE IF NOT EXISTS polls (
    n INTEGER PRIMARY KEY, at REAL NOT NULL, eval_id TEXT NOT NULL, answer TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS posts_by_body ON posts (body);
CREATE INDEX IF NOT EXISTS evaluations_by_text ON evaluations (text);
CREATE INDEX IF NOT EXISTS evaluations_by_fate ON evaluations (fate);
CREATE INDEX IF NOT EXISTS polls_by_eval_id ON polls (eval_id);
"""
NO_CREDIT = "insufficient_credits"


@dataclass(frozen=True)
class Evaluation:
    """One accepted item."""

    eval_id: str
    text: str
    """What was put to the judge, without its context: the item's mark."""
    inputs: Mapping[str, str]
    fate: str
    """`judged`, or one of mix.FATES, or NO_CREDIT."""
    at: float
    done_at: float


class Account:
    """Kept in a SQLite file, so that it outlives the server and others can read it meanwhile; else in memory."""

    def __init__(self, file: Path | None = None) -> None:
        self._db = sqlite3.connect(file or ":memory:", isolation_level=None, check_same_thread=False, timeout=30)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=OFF")
        self._db.executescript(TABLES)

    def close(self) -> None:
        self._db.close()

    # -- written by the platform ---------------------------------------------------------------------------------

    def posted(self, body: bytes, texts: list[str], answer: str) -> int:
        """The POST's number."""
        values = (time(), _hash(body), answer, len(texts))
        post = self._db.execute("INSERT INTO posts (at, body, answer, items) VALUES (?, ?, ?, ?)", values).lastrowid
        assert post is not None
        self._db.executemany("INSERT INTO carried VALUES (?, ?)", [(post, text) for text in texts])
        return post

    def answered(self, post: int, answer: str) -> None:
        """The POST came to another answer than was expected."""
        self._db.execute("UPDATE posts SET answer = ? WHERE n = ?", (answer, post))

    def accepted(self, post: int, text: str, inputs: Mapping[str, str], fate: str, takes: float) -> str:
        """The new evaluation's eval_id."""
        eval_id = str(UUID(bytes=md5(f"{text} {self.times_accepted(text)}".encode()).digest(), version=4))
        now = time()
        row = (eval_id, post, now, text, json.dumps(dict(inputs)), fate, now + takes)
        self._db.execute("INSERT INTO evaluations VALUES (?, ?, ?, ?, ?, ?, ?)", row)
        return eval_id

    def asked(self, eval_id: str, answer: str) -> None:
        self._db.execute("INSERT INTO polls (at, eval_id, answer) VALUES (?, ?, ?)", (time(), eval_id, answer))

    # -- read by the platform and by the tests -------------------------------------------------------------------

    def evaluation(self, eval_id: str) -> Evaluation | None:
        found = self._db.execute(f"{_EVALUATIONS} WHERE eval_id = ?", (eval_id,)).fetchone()
        return _evaluation(found) if found else None

    def evaluations(self) -> list[Evaluation]:
        return [_evaluation(row) for row in self._db.execute(f"{_EVALUATIONS} ORDER BY at")]

    def taken(self) -> Counter[str]:
        """Text -> how often it was accepted."""
        return Counter(dict(self._db.execute("SELECT text, count(*) FROM evaluations GROUP BY text")))

    def times_accepted(self, text: str) -> int:
        return self._number("SELECT count(*) FROM evaluations WHERE text = ?", text)

    def times_posted(self, body: bytes) -> int:
        return self._number("SELECT count(*) FROM posts WHERE body = ?", _hash(body))

    def times_asked(self, eval_id: str) -> int:
        return self._number("SELECT count(*) FROM polls WHERE eval_id = ?", eval_id)

    def charged(self) -> int:
        """Evaluations that had credit."""
        return self._number("SELECT count(*) FROM evaluations WHERE fate <> ?", NO_CREDIT)

    def posts(self, *, since: float = 0.0) -> int:
        return self._number("SELECT count(*) FROM posts WHERE at > ?", since)

    def items_posted(self, *, since: float = 0.0) -> int:
        return self._number("SELECT coalesce(sum(items), 0) FROM posts WHERE at > ?", since)

    def items_accepted(self, *, since: float = 0.0) -> int:
        return self._number("SELECT count(*) FROM evaluations WHERE at > ?", since)

    def polls(self, *, since: float = 0.0) -> int:
        return self._number("SELECT count(*) FROM polls WHERE at > ?", since)

    def requests(self) -> int:
        return self.posts() + self.polls()

    def first_without_credit(self) -> float | None:
        """When the credit was missed first."""
        query = "SELECT min(at) FROM evaluations WHERE fate = ?"
        at: float | None = self._db.execute(query, (NO_CREDIT,)).fetchone()[0]
        return at

    def verdicts_told(self) -> int:
        """Evaluations whose end was told at least once."""
        return self._number("SELECT count(DISTINCT eval_id) FROM polls WHERE answer = 'told'")

    def was_told(self, eval_id: str) -> bool:
        return bool(self._number("SELECT count(*) FROM polls WHERE answer = 'told' AND eval_id = ?", eval_id))

    def answers(self) -> Counter[str]:
        """Answer to a POST -> how often it was given."""
        return Counter(dict(self._db.execute("SELECT answer, count(*) FROM posts GROUP BY answer")))

    def carried(self, *answers: str) -> Counter[str]:
        """Text -> POSTs that carried it and were answered so."""
        marks = ", ".join("?" * len(answers))
        query = f"SELECT text, count(*) FROM carried JOIN posts ON n = post WHERE answer IN ({marks}) GROUP BY text"
        return Counter(dict(self._db.execute(query, answers)))

    def _number(self, query: str, *values: object) -> int:
        number: int = self._db.execute(query, values).fetchone()[0]
        return number


_EVALUATIONS = "SELECT eval_id, text, inputs, fate, at, done_at FROM evaluations"


def _evaluation(row: tuple[str, str, str, str, float, float]) -> Evaluation:
    eval_id, text, inputs, fate, at, done_at = row
    return Evaluation(eval_id, text, json.loads(inputs), fate, at, done_at)


def _hash(body: bytes) -> str:
    return md5(body).hexdigest()
