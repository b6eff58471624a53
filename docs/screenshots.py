"""Pictures of Prefect's UI: `python -m docs.screenshots`, against a server on which `setup` was done and a worker
is running. It starts the nightly deployment in the browser, and with --steering it suspends, resumes, cancels and retries
a run, and lets one fail at a gate, in both of Prefect's UIs, as a person would."""

from __future__ import annotations

import argparse
import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import Error as BrowserError
from playwright.sync_api import Page, ViewportSize
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowRunFilter, FlowRunFilterTags
from prefect.settings import get_current_settings

from benchmarks.browser import NoBrowser, chromium
from deployments.__main__ import require_an_api
from fieval_tasks.core.errors import ExitCode, FievalError, RunStopped

FOLDER, STEERED = Path("docs", "images"), Path("fieval-runs", "pictures")
"""Where the pictures go, in the root of a clone: those of a steered run are to be looked at, and belong to no document."""
SIZE: ViewportSize = {"width": 1160, "height": 860}
PATIENCE = 300.0
"""Seconds for a page to show what it should, and for a run to be where it should be."""
RUNS = 3
"""Of the deployment, so that there is a trend to see."""
SUMMARY, CHECK_PAGE = "fieval-nightly-summary", "fieval-sample--groundedness"
"""Keys of artifacts: the deployment's, and that of a check of its dataset."""
PRESSES = 3
"""Times that a button is pressed within those."""
FADING = 1500.0
"""Milliseconds for its animations to end."""


def take_all(ui: str, folder: Path) -> Iterator[Path]:
    """The pictures, as they are written. `ui` is the address of the server's UI."""
    folder.mkdir(parents=True, exist_ok=True)
    deployment = _deployment_id()
    runs = [f"from-the-ui-{int(time.time())}-{number}" for number in range(1, RUNS + 1)]
    with _screen() as screen:
        screen.open(f"{ui}/blocks/catalog/futureagi-credentials/create", "Secret key")
        yield screen.picture(folder / "block.png")
        for run in runs:
            edited = {"limit": 20, "concurrency": 8, "run": run}
            screen.open(_form(ui, deployment, edited), "Column mapping")
            screen.picture(folder / "form.png")
            screen.press("Submit")
            flow_run = _in_state(run, "COMPLETED")
        yield folder / "form.png"
        screen.open(f"{ui}/runs/flow-run/{flow_run}", "Completed")
        yield screen.picture(folder / "run.png")
        # In the new UI, which draws the trend.
        screen.open(f"{ui}/v2/artifacts/artifact/{_artifact(runs[-1], CHECK_PAGE)}", "Why items failed")
        screen.page.locator("svg[aria-roledescription=xychart]").wait_for()
        yield screen.picture(folder / "artifact.png")
        screen.open(f"{ui}/automations", "fieval zombie runs")
        yield screen.picture(folder / "automations.png")


@dataclass(frozen=True)
class Ui:
    """One of Prefect's two user interfaces: where it is, and what its buttons are called."""

    name: str
    path: str
    menu: str | None
    """Of the button under which the others are; None: they are on the page itself."""
    submit: str
    suspend: tuple[str, str]
    """The button, and the one in the dialog that it opens; so, too, of the others."""
    resume: tuple[str, str]
    cancel: tuple[str, str]
    retry: tuple[str, str]


UIS = (
    Ui(
        "classic",
        "",
        None,
        "Submit",
        ("Suspend", "Submit"),
        ("Resume", "Submit"),
        ("Cancel", "Confirm"),
        ("Retry", "Retry"),
    ),
    Ui(
        "new",
        "/v2",
        "Open menu",
        "Submit",
        ("Pause", "Pause Flow Run"),
        ("Resume", "Resume"),
        ("Cancel", "Cancel Flow Run"),
        ("Retry", "Retry"),
    ),
)
TALL: ViewportSize = {"width": SIZE["width"], "height": 1900}
"""So much that the log below a run's graph is in the picture."""
SLOW = {"limit": 30, "chunk_size": 2, "rate": "1/s"}
"""Of a plan that takes a minute: time enough to press some buttons."""


def take_steering(ui: str, folder: Path) -> Iterator[Path]:
    """The pictures of a run that is suspended, resumed, cancelled and retried, and of one that fails at its gate."""
    folder.mkdir(parents=True, exist_ok=True)
    deployment = _deployment_id()
    with _screen() as screen:
        screen.page.set_viewport_size(TALL)
        for one in UIS:

            def picture(name: str, one: Ui = one) -> Path:
                return screen.picture(folder / f"{one.name}-{name}.png")

            run = f"steered-{one.name}-{int(time.time())}"
            screen.open(_form(ui + one.path, deployment, {**SLOW, "run": run}), "Column mapping")
            yield picture("form")
            screen.press(one.submit)
            flow_run = _in_state(run, "RUNNING")
            address = f"{ui}{one.path}/runs/flow-run/{flow_run}"
            for buttons, state, name in (
                (one.suspend, "PAUSED", "suspended"),
                (one.resume, "RUNNING", "resumed"),
                (one.cancel, "CANCELLED", "cancelled"),
                (one.retry, "COMPLETED", "retried"),
            ):
                _steer(screen, address, run, (one.menu, *buttons))
                _in_state(run, state)
                screen.open(address, "Beginning flow run")
                yield picture(name)
            gated = f"gated-{one.name}-{int(time.time())}"
            plan = {"limit": 20, "gates": ["groundedness.pass_rate >= 1"], "run": gated}
            screen.open(_form(ui + one.path, deployment, plan), "Column mapping")
            screen.press(one.submit)
            screen.open(f"{ui}{one.path}/runs/flow-run/{_in_state(gated, 'FAILED')}", "Gate failed")
            yield picture("gate-failed")
            screen.open(f"{ui}{one.path}/artifacts/artifact/{_artifact(gated, SUMMARY)}", "groundedness")
            yield picture("gate-failed-artifact")


def _form(ui: str, deployment: str, plan: Mapping[str, Any]) -> str:
    """The address of the form of a custom run, filled in."""
    return f"{ui}/deployments/deployment/{deployment}/run?parameters={quote(json.dumps({'plan': plan}))}"


def _deployment_id() -> str:
    with get_client(sync_client=True) as client:
        return str(client.read_deployment_by_name("evaluate/nightly").id)


def _steer(screen: Screen, address: str, run: str, buttons: Sequence[str | None]) -> None:
    """Press one button after the other, until the run is in another state: a busy server may let a press pass by."""
    before = _states(run)
    for _ in range(PRESSES):
        screen.open(address, "Task Runs")
        for button in filter(None, buttons):
            screen.press(button)
        deadline = time.monotonic() + PATIENCE / PRESSES
        while time.monotonic() < deadline:
            if _states(run) != before:
                return
            time.sleep(1)
    raise RunStopped(f"the run {run} did not change by {' and '.join(filter(None, buttons))}")


def _in_state(run: str, state: str) -> str:
    """The id of the flow run that works on the run of that name, once it is in a state of that type."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        for flow_run, found in _states(run).items():
            if found == state:
                return flow_run
        time.sleep(1)
    raise RunStopped(f"the run {run}, started in the browser, did not become {state}: is a worker of the pool running?")


def _states(run: str) -> dict[str, str]:
    """Of the flow runs that work on the run of that name, by id."""
    wanted = FlowRunFilter(tags=FlowRunFilterTags(all_=[run]))
    with get_client(sync_client=True) as client:
        found = client.read_flow_runs(flow_run_filter=wanted)
    return {str(one.id): one.state.type.value for one in found if one.state}


def _artifact(run: str, key: str) -> str:
    """The id of the version of that artifact that the run made."""
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=[key]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted)
    return next(str(artifact.id) for artifact in found if str(artifact.description).startswith(f"{run}:"))


class Screen:
    """A page of a headless browser, used as by a person who waits for what is to be seen."""

    def __init__(self, page: Page) -> None:
        self.page = page

    def open(self, address: str, text: str) -> None:
        """Go there and wait until the page shows the text."""
        self.page.goto(address)
        self.page.get_by_text(text).filter(visible=True).first.wait_for()
        self.page.wait_for_timeout(FADING)

    def press(self, label: str) -> None:
        """Press the last button or menu item of that label that is shown: a dialog's is the last."""
        of_that_label = re.compile(rf"^\s*{re.escape(label)}\s*$")
        buttons = self.page.locator("button:enabled, [role=menuitem]").filter(has_text=of_that_label, visible=True)
        buttons.last.click()
        self.page.wait_for_timeout(FADING)

    def picture(self, path: Path) -> Path:
        self.page.screenshot(path=path)
        return path


@contextmanager
def _screen() -> Iterator[Screen]:
    with chromium() as browser:
        headers = dict(get_current_settings().client.custom_headers)
        page = browser.new_page(viewport=SIZE, extra_http_headers=headers)
        page.set_default_timeout(1000 * PATIENCE)
        yield Screen(page)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m docs.screenshots", description=__doc__)
    parser.add_argument("--folder", type=Path)
    parser.add_argument(
        "--steering", action="store_true", help="suspend, resume, cancel, retry and a failed gate, in both UIs"
    )
    options = parser.parse_args()
    try:
        require_an_api()
        take = take_steering if options.steering else take_all
        for path in take(
            str(get_current_settings().ui_url), options.folder or (STEERED if options.steering else FOLDER)
        ):
            print(f"{path} ({path.stat().st_size // 1024} KB)", flush=True)
    except FievalError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except (NoBrowser, BrowserError) as error:  # the browser's names what it waited for
        print(f"error: {error}", file=sys.stderr)
        return ExitCode.STOPPED
    return 0


if __name__ == "__main__":
    sys.exit(main())
