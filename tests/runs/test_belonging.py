"""A run goes on where it began: no other server is asked about its tickets, and no other account is charged for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from fieval_tasks.api.account import LOCAL, Account, one_spelling
from fieval_tasks.api.client import Credentials
from fieval_tasks.blocks import EvaluationRun
from fieval_tasks.core.errors import PlanError
from fieval_tasks.core.items import State
from fieval_tasks.core.plan import Check, EvaluationPlan, Mode
from fieval_tasks.ledger import schema
from fieval_tasks.ledger.database import store_url
from fieval_tasks.ledger.run import Run
from fieval_tasks.ledger.store import Ledger
from fieval_tasks.runs.preparation import Prepared, prepared
from fieval_tasks.runs.workers import threads, work_on, work_once
from tests.conftest import Evaluator

ROWS = '{"answer": "one"}\n{"answer": "two"}\n{"answer": "three"}\n'
ELSEWHERE = "http://127.0.0.1:9"
KEYS = Credentials("an-api-key", "a-secret-key", base_url="https://a.example")


# An account, in a ledger that anybody may read

letters = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1)


def test_keys_are_known_again_by_their_seal_and_by_no_other() -> None:
    seal = Account.from_credentials(KEYS).sealed()
    assert Account.from_credentials(KEYS).has(seal)
    assert Account.from_credentials(Credentials("an-api-key", "a-new-secret-key", base_url="https://b.example")).has(
        seal
    )
    for other in ({"api_key": "another"}, {"workspace_id": "w"}, {"organization_id": "w"}):
        assert not Account.from_credentials(
            Credentials(**{"api_key": "an-api-key", "secret_key": "a-secret-key"} | other)
        ).has(seal)
    assert not Account.from_credentials(KEYS).has(None)
    assert not LOCAL.has(seal)
    assert LOCAL.has(LOCAL.sealed())


@given(key=letters, workspace=letters)
def test_an_id_of_a_workspace_is_none_of_an_organisation_and_no_part_of_the_key(key: str, workspace: str) -> None:
    ways = [(key, workspace, None), (key, None, workspace), (key + workspace, None, None), (key, None, None)]
    of = [Account.from_credentials(Credentials(k, "s", workspace_id=w, organization_id=o)) for k, w, o in ways]
    assert len(set(of)) == len(ways)


def test_a_seal_holds_nothing_of_the_keys_and_differs_from_run_to_run() -> None:
    one, other = Account.from_credentials(KEYS).sealed(), Account.from_credentials(KEYS).sealed()
    assert one != other
    assert "key" not in f"{one}{other}{Account.from_credentials(KEYS)!r}"


@pytest.mark.parametrize(
    "spelling",
    ["https://a.example/base", "https://A.Example/base/", "HTTPS://a.example:443/base", "https://a.example:443/base//"],
)
def test_a_server_has_one_address_however_it_is_spelt(spelling: str) -> None:
    assert one_spelling(spelling) == "https://a.example/base"


@pytest.mark.parametrize(
    "other", ["http://a.example/base", "https://a.example/Base", "https://a.example:8443/base", "https://a.example"]
)
def test_another_server_has_another_address(other: str) -> None:
    assert one_spelling(other) != "https://a.example/base"


# A run that was submitted


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("d.jsonl").write_text(ROWS)


@pytest.fixture
def environment(evaluator: Evaluator, monkeypatch: pytest.MonkeyPatch) -> Evaluator:
    for name, value in evaluator.environment.items():
        monkeypatch.setenv(name, value)
    return evaluator


def begun(name: str = "mine", connection: str = "env") -> Run:
    """A run whose items have been submitted, and one of which failed."""
    plan = EvaluationPlan(
        dataset="d.jsonl",
        checks=(Check(template="is_json"),),
        mapping={"text": "answer"},
        run=name,
        connection=connection,
    )
    with prepared(plan) as run, run.engine(Mode.SUBMIT) as engine, threads(engine) as workers:
        work_once(engine, Mode.SUBMIT, workers)
    with the_store() as connected:
        failed = {"state": "failed", "stage": "submit", "error_kind": "refused", "error_message": "no"}
        connected.execute(sa.update(schema.items).where(schema.items.c.seq == 2).values(**failed))
    return known(name)


def known(name: str = "mine") -> Run:
    with Ledger(store_url()) as ledger:
        return ledger.run(name)


def resumed(name: str = "mine", **said: Any) -> Prepared:
    with prepared(EvaluationPlan(resume=name, **said)) as run:
        return run


def refused(name: str = "mine", **said: Any) -> str:
    before = contents()
    with pytest.raises(PlanError) as error:
        resumed(name, retry_failed=True, **said)
    assert contents() == before
    [problem] = error.value.problems
    assert not any(key in problem for key in ("test-api-key", "test-secret-key", "another-key"))
    return problem


@contextmanager
def the_store() -> Iterator[sa.Connection]:
    """A connection to the ledger's database, beside the ledger; what is changed there is committed."""
    engine = sa.create_engine(store_url())
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


def contents() -> list[Any]:
    """All that the ledger holds of runs and items."""
    with the_store() as connection:
        return [row for table in (schema.runs, schema.items) for row in connection.execute(sa.select(table)).all()]


OTHERS = {
    "another account": {"FI_API_KEY": "another-key-0001"},
    "another workspace": {"FI_WORKSPACE_ID": "w-2"},
    "another organisation": {"FI_ORGANIZATION_ID": "o-2"},
}


@pytest.mark.parametrize("other", OTHERS)
def test_a_run_is_not_resumed_with_the_keys_of(
    other: str, environment: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun()
    for name, value in OTHERS[other].items():
        monkeypatch.setenv(name, value)
    told = refused()
    assert environment.environment["FI_BASE_URL"] in told
    assert "another account's keys, or to another workspace" in told
    assert "--resume mine --same-account" in told


@pytest.mark.parametrize("by", ["environment", "option"])
def test_a_run_is_not_resumed_at_another_server(
    by: str, environment: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun()
    monkeypatch.setenv("FI_BASE_URL", ELSEWHERE)
    told = refused(**({"base_url": ELSEWHERE} if by == "option" else {}))
    assert environment.environment["FI_BASE_URL"] in told
    assert ELSEWHERE in told
    assert told.endswith("--resume mine --same-account")
    store = str(Path("fieval-runs/ledger.db").resolve())
    assert f"--resume mine --same-account --store sqlite:///{store}" in refused(store=store)


def test_neither_a_collector_nor_a_job_asks_another_server(
    environment: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun()
    monkeypatch.setenv("FI_BASE_URL", ELSEWHERE)
    before = contents()
    for ask in (EvaluationRun("mine").wait_for_completion, EvaluationRun("mine").submit):
        with pytest.raises(PlanError, match=ELSEWHERE):
            ask()
    assert contents() == before


def test_a_run_of_a_server_is_not_resumed_by_the_local_evaluator_nor_the_other_way_round(
    environment: Evaluator,
) -> None:
    begun()
    begun("at-home", "local")
    address = environment.environment["FI_BASE_URL"]
    assert f"sent to {address}, which has its tickets, and now the local evaluator" in refused(connection="local")
    told = refused("at-home", connection="env")
    assert f"sent to the local evaluator, which has its tickets, and now {address} would be asked" in told
    assert "add --connection local" in told


def test_a_local_run_is_resumed_though_the_evaluator_has_new_keys_each_time() -> None:
    assert begun(connection="local").address == "local"
    with prepared(EvaluationPlan(resume="mine", retry_failed=True)) as run:
        work_on(run)
        assert run.ledger.book("mine").counts()[State.SCORED] == 3


def test_another_spelling_of_the_address_and_a_new_secret_are_the_same_account(
    environment: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begun()
    monkeypatch.setenv("FI_BASE_URL", environment.environment["FI_BASE_URL"].upper().replace("HTTP", "http") + "/")
    monkeypatch.setenv("FI_SECRET_KEY", "a-new-secret")
    assert resumed().run == run


def test_the_user_may_say_that_it_is_the_same_account_which_is_kept_and_told(
    environment: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun()
    address = environment.environment["FI_BASE_URL"]
    elsewhere = address.replace("127.0.0.1", "localhost")
    monkeypatch.setenv("FI_BASE_URL", elsewhere)
    with prepared(EvaluationPlan(resume="mine", same_account=True)) as run:
        work_on(run)
        assert run.ledger.book("mine").counts()[State.SCORED] == 2
    assert resumed().run == resumed(same_account=True).run
    [told] = [notice for notice in known().notices if "--same-account" in notice]
    assert (address in told, elsewhere in told) == (True, True)
    monkeypatch.setenv("FI_BASE_URL", address)
    assert elsewhere in refused()


def test_where_only_the_keys_are_new_no_other_address_is_told(
    environment: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun()
    monkeypatch.setenv("FI_API_KEY", "another-key-of-the-account")
    with prepared(EvaluationPlan(resume="mine", same_account=True)):
        pass
    [told] = [notice for notice in known().notices if "--same-account" in notice]
    assert told.startswith("it goes on with other keys")


def test_to_say_so_needs_a_run_that_has_begun() -> None:
    with pytest.raises(PlanError, match="same_account: needs resume"):
        EvaluationPlan(same_account=True)


def test_a_run_belongs_to_nobody_until_something_is_sent(
    environment: Evaluator, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = EvaluationPlan(dataset="d.jsonl", checks=(Check(template="is_json"),), mapping={"text": "answer"}, run="new")
    with prepared(plan):
        assert known("new").address is None
    monkeypatch.setenv("FI_BASE_URL", environment.environment["FI_BASE_URL"].replace("127.0.0.1", "localhost"))
    with prepared(EvaluationPlan(resume="new")) as run:
        work_on(run)
    found = known("new")
    assert found.address == environment.environment["FI_BASE_URL"].replace("127.0.0.1", "localhost")
    assert not any("older version" in notice for notice in found.notices)
    key = environment.environment["FI_API_KEY"]
    assert key not in str(contents())


def test_of_processes_that_begin_at_once_with_different_keys_one_is_refused(environment: Evaluator) -> None:
    plan = EvaluationPlan(dataset="d.jsonl", checks=(Check(template="is_json"),), mapping={"text": "answer"}, run="new")
    with prepared(plan) as run:
        run.ledger.bind("new", ELSEWHERE, Account.from_credentials(KEYS).sealed())
        with pytest.raises(PlanError, match=ELSEWHERE):
            run.engine()


# A ledger of an older program, which did not keep whose a run was


@pytest.fixture
def old_run(environment: Evaluator) -> Run:
    begun()
    with the_store() as connection:
        connection.execute(sa.update(schema.runs).values(address=None, account=None))
    return known()


def test_an_old_run_is_taken_for_the_account_s_that_carries_it_on_with_a_notice(old_run: Run) -> None:
    with prepared(EvaluationPlan(resume="mine", retry_failed=True)) as run:
        work_on(run)
    found = known()
    assert found.account is not None
    assert [notice for notice in found.notices if notice not in old_run.notices] == [
        f"it was begun by an older version, which did not keep whose keys it used: from now on it goes on with these, at "
        f"{old_run.connection}"
    ]


def test_an_old_run_is_not_carried_on_at_another_server(old_run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FI_BASE_URL", ELSEWHERE)
    assert old_run.connection in refused()
    assert resumed(same_account=True).run.address == ELSEWHERE
