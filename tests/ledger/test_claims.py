"""Claims: whoever works on a run, and however they come and go, no chunk has two living owners."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from itertools import count
from pathlib import Path
from typing import Any, ClassVar

import psutil
import pytest
import sqlalchemy as sa
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from fieval_tasks.core.errors import StoreError
from fieval_tasks.core.items import Item, State, Ticket
from fieval_tasks.ledger import processes, schema
from fieval_tasks.ledger.changes import Sending, Submitted
from fieval_tasks.ledger.claims import Stamp
from fieval_tasks.ledger.processes import owner_name
from fieval_tasks.ledger.run import CheckRecord, Run
from fieval_tasks.ledger.store import Ledger
from tests.conftest import PATIENCE

NOON = datetime(2026, 8, 1, 12, tzinfo=timezone.utc)
CHECK = CheckRecord("tone", "tone", None, {}, "choices", {"output": "answer"})
CHUNKS = 4
LEASE = 500.0
"""Seconds; the tests let time pass by hand."""
fresh = count()


def begun(ledger: Ledger) -> str:
    """A new run of CHUNKS chunks, two items each."""
    known: dict[str, Any] = {"dataset": "d", "dataset_fingerprint": "f", "mode": "async", "connection": "local"}
    run = Run(f"run-{next(fresh)}", NOON, **known, checks=(CHECK,), plan={}, notices=())
    items = [Item(seq, f"id-{seq}", seq + 1, "tone", "tone", None, {}, f"{seq:064}") for seq in range(2 * CHUNKS)]
    return ledger.create(run, ((item, None) for item in items), chunk_size=2).run_id


def let_pass(ledger: Ledger, run_id: str, seconds: float) -> None:
    """As if so much time had gone by: every lease ends so much earlier."""
    table = schema.claims.c
    engine = sa.create_engine(ledger.url)
    with engine.begin() as connection:
        for chunk, until in connection.execute(sa.select(table.chunk, table.until).where(table.run_id == run_id)).all():
            this = sa.update(schema.claims).where(table.run_id == run_id, table.chunk == chunk)
            connection.execute(this.values(until=until - timedelta(seconds=seconds)))
    engine.dispose()


def events(ledger: Ledger, run_id: str) -> list[tuple[int, str, str]]:
    table = schema.events.c
    engine = sa.create_engine(ledger.url)
    with engine.connect() as connection:
        query = sa.select(table.seq, table.event, table.detail).where(table.run_id == run_id).order_by(table.n)
        found = [tuple(row) for row in connection.execute(query)]
    engine.dispose()
    return found


def test_a_chunk_belongs_to_the_first_that_claims_it_until_it_is_released(ledger: Ledger) -> None:
    run_id, one, two = begun(ledger), owner_name(), owner_name()
    assert ledger.book(run_id).claims.take([0, 1], one, lease=LEASE) == [0, 1]
    assert ledger.book(run_id).claims.take([2, 1, 0], two, lease=LEASE) == [2]
    assert [(c.chunk, c.owner, c.is_live) for c in ledger.book(run_id).claims.of_others(two)] == [
        (0, one, True),
        (1, one, True),
    ]
    ledger.book(run_id).claims.release(one)
    assert ledger.book(run_id).claims.of_others(two) == []
    assert ledger.book(run_id).claims.take([0, 1, 2], two, lease=LEASE) == [0, 1, 2]


def test_runs_do_not_share_their_claims(ledger: Ledger) -> None:
    first, second, owner = begun(ledger), begun(ledger), owner_name()
    ledger.book(first).claims.take([0], owner, lease=LEASE)
    assert ledger.book(second).claims.take([0], owner_name(), lease=LEASE) == [0]
    assert ledger.book(second).claims.renew(owner, lease=LEASE) == 0


def test_a_lease_runs_out_unless_it_is_renewed(ledger: Ledger) -> None:
    run_id, one, two = begun(ledger), owner_name(), owner_name()
    ledger.book(run_id).claims.take([0, 1], one, lease=LEASE)
    let_pass(ledger, run_id, LEASE - 100)
    assert ledger.book(run_id).claims.renew(one, lease=LEASE) == 2
    let_pass(ledger, run_id, LEASE - 100)
    assert ledger.book(run_id).claims.take([0], two, lease=LEASE) == []
    let_pass(ledger, run_id, 200)
    assert [claim.is_live for claim in ledger.book(run_id).claims.of_others(two)] == [False, False]
    assert ledger.book(run_id).claims.take([0], two, lease=LEASE) == [0]


def test_a_lease_that_ran_out_and_that_nobody_took_is_still_the_owners(ledger: Ledger) -> None:
    run_id, owner = begun(ledger), owner_name()
    ledger.book(run_id).claims.take([0, 1], owner, lease=LEASE)
    ledger.book(run_id).apply([Sending((0,))])
    let_pass(ledger, run_id, 2 * LEASE)
    assert ledger.book(run_id).claims.renew(owner, lease=LEASE) == 2
    assert ledger.book(run_id).claims.take([0], owner, lease=LEASE) == [0]
    assert ledger.book(run_id).counts()[State.SENDING] == 1


def test_what_a_former_owner_was_sending_becomes_ambiguous_once_and_nothing_else_does(ledger: Ledger) -> None:
    run_id, one, two = begun(ledger), owner_name(), owner_name()
    ledger.book(run_id).claims.take([0, 1], one, lease=LEASE)
    ledger.book(run_id).apply([Sending((0, 1, 2)), Submitted((Ticket(1, "eval"),), NOON)])
    let_pass(ledger, run_id, 2 * LEASE)
    for _ in range(2):
        assert ledger.book(run_id).claims.take([0], two, lease=LEASE) == [0]
        run = ledger.run(run_id)
        assert [
            (ledger.book(run.run_id).item(seq).lost, ledger.book(run.run_id).item(seq).ambiguous) for seq in range(3)
        ] == [
            (1, True),
            (0, False),
            (0, False),
        ]
    ((seq, event, detail),) = events(ledger, run_id)
    assert (seq, event, detail) == (0, "found_in_flight", f"left by {processes.described(one)}")
    assert [ticket.eval_id for ticket in ledger.book(run_id).open_tickets([0])] == ["eval"]


def test_what_a_run_without_claims_left_in_flight_is_found_too(ledger: Ledger) -> None:
    run_id = begun(ledger)
    ledger.book(run_id).apply([Sending((0,))])
    ledger.book(run_id).claims.take([0], owner_name(), lease=LEASE)
    assert events(ledger, run_id) == [(0, "found_in_flight", "")]


def test_an_owner_that_was_taken_over_writes_nothing_more_and_is_given_nothing(ledger: Ledger) -> None:
    run_id, one, two, three = begun(ledger), owner_name(), owner_name(), owner_name()
    ledger.book(run_id).claims.take([0, 1], one, lease=LEASE)
    ledger.book(run_id).apply([Sending((0,))], Stamp(one, 1))
    let_pass(ledger, run_id, 2 * LEASE)
    ledger.book(run_id).claims.take([0], two, lease=LEASE)
    with pytest.raises(StoreError, match=rf"'{run_id}' was taken over by process \d+ on .*resume"):
        ledger.book(run_id).apply([Submitted((Ticket(0, "too late"),), NOON)], Stamp(one, 2))
    assert ledger.book(run_id).open_tickets() == []
    assert ledger.book(run_id).claims.renew(one, lease=LEASE) == 0
    assert ledger.book(run_id).claims.take([1, 2], one, lease=LEASE) == []
    assert ledger.book(run_id).claims.take([1], three, lease=LEASE) == [1], "what else it had is free"


def test_a_stamped_commit_is_made_once_however_often_it_is_tried(ledger: Ledger) -> None:
    run_id, owner = begun(ledger), owner_name()
    run = ledger.run(run_id)
    for number in (1, 1, 2, 1, 2):
        ledger.book(run_id).apply([Sending((0,))], Stamp(owner, number))
    assert next(ledger.book(run.run_id).results()).attempts == 2


def test_a_forgotten_run_takes_its_claims_with_it(ledger: Ledger) -> None:
    run_id, owner = begun(ledger), owner_name()
    ledger.book(run_id).claims.take([0], owner, lease=LEASE)
    ledger.forget(run_id)
    assert ledger.book(run_id).claims.of_others("") == []


# Processes that end


def sleeper() -> subprocess.Popen[bytes]:
    return subprocess.Popen(["sleep", "600"])


def kill(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@pytest.fixture(params=["with /proc", "without"])
def tells(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Linux has a /proc to tell a process from its successor; elsewhere psutil asks the system."""
    if request.param == "without":
        monkeypatch.setattr(processes, "PROC", tmp_path / "no proc")
    elif processes.owner_name().split("/")[2] == "":
        pytest.skip("this system has no /proc")


@pytest.mark.usefixtures("tells")
def test_the_chunks_of_a_process_that_is_gone_are_free_at_once(ledger: Ledger) -> None:
    run_id, other = begun(ledger), owner_name()
    process = sleeper()
    dying = owner_name(process.pid)
    ledger.book(run_id).claims.take([0], dying, lease=LEASE)
    assert ledger.book(run_id).claims.take([0], other, lease=LEASE) == []
    kill(process)
    assert [claim.is_live for claim in ledger.book(run_id).claims.of_others(other)] == [False]
    assert ledger.book(run_id).claims.take([0], other, lease=LEASE) == [0]


@pytest.mark.usefixtures("tells")
def test_a_process_that_has_ended_and_that_nobody_fetched_is_gone() -> None:
    with sleeper() as process:
        name = owner_name(process.pid)
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert processes.has_gone(name)


@pytest.mark.usefixtures("tells")
def test_a_pid_that_was_given_to_another_process_does_not_keep_a_claim_alive() -> None:
    host, boot, namespace, pid, start, number = owner_name().split("/")
    assert not processes.has_gone("/".join((host, boot, namespace, pid, start, number)))
    assert processes.has_gone("/".join((host, boot, namespace, pid, f"{float(start) - 1:g}", number)))


@pytest.mark.usefixtures("tells")
@pytest.mark.parametrize("elsewhere", [1, 2])
def test_of_another_machine_boot_or_container_nothing_is_concluded(elsewhere: int) -> None:
    parts = owner_name().split("/")
    parts[3] = "4194305"  # beyond the largest pid
    assert processes.has_gone("/".join(parts))
    parts[elsewhere] = "another"
    assert not processes.has_gone("/".join(parts))


def test_a_process_with_a_proc_concludes_nothing_of_one_without(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with_proc = owner_name().split("/")
    with_proc[3] = "4194305"
    monkeypatch.setattr(processes, "PROC", tmp_path / "no proc")
    assert not processes.has_gone("/".join(with_proc))


def test_a_moment_in_which_proc_can_not_be_read_ends_no_claim(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Too many open files, say."""
    name = owner_name()
    (tmp_path / "self").symlink_to(str(os.getpid()))
    monkeypatch.setattr(processes, "PROC", tmp_path)
    assert not processes.has_gone(name)
    assert processes._start(os.getpid()) is None


@pytest.mark.parametrize("refused", [psutil.AccessDenied(1), psutil.NoSuchProcess(1), psutil.Error(), OSError()])
def test_where_even_the_system_tells_nothing_the_lease_decides(
    refused: Exception, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A hidden process looks as if it were not there: what can't see itself sees nobody."""
    monkeypatch.setattr(processes, "PROC", tmp_path / "no proc")
    name = owner_name()

    def refuse(pid: int) -> psutil.Process:
        raise refused

    monkeypatch.setattr(psutil, "Process", refuse)
    assert owner_name().split("/")[1:3] == ["", ""]
    assert not processes.has_gone(name)


@pytest.mark.parametrize("name", ["", "laptop", "a/b/c/d/e/f/g", "a/////f"])
def test_a_name_that_tells_nothing_lives_until_its_lease_ends(name: str) -> None:
    assert not processes.has_gone(name)
    assert processes.described(name) == name


# Whatever comes, in whatever order

OWNERS = 3
owners = st.integers(0, OWNERS - 1)
some = st.lists(st.integers(0, CHUNKS - 1), min_size=1, unique=True)
leases = st.integers(0, 3).map(lambda n: 1_000.0 * n + 500)
"""Never a multiple of the time that passes: which of two moments comes first is not for a test's own speed to decide."""


class Company(RuleBasedStateMachine):
    """Three workers of one run that come and go, and what each may believe to be its own."""

    ledger: ClassVar[Ledger]

    @initialize()
    def begin(self) -> None:
        self.run_id = begun(self.ledger)
        self.processes = [sleeper() for _ in range(OWNERS)]
        self.names = [owner_name(process.pid) for process in self.processes]
        self.now = 0.0
        self.until: dict[int, dict[int, float]] = {n: {} for n in range(OWNERS)}
        """Owner -> the chunks it was given, and when it has to stop unless it renews them."""
        self.deposed: set[int] = set()
        self.commits = count(1)

    def teardown(self) -> None:
        for process in self.processes:
            kill(process)

    @rule(owner=owners, chunks=some, lease=leases)
    def claim(self, owner: int, chunks: list[int], lease: float) -> None:
        free = [] if owner in self.deposed else [n for n in chunks if self.may_have(owner, n)]
        ours = self.ledger.book(self.run_id).claims.take(chunks, self.names[owner], lease=lease)
        assert ours == free
        for other in {other for other in self.until for n in ours if other != owner and n in self.until[other]}:
            self.deposed.add(other)
            self.until[other] = {}
        self.until[owner] |= dict.fromkeys(ours, self.now + lease)

    def may_have(self, owner: int, chunk: int) -> bool:
        return all(self.now >= self.until[other].get(chunk, 0) for other in self.until if other != owner)

    @rule(owner=owners, lease=leases)
    def renew(self, owner: int, lease: float) -> None:
        assert self.ledger.book(self.run_id).claims.renew(self.names[owner], lease=lease) == len(self.until[owner])
        self.until[owner] = dict.fromkeys(self.until[owner], self.now + lease)

    @rule(owner=owners)
    def release(self, owner: int) -> None:
        self.ledger.book(self.run_id).claims.release(self.names[owner])
        self.until[owner] = {}

    @rule(hours=st.integers(1, 4))
    def time_passes(self, hours: int) -> None:
        let_pass(self.ledger, self.run_id, 1_000.0 * hours)
        self.now += 1_000.0 * hours

    @rule(owner=owners)
    def dies_and_another_comes(self, owner: int) -> None:
        kill(self.processes[owner])
        gone = max(self.until) + 1
        self.until[gone] = dict.fromkeys(self.until[owner], 0.0)
        self.processes[owner] = sleeper()
        self.names[owner] = owner_name(self.processes[owner].pid)
        self.until[owner] = {}
        self.deposed.discard(owner)

    @rule(owner=owners)
    def write(self, owner: int) -> None:
        stamp = Stamp(self.names[owner], next(self.commits))
        if owner in self.deposed:
            with pytest.raises(StoreError, match="taken over"):
                self.ledger.book(self.run_id).apply([Sending((0,))], stamp)
        else:
            self.ledger.book(self.run_id).apply([], stamp)

    @invariant()
    def no_chunk_has_two_living_owners(self) -> None:
        live = [n for owner in range(OWNERS) for n, until in self.until[owner].items() if until > self.now]
        assert len(live) == len(set(live))

    @invariant()
    def the_ledger_agrees(self) -> None:
        told = {c.chunk: c.owner for c in self.ledger.book(self.run_id).claims.of_others("") if c.is_live}
        assert told == {
            n: self.names[owner]
            for owner in range(OWNERS)
            for n, until in self.until[owner].items()
            if until > self.now
        }


@pytest.mark.usefixtures("tells")
def test_no_chunk_ever_has_two_living_owners(ledger: Ledger) -> None:
    company = type("CompanyOfThisLedger", (Company,), {"ledger": ledger})
    # Twenty runs of twenty steps do not find that nobody is deposed, and these do.
    run_state_machine_as_test(company, settings=settings(max_examples=8, stateful_step_count=40))


# At the same time

HAMMERS = """
import os, random, sys
from fieval_tasks.ledger.processes import owner_name
from fieval_tasks.ledger.store import Ledger
url, run_id, folder, turns = sys.argv[1:]
won = 0
with Ledger(url) as ledger:
    for _ in range(int(turns)):
        owner = owner_name()
        for chunk in ledger.book(run_id).claims.take(random.sample(range(4), 2), owner, lease=60):
            os.close(os.open(os.path.join(folder, str(chunk)), os.O_CREAT | os.O_EXCL))
            won += 1
            os.unlink(os.path.join(folder, str(chunk)))
        ledger.book(run_id).claims.release(owner)
print(won)
"""


def test_processes_that_hammer_at_the_same_chunks_never_hold_one_together(ledger: Ledger, tmp_path: Path) -> None:
    run_id = begun(ledger)
    (tmp_path / "held").mkdir()
    command = [sys.executable, "-c", HAMMERS, ledger.url, run_id, str(tmp_path / "held"), "60"]
    with ExitStack() as stack:
        processes = [
            stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, text=True)) for _ in range(3)
        ]
        told = [process.communicate(timeout=PATIENCE)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], "a chunk was held by two"
    assert all(int(won) > 0 for won in told)


def test_of_threads_that_claim_at_once_each_chunk_goes_to_one(ledger: Ledger) -> None:
    run_id, names = begun(ledger), [owner_name() for _ in range(6)]

    def claim(name: str) -> Iterable[int]:
        return ledger.book(run_id).claims.take(range(CHUNKS), name, lease=LEASE)

    with ThreadPoolExecutor(6) as threads:
        given = [chunk for chunks in threads.map(claim, names) for chunk in chunks]
    assert sorted(given) == list(range(CHUNKS))
