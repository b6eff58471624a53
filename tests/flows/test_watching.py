"""A run at work looks at Prefect now and then, at the price of two calls."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import httpx
import pytest

from fieval_tasks.control import Control
from fieval_tasks.errors import Interrupted


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

    from flows import watching

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


@pytest.mark.parametrize("asked", ["Cancelling", "Cancelled"])
def test_a_cancel_of_the_flow_run_or_of_its_parent_stops_the_work(
    prefect_home: object, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    from prefect import states

    client = FakePrefect([states.Running(), getattr(states, asked)()])
    assert looks(monkeypatch, client) == [Interrupted]


def test_what_the_variable_says_is_done_once_and_a_slip_of_the_pen_changes_nothing(
    prefect_home: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    paused = FakePrefect([], {"mine": {"paused": True}})
    assert looks(monkeypatch, paused, times=2) == [Control(paused=True)]
    assert looks(monkeypatch, FakePrefect([], {"mine": {"rate": "fast"}}), times=2) == []


def test_while_prefect_is_away_the_run_goes_on_and_each_outage_is_one_line_in_the_log(
    prefect_home: object, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    client = FakePrefect([], {"mine": {"paused": True}}, away=3)
    assert looks(monkeypatch, client, times=5) == [Control(paused=True)], "once it is back"
    assert [record.getMessage() for record in caplog.records if record.levelname == "WARNING"] == [
        "the Prefect API can't be asked (connection refused); the run goes on, and asks again"
    ]


def test_a_look_at_a_prefect_that_is_away_is_over_at_the_first_attempt(
    prefect_home: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = FakePrefect([], away=1)
    assert (looks(monkeypatch, client), client.attempts) == ([], {1})
