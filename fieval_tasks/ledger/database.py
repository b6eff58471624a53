"""The database under the ledger: opening it durably, retrying while it is away, and putting its errors into words."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import monotonic, sleep
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from fieval_tasks.core.errors import PlanError, StoreAway, StoreError
from fieval_tasks.core.private_files import make_file, make_folder
from fieval_tasks.core.scrubbing import remember_secrets
from fieval_tasks.ledger.troubles import explained
from fieval_tasks.ledger.tuning import DEFAULT_TUNING, SYSTEM_CLOCK, LedgerClock, LedgerTuning
from fieval_tasks.ledger.versions import prepare

T = TypeVar("T")

DEFAULT_STORE = "fieval-runs/ledger.db"


def store_url(named: str | None = None) -> str:
    """The ledger's URL or path: as named, else FIEVAL_STORE_URL, else a file in the working folder."""
    chosen = named or os.environ.get("FIEVAL_STORE_URL") or DEFAULT_STORE
    if "://" not in chosen:
        return f"sqlite:///{Path(chosen).expanduser().absolute()}"
    return chosen.replace("postgres://", "postgresql://", 1).replace("postgresql://", "postgresql+psycopg://", 1)


def file_of(store: str) -> Path | None:
    """The file that a store names; None for a server, and for SQLite URLs with parameters."""
    try:
        parsed = sa.make_url(store_url(store))
    except (SQLAlchemyError, ValueError):
        return None
    is_plain = parsed.get_backend_name() == "sqlite" and parsed.database and not parsed.query
    return Path(parsed.database or "") if is_plain else None


class Database:
    """An open database. Thread-safe; close it when done."""

    def __init__(
        self,
        url: str,
        *,
        must_exist: bool = False,
        tuning: LedgerTuning = DEFAULT_TUNING,
        clock: LedgerClock = SYSTEM_CLOCK,
    ) -> None:
        """Raises PlanError where the database must exist and does not, and StoreError where it can't be opened."""
        self.tuning = tuning
        self.clock = clock
        self.engine = opened(url, must_exist=must_exist, tuning=tuning)
        self.name = shown(self.engine.url)
        self._writer = self.engine.execution_options(writes=True)
        try:
            with explained(self.name):
                prepare(self.engine, self.name, must_exist=must_exist)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        self.engine.dispose()

    def read(self, query: sa.Select[Any]) -> Sequence[sa.RowMapping]:
        """The rows that a query finds. Tried again while the database is away."""
        return self.look(lambda connection: connection.execute(query).mappings().all())

    def column(self, query: sa.Select[Any]) -> list[Any]:
        """The values that a query for a single column finds. Tried again while the database is away."""
        return self.look(lambda connection: list(connection.scalars(query)))

    def number(self, query: sa.Select[Any]) -> int:
        """The number that a query finds, such as a count. Tried again while the database is away."""
        [n] = self.column(query)
        return int(n)

    def among(self, query: sa.Select[Any], column: sa.Column[Any], wanted: Iterable[Any]) -> Iterator[sa.RowMapping]:
        """The rows that a query finds which have one of the wanted values in a column, in their order."""
        # In parts: a statement takes a bounded number of parameters (SQLite: 32,766).
        values, most = sorted(set(wanted)), self.tuning.batch
        for start in range(0, len(values), most):
            yield from self.read(query.where(column.in_(values[start : start + most])))

    def pages(self, query: sa.Select[Any], by: sa.Column[int]) -> Iterator[sa.RowMapping]:
        """The rows that a query finds, in the order of a column that it has and in which no two are equal. Streams."""
        last = -1
        query = query.order_by(by).limit(self.tuning.batch)
        while page := self.read(query.where(by > last)):
            yield from page
            last = page[-1][by.name]

    def look(self, see: Callable[[Connection], T]) -> T:
        """The result of `see` in one read-only transaction. Tried again while the database is away."""

        def once() -> T:
            with _unchanged(self.engine, self.name), explained(self.name), self.engine.connect() as connection:
                return see(connection)

        return self._tried_again(once)

    def write(self, make: Callable[[Connection], T]) -> T:
        """The result of `make`, committed. Tried again while the database is away, so doing it twice must be harmless."""

        def once() -> T:
            with self.transaction() as connection:
                return make(connection)

        return self._tried_again(once)

    def execute(self, statement: sa.Update | sa.Insert | sa.Delete) -> int:
        """Commit a statement; how many rows it has changed. Tried again as by `write`."""
        return self.write(lambda connection: connection.execute(statement).rowcount)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction, committed at the end of the block and rolled back on an error. Tried once."""
        with explained(self.name), self._writer.begin() as connection:
            yield connection

    def _tried_again(self, act: Callable[[], T]) -> T:
        waits = pauses(self.tuning.patience, self.tuning, self.clock.monotonic)
        while True:
            try:
                return act()
            except StoreAway:
                pause = next(waits, None)
                if pause is None:
                    raise
            self.clock.sleep(pause)


def opened(url: str, *, must_exist: bool = False, tuning: LedgerTuning = DEFAULT_TUNING) -> Engine:
    """The database, ready to be connected to. A file's folder is made, except where the file must exist already."""
    parsed = _parsed(url)
    try:
        if parsed.get_backend_name() == "postgresql":
            return _postgresql(parsed)
        return _sqlite(parsed, must_exist, tuning.patience)
    except ImportError as error:
        raise StoreError(
            f"the store {shown(parsed)} is in PostgreSQL, whose driver is not installed ({error}): "
            f"pip install 'psycopg[binary]', or name a file"
        ) from error
    except (SQLAlchemyError, OSError) as error:
        raise StoreError(f"the store {shown(parsed)} can't be opened: {error}") from error


def _parsed(url: str) -> sa.URL:
    """The URL of a store. Raises PlanError for anything but a SQLite file or a PostgreSQL database."""
    try:
        parsed = sa.make_url(url)
    except (SQLAlchemyError, ValueError):
        raise PlanError(
            "the store's URL can't be read: write a path, sqlite:///FILE or postgresql://HOST/DB"
        ) from None  # the parser's own words may repeat it
    remember_secrets(parsed.password, *(str(value) for name, value in parsed.query.items() if "password" in name))
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise PlanError("a store is a SQLite file or a PostgreSQL database: write a path or postgresql://HOST/DB")
    if parsed.get_backend_name() == "sqlite" and parsed.database in (None, "", ":memory:"):
        raise PlanError("a store in memory ends with the program: name a file, or leave --store out")
    return parsed


def _postgresql(url: sa.URL) -> Engine:
    # pre_ping: a connection that was cut while idle is noticed before a statement is lost with it.
    engine = sa.create_engine(url, pool_pre_ping=True, connect_args=network_timeouts(url))
    sa.event.listen(engine, "connect", _postgresql_settings)
    return engine


def _sqlite(url: sa.URL, must_exist: bool, patience: float) -> Engine:
    file = Path(url.database or "")
    if must_exist and not file.is_file():
        raise PlanError(f"there is no ledger {url.database}: name the one that holds the run with --store")
    if must_exist and not url.query and _is_at_rest(file.resolve()):
        return _at_rest(url, file.resolve())
    make_folder(file.parent)
    if not url.query:  # else SQLite may look it up by other rules
        make_file(file)  # and SQLite gives what it puts beside a file the file's own mode
    engine = sa.create_engine(url, connect_args={"timeout": patience})
    sa.event.listen(engine, "connect", partial(_sqlite_settings, patience))
    sa.event.listen(engine, "begin", _begin_immediate)
    return engine


def _is_at_rest(file: Path) -> bool:
    """Whether nothing can be made beside the file, as on a read-only mount, and no writer has left its log there."""
    logs = (Path(f"{file}{end}") for end in ("-wal", "-journal"))
    return not os.access(file.parent, os.W_OK) and not any(log.exists() for log in logs)


def _at_rest(url: sa.URL, file: Path) -> Engine:
    """A file that is only read. Without `immutable` SQLite reads no such file: it would have to make its index of the log."""
    uri = f"{file.as_uri()}?mode=ro&immutable=1"
    connect = partial(sqlite3.connect, uri, uri=True, isolation_level=None, check_same_thread=False)
    return sa.create_engine(url, creator=connect, execution_options={"stamp": (file, _stamp(file))})


def _stamp(file: Path) -> tuple[int, int, int]:
    now = file.stat()
    return now.st_ino, now.st_size, now.st_mtime_ns


@contextmanager
def _unchanged(engine: Engine, name: str) -> Iterator[None]:
    """Raises StoreError where a file that is read as if at rest was written to meanwhile, by somebody who may: what the block has
    read may be half of one state and half of another."""
    try:
        yield
    finally:
        file, stamp = engine.get_execution_options().get("stamp", (None, None))
        if file is not None and _stamp(file) != stamp:
            raise StoreError(
                f"the store {name} was written to while it was read: do this again once nobody works with it"
            )


def network_timeouts(url: sa.URL) -> dict[str, int]:
    """Connection parameters that notice a dead network in time; parameters in the URL override them."""
    known = {"connect_timeout": 10, "tcp_user_timeout": 20_000, "keepalives_idle": 10, "keepalives_interval": 5}
    return {name: value for name, value in known.items() if name not in url.query}


def shown(url: sa.URL) -> str:
    """The URL without its password, which libpq also takes as a parameter."""
    hidden = {name: "***" if "password" in name else value for name, value in url.query.items()}
    return url.set(query=hidden).render_as_string(hide_password=True)


def _postgresql_settings(connection: Any, _: object) -> None:
    """Have commits wait for the server's disk, whatever its default is; the stricter `remote_apply` stays."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') <> 'remote_apply'"
        )
    connection.commit()  # else it would be taken back with the transaction


def _sqlite_settings(patience: float, connection: sqlite3.Connection, _: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's begin event decides, not the driver
    cursor = connection.cursor()
    _write_ahead(cursor, patience)
    cursor.execute("PRAGMA synchronous=FULL")  # a ticket that a power cut takes back would be paid for twice
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _write_ahead(cursor: sqlite3.Cursor, patience: float) -> None:
    """Switch to a write-ahead log, with retries: SQLite fails at once where another process is switching too."""
    deadline = monotonic() + patience
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or monotonic() > deadline:
                raise
        sleep(0.005)


def _begin_immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get("writes") else "BEGIN")


def pauses(patience: float, tuning: LedgerTuning, clock: Callable[[], float]) -> Iterator[float]:
    """Seconds to wait before each further try, growing, until `patience` seconds from now are over."""
    deadline = clock() + patience

    def growing() -> Iterator[float]:
        pause = tuning.first_pause
        while clock() + pause <= deadline:
            yield pause
            pause = min(2 * pause, tuning.longest_pause)

    return growing()
