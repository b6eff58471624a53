"""A run at work looks at Prefect now and then, at the price of two calls."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from fieval_tasks.core.errors import Interrupted, PlanError, RunStopped
from fieval_tasks.core.plan import EvaluationPlan
from fieval_tasks.core.steering import Control
from fieval_tasks.runs.preparation import prepared
from tests.flows.test_evaluate import evaluated


class FakePrefect:
    """A client that counts its calls, with flow runs in these states and a variable of this value; at first it is away."""

    def __init__(self, states: list[Any], variable: Any = None, *, away: int = 0) -> None:
        self.calls = 0
        self.attempts: set[int] = set()
        """How often Prefect's own client would have made a call that fails."""
        self._away = away
        self._states = states
        self._variable = variable

    def __enter__(self) -> FakePrefect:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def read_flow_runs(self, *, flow_run_filter: Any) -> list[Any]:
        from prefect.settings import PREFECT_CLIENT_MAX_RETRIES

        self.calls += 1
        self.attempts.add(1 + PREFECT_CLIENT_MAX_RETRIES.value())
        if self.calls <= self._away:
            raise httpx.ConnectError("connection refused")
        return [SimpleNamespace(state=state) for state in self._states]

    def read_variable_by_name(self, _: str) -> Any:
        self.calls += 1
        return None if self._variable is None else SimpleNamespace(value=self._variable)


class FakeEngine:
    """Remembers what it was told."""

    def __init__(self) -> None:
        self.run = SimpleNamespace(run_id="mine")
        self.told: list[Any] = []

    def stop(self, error: Any) -> None:
        self.told.append(type(error))

    def control(self, wanted: Control) -> None:
        self.told.append(wanted)


def looks(monkeypatch: pytest.MonkeyPatch, client: FakePrefect, *, times: int = 1) -> list[Any]:
    """What an engine is told by so many looks, each of them due."""
    import logging

    from fieval_tasks.on_prefect import watching

    monkeypatch.setattr(watching, "get_client", lambda **_: client)
    monkeypatch.setattr(watching, "get_run_logger", lambda: logging.getLogger("tests"))
    monkeypatch.setattr(watching.Rhythm, "due", lambda _: True)
    engine: Any = FakeEngine()
    watch = watching.Watch(engine)
    for _ in range(times):
        watch.look()
    told: list[Any] = engine.told
    return told


def test_a_look_is_two_calls_however_many_flow_runs_it_is_about(
    prefect_home: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.states import Running

    client = FakePrefect([Running(), Running(), None])
    assert (looks(monkeypatch, client, times=3), client.calls) == ([], 6)


@pytest.mark.parametrize("asked", ["Cancelling", "Cancelled", "Suspended"])
def test_a_cancel_or_a_suspension_of_the_flow_run_or_of_its_parent_stops_the_work(
    prefect_home: object, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    from prefect import states

    client = FakePrefect([states.Running(), getattr(states, asked)()])
    assert looks(monkeypatch, client) == [Interrupted]


def test_what_the_variable_says_is_done_once_and_a_slip_of_the_pen_changes_nothing(
    prefect_home: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused = FakePrefect([], {"paused": True})
    assert looks(monkeypatch, paused, times=2) == [Control(paused=True)]
    assert looks(monkeypatch, FakePrefect([], {"rate": "fast"}), times=2) == []


def test_while_prefect_is_away_the_run_goes_on_and_each_outage_is_one_line_in_the_log(
    prefect_home: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = FakePrefect([], {"paused": True}, away=3)
    assert looks(monkeypatch, client, times=5) == [Control(paused=True)], "once it is back"
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "the Prefect API can't be asked (connection refused); the run goes on, and asks again"
    ]


def test_a_look_at_a_prefect_that_is_away_is_over_at_the_first_attempt(
    prefect_home: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = FakePrefect([], away=1)
    assert (looks(monkeypatch, client), client.attempts) == ([], {1})


def test_the_variable_of_a_run_that_ends_is_removed_in_a_few_attempts_or_named_where_it_stays(
    prefect_home: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import logging

    from fieval_tasks.on_prefect import watching

    class Busy(FakePrefect):
        def delete_variable_by_name(self, _: str) -> None:
            self.read_flow_runs(flow_run_filter=None)

    monkeypatch.setattr(watching, "get_run_logger", lambda: logging.getLogger("tests"))
    for away, told in (
        (0, []),
        (1, ["the variable v is left behind: the Prefect API can't be asked (connection refused)"]),
    ):
        caplog.clear()
        client = Busy([], away=away)
        monkeypatch.setattr(watching, "get_client", lambda client=client, **_: client)
        watching._forget("v")
        assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == told
        assert client.attempts == {1 + watching.TIMES.last_attempts}


# -- the command that steers, and the variable ---------------------------------------------------------------------------


class Variables:
    """Prefect's variables."""

    def __init__(self, **values: Any) -> None:
        self.values = values

    def __enter__(self) -> Variables:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def read_variable_by_name(self, name: str) -> Any:
        return SimpleNamespace(value=self.values[name]) if name in self.values else None

    def read_variables(self) -> list[Any]:
        return [SimpleNamespace(name=name, value=value) for name, value in self.values.items()]

    def create_variable(self, wanted: Any) -> None:
        from prefect.exceptions import ObjectAlreadyExists

        if wanted.name in self.values:
            raise ObjectAlreadyExists(http_exc=Exception())
        self.values[wanted.name] = wanted.value

    def update_variable(self, wanted: Any) -> None:
        self.values[wanted.name] = wanted.value


MINE = "fieval_control_mine"


def steered(monkeypatch: pytest.MonkeyPatch, there: Variables, **changes: Any) -> Control:
    from flows import control

    monkeypatch.setattr(control, "get_client", lambda **_: there)
    return control.steer("mine", changes, wait=lambda _: None)[1]


def test_who_is_overwritten_says_it_again(prefect_home: object, monkeypatch: pytest.MonkeyPatch) -> None:
    class Overwriting(Variables):
        reads = 0

        def read_variable_by_name(self, name: str) -> Any:
            self.reads += 1
            if self.reads == 3:  # the look whether it is told
                self.values[MINE] = {"run": "mine", "rate": "5/s"}
            return super().read_variable_by_name(name)

    there = Overwriting(**{MINE: {"run": "mine"}})
    assert steered(monkeypatch, there, paused=True) == Control(paused=True, rate="5/s")
    assert there.values[MINE] == {"run": "mine", "paused": True, "rate": "5/s"}


def test_who_is_always_overwritten_is_told(prefect_home: object, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stubborn(Variables):
        def update_variable(self, wanted: Any) -> None:
            return

    with pytest.raises(RunStopped, match="steered otherwise at the same time"):
        steered(monkeypatch, Stubborn(**{MINE: {"run": "mine"}}), paused=True)


def test_a_run_that_is_not_there_or_has_ended_is_refused_and_the_nearest_named(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import control

    there = Variables(fieval_control_mien={"run": "mien"})
    with pytest.raises(PlanError, match=r"^no run 'mine' is at work, did you mean mien\?"):
        steered(monkeypatch, there, paused=True)
    assert evaluated(EvaluationPlan(run="mine", limit=1)).is_completed()
    with pytest.raises(PlanError, match=r"^run mine has ended \(exit code 0\)"):
        steered(monkeypatch, there, paused=True)
    with prepared(EvaluationPlan(run="waiting", limit=1)):
        pass
    assert control.steer("waiting", {"paused": True}, wait=lambda _: None) == ("waiting", Control(paused=True))
    assert set(there.values) == {"fieval_control_mien", "fieval_control_waiting"}


def test_a_run_has_its_variable_while_it_is_at_work_and_no_longer(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client

    import flows.evaluate

    def names() -> set[str]:
        with get_client(sync_client=True) as client:
            return {variable.name for variable in client.read_variables()}

    seen: list[set[str]] = []
    whole = flows.evaluate.submit_and_wait

    def noted(run: Any, **options: Any) -> Any:
        seen.append(names())
        return whole(run, **options)

    monkeypatch.setattr(flows.evaluate, "submit_and_wait", noted)
    assert evaluated(EvaluationPlan(run="Heard.once", limit=1)).is_completed()
    assert any(name.startswith("fieval_control_heard_once-") for name in seen[0])
    assert not any("heard_once" in name for name in names())

    def broken(*_: Any, **__: Any) -> None:
        raise KeyError(545)

    monkeypatch.setattr(flows.evaluate, "submit_and_wait", broken)
    assert not evaluated(EvaluationPlan(run="broken", limit=1)).is_completed()
    assert not any("broken" in name for name in names())


def test_a_run_that_is_only_paused_keeps_its_process(prefect_home: object, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.states import Paused

    assert looks(monkeypatch, FakePrefect([Paused()])) == []
