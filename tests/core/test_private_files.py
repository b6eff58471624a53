"""What is made on disk, nobody else may read: not even at its first byte, whatever the umask says."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fieval_tasks.core.private_files import make_file, make_folder
from fieval_tasks.ledger.database import opened
from fieval_tasks.ledger.store import Ledger

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="modes of files are POSIX's")


@pytest.fixture(autouse=True)
def wide_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_ledger_is_its_owners_from_the_first_byte_and_so_is_what_sqlite_puts_beside_it(tmp_path: Path) -> None:
    file = tmp_path / "runs" / "of mine" / "ledger.db"
    opened(f"sqlite:///{file}").dispose()
    assert (file.stat().st_size, mode(file)) == (0, 0o600)
    with Ledger(f"sqlite:///{file}") as ledger:
        assert ledger.names("x") == set()
        beside = [*file.parent.iterdir()]
        assert {path.name for path in beside} >= {"ledger.db", "ledger.db-wal", "ledger.db-shm"}
        assert {mode(path) for path in beside} == {0o600}
    assert {mode(file.parent), mode(file.parent.parent)} == {0o700}


def test_what_is_there_stays_as_wide_as_it_was_made(tmp_path: Path) -> None:
    file = tmp_path / "shared" / "ledger.db"
    file.parent.mkdir(mode=0o770)
    file.touch(mode=0o660)
    with Ledger(f"sqlite:///{file}"):
        assert {mode(path) for path in file.parent.iterdir()} == {0o660}
    assert mode(file.parent) == 0o770


def test_a_link_that_leads_to_nothing_yet_leads_to_a_private_file(tmp_path: Path) -> None:
    link, target = tmp_path / "link.db", tmp_path / "target.db"
    link.symlink_to(target)
    make_file(link)
    assert mode(target) == 0o600


def test_a_folder_that_is_made_twice_at_once_is_made(tmp_path: Path) -> None:
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert mode(tmp_path / "a") == 0o700
