"""What `--to` may name: a table of the user's own, by the URL of its database and the table's name behind #; or otel."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qsl

from fieval_tasks.core.locations import holds_a_secret, url_parts

OTEL = "otel"
"""OpenTelemetry, as its user has configured it."""
FORMS = "postgresql://HOST/DB#SCHEMA.TABLE, sqlite:///FILE#TABLE or duckdb:///FILE#TABLE"
BACKENDS = {
    "postgres": "postgresql",
    "postgresql": "postgresql",
    "postgresql+psycopg": "postgresql",
    "sqlite": "sqlite",
    "duckdb": "duckdb",
}
"""Scheme of a URL -> kind of database."""
# libpq's others name files of this machine, or servers that the URL does not show.
PARAMETERS = (
    *("host", "port", "sslmode", "sslnegotiation", "channel_binding", "connect_timeout", "application_name"),
    "target_session_attrs",
)
"""Parameters that a URL of PostgreSQL may have."""
# PostgreSQL cuts a longer one, so that two names may mean one table.
LONGEST_NAME = 63
"""Bytes of a name of PostgreSQL."""
_PART = r'(?:"([^"]+)"|([^".]+))'
_TABLE = re.compile(rf"(?:{_PART}\.)?{_PART}")


@dataclass(frozen=True)
class TableName:
    """A table of the user's own."""

    backend: str
    """postgresql, sqlite or duckdb."""
    database: str
    """The URL of a PostgreSQL database, or the path of a file."""
    schema: str | None
    table: str

    @classmethod
    def parse(cls, text: str) -> TableName:
        """Raises ValueError, whose message repeats no part of the URL: that may be secret."""
        scheme, _, rest = text.partition("://")
        backend = BACKENDS.get(scheme.lower())
        if backend is None:
            raise ValueError(f"it is no database that verdicts can be written to: write {FORMS}, or otel")
        # Up to the last @, for a password may hold any character.
        if backend == "postgresql" and (":" in rest.rpartition("@")[0] or holds_a_secret(text)):
            raise ValueError(
                "a URL with a password would show in Prefect and in the ledger: leave it out, and set PGPASSWORD, or keep "
                "it in ~/.pgpass"
            )
        place, has_table, name = rest.rpartition("#")
        if not has_table:
            raise ValueError(f"the table's name is missing, behind a #: write {FORMS}")
        schema, table = _names(name, backend)
        database = _server(f"postgresql://{place}") if backend == "postgresql" else _file(place, backend)
        return cls(backend, database, schema, table)

    @property
    def host(self) -> str | None:
        """Of PostgreSQL, as the URL has it; None: libpq's own choice, by PGHOST."""
        parts = url_parts(self.database)
        return dict(parse_qsl(parts.query)).get("host") or parts.hostname

    @property
    def file(self) -> Path | None:
        return None if self.backend == "postgresql" else Path(self.database).expanduser().absolute()

    @property
    def full_name(self) -> str:
        return ".".join(f'"{part}"' if "." in part else part for part in (self.schema, self.table) if part)

    def __str__(self) -> str:
        place = self.database if self.backend == "postgresql" else f"{self.backend}:///{self.database}"
        return f"{place}#{self.full_name}"


def _names(text: str, backend: str) -> tuple[str | None, str]:
    """The schema and the table, as they are written: capitals stay."""
    found = _TABLE.fullmatch(text)
    if found is None or not text.isprintable():
        raise ValueError(
            'the name behind # is no table\'s: write TABLE or SCHEMA.TABLE, and a name with dots in quotes, as "my.table"'
        )
    schema, table = found[1] or found[2], found[3] or found[4]
    if backend == "sqlite" and schema:
        raise ValueError('a SQLite file has no schemas: write sqlite:///FILE#TABLE (with a dot in it: "MY.TABLE")')
    if backend == "sqlite" and table.lower().startswith("sqlite_"):
        raise ValueError("SQLite keeps names that begin with sqlite_ for itself: name the table otherwise")
    if any(len(name.encode()) > LONGEST_NAME for name in (schema, table) if name):
        raise ValueError(f"a table's or schema's name has {LONGEST_NAME} bytes at most")
    return schema, table


def _server(url: str) -> str:
    if others := [name for name, _ in parse_qsl(url_parts(url).query) if name not in PARAMETERS]:
        raise ValueError(
            f"{' and '.join(others)} can't stand in the URL: libpq reads such settings from the environment, as "
            "PGSSLROOTCERT or PGOPTIONS"
        )
    return url


def _file(place: str, backend: str) -> str:
    path = place.removeprefix("/")
    if not place.startswith("/") or not path or path == ":memory:" or "?" in place:
        raise ValueError(f"it names no file: write {backend}:///FILE#TABLE, and nothing else")
    return path


def at_home(to: str) -> str:
    """The same with its file's whole path, so that it means the same in any folder."""
    if to == OTEL:
        return to
    name = TableName.parse(to)
    return str(name if name.file is None else replace(name, database=str(name.file)))


def tables_in(to: Iterable[str]) -> list[str]:
    """Those of a plan's `to` that are tables."""
    return [one for one in to if one != OTEL]


def destination(text: str) -> str:
    """The text, if verdicts can be handed on to what it names. Raises ValueError."""
    if text != OTEL:
        TableName.parse(text)
    return text
