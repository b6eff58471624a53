"""Pictures of Prefect's UI: `python -m docs.screenshots`, against a server on which `setup` was done and a worker
is running. It starts the nightly deployment in the browser, and with --steering it suspends, resumes, cancels and retries
a run, and lets one fail at a gate, in both of Prefect's UIs, as a person would."""

from __future__ import annotations

import argparse
import base64
import json
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterKey, FlowRunFilter, FlowRunFilterTags
from prefect.settings import get_current_settings
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from deployments.__main__ import require_an_api
from fieval_tasks.core.errors import FievalError, PlanError, RunStopped

FOLDER, STEERED = Path("docs", "images"), Path("fieval-runs", "pictures")
"""Where the pictures go, in the root of a clone: those of a steered run are to be looked at, and belong to no document."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    *("--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update"),
    "--disable-sync",
)
"""It asks nobody but the server."""
PATIENCE = 300.0
"""Seconds for a page to show what it should, and for a run to be where it should be."""
PRESSES = 3
"""Times that a button is pressed within those."""
FADING = 1.5
"""Seconds for its animations to end."""


def take_all(ui: str, folder: Path) -> Iterator[Path]:
    """The pictures, as they are written. `ui` is the address of the server's UI."""
    folder.mkdir(parents=True, exist_ok=True)
    deployment = _deployment_id()
    run = f"from-the-ui-{int(time.time())}"
    edited = {"limit": 20, "concurrency": 8, "run": run}
    with _browser() as page:
        page.open(f"{ui}/blocks/catalog/futureagi-credentials/create", "Secret key")
        yield page.picture(folder / "block.png")
        page.open(_form(ui, deployment, edited), "Column mapping")
        yield page.picture(folder / "form.png")
        page.press("Submit")
        page.open(f"{ui}/runs/flow-run/{_in_state(run, 'COMPLETED')}", "Completed")
        yield page.picture(folder / "run.png")
        page.open(f"{ui}/artifacts/artifact/{_summary_of(run)}", "groundedness")
        yield page.picture(folder / "artifact.png")
        page.open(f"{ui}/automations", "fieval zombie runs")
        yield page.picture(folder / "automations.png")


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
TALL = 1900
"""Pixels: so much that the log below a run's graph is in the picture."""
SLOW = {"limit": 30, "chunk_size": 2, "rate": "1/s"}
"""Of a plan that takes a minute: time enough to press some buttons."""


def take_steering(ui: str, folder: Path) -> Iterator[Path]:
    """The pictures of a run that is suspended, resumed, cancelled and retried, and of one that fails at its gate."""
    folder.mkdir(parents=True, exist_ok=True)
    deployment = _deployment_id()
    with _browser() as page:
        page.tell("Emulation.setDeviceMetricsOverride", width=1160, height=TALL, deviceScaleFactor=1, mobile=False)
        for one in UIS:

            def picture(name: str, one: Ui = one) -> Path:
                return page.picture(folder / f"{one.name}-{name}.png")

            run = f"steered-{one.name}-{int(time.time())}"
            page.open(_form(ui + one.path, deployment, {**SLOW, "run": run}), "Column mapping")
            yield picture("form")
            page.press(one.submit)
            flow_run = _in_state(run, "RUNNING")
            address = f"{ui}{one.path}/runs/flow-run/{flow_run}"
            for buttons, state, name in (
                (one.suspend, "PAUSED", "suspended"),
                (one.resume, "RUNNING", "resumed"),
                (one.cancel, "CANCELLED", "cancelled"),
                (one.retry, "COMPLETED", "retried"),
            ):
                _steer(page, address, run, (one.menu, *buttons))
                _in_state(run, state)
                page.open(address, "Beginning flow run")
                yield picture(name)
            gated = f"gated-{one.name}-{int(time.time())}"
            plan = {"limit": 20, "gates": ["groundedness.pass_rate >= 1"], "run": gated}
            page.open(_form(ui + one.path, deployment, plan), "Column mapping")
            page.press(one.submit)
            page.open(f"{ui}{one.path}/runs/flow-run/{_in_state(gated, 'FAILED')}", "Gate failed")
            yield picture("gate-failed")
            page.open(f"{ui}{one.path}/artifacts/artifact/{_summary_of(gated)}", "groundedness")
            yield picture("gate-failed-artifact")


def _form(ui: str, deployment: str, plan: Mapping[str, Any]) -> str:
    """The address of the form of a custom run, filled in."""
    return f"{ui}/deployments/deployment/{deployment}/run?parameters={quote(json.dumps({'plan': plan}))}"


def _deployment_id() -> str:
    with get_client(sync_client=True) as client:
        return str(client.read_deployment_by_name("evaluate/nightly").id)


def _steer(page: Page, address: str, run: str, buttons: Sequence[str | None]) -> None:
    """Press one button after the other, until the run is in another state: a busy server may let a press pass by."""
    before = _states(run)
    for _ in range(PRESSES):
        page.open(address, "Task Runs")
        for button in filter(None, buttons):
            page.press(button)
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


def _summary_of(run: str) -> str:
    """The id of the artifact that shows the run's summary: a version of the deployment's."""
    wanted = ArtifactFilter(key=ArtifactFilterKey(any_=["fieval-nightly-summary"]))
    with get_client(sync_client=True) as client:
        found = client.read_artifacts(artifact_filter=wanted)
    return next(str(artifact.id) for artifact in found if str(artifact.description).startswith(f"{run}:"))


class Page:
    """A page of a headless browser, over its debugging protocol."""

    def __init__(self, socket: Connection) -> None:
        self._socket = socket
        self._numbers = count(1)

    def open(self, address: str, text: str) -> None:
        """Go there and wait until the page shows the text."""
        self.tell("Page.navigate", url=address)
        self.wait_for(text)

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while text.lower() not in str(self._evaluated("document.body ? document.body.innerText : ''")).lower():
            if time.monotonic() > deadline:
                raise RunStopped(f"the page {self._evaluated('location.href')} does not show {text!r}")
            time.sleep(0.25)
        time.sleep(FADING)

    def press(self, label: str) -> None:
        """Press the last button or menu item of that label that is shown, as a mouse does: a dialog's is the last."""
        deadline = time.monotonic() + PATIENCE
        while (place := self._evaluated(_PLACE.format(label=json.dumps(label)))) is None:
            if time.monotonic() > deadline:
                raise RunStopped(f"the page {self._evaluated('location.href')} has no button {label!r}")
            time.sleep(0.25)
        for kind in ("mousePressed", "mouseReleased"):
            self.tell("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)
        time.sleep(FADING)

    def picture(self, path: Path) -> Path:
        path.write_bytes(base64.b64decode(self.tell("Page.captureScreenshot", format="png")["data"]))
        return path

    def tell(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call the browser; its result."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            reply: dict[str, Any] = json.loads(self._socket.recv(timeout=PATIENCE))
            if reply.get("id") == number:
                result: dict[str, Any] = reply["result"]
                return result

    def _evaluated(self, script: str) -> Any:
        return self.tell("Runtime.evaluate", expression=script, returnByValue=True)["result"].get("value")


_PLACE = """(() => {{
  const shown = [...document.querySelectorAll("button, [role=menuitem]")].filter(one =>
    one.innerText.trim() === {label} && !one.disabled && one.getBoundingClientRect().width > 0);
  if (!shown.length) return null;
  shown.at(-1).scrollIntoView({{block: "nearest"}});
  const box = shown.at(-1).getBoundingClientRect();
  return [box.left + box.width / 2, box.top + box.height / 2];
}})()"""


@contextmanager
def _browser() -> Iterator[Page]:
    name = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if name is None:
        raise PlanError(f"no browser is installed: one of {', '.join(BROWSERS)} takes the pictures")
    with tempfile.TemporaryDirectory(prefix="fieval-browser-", ignore_cleanup_errors=True) as profile:
        options = [
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--hide-scrollbars",
            "--window-size=1160,860",
            *QUIET,
        ]
        process = subprocess.Popen(
            [name, *options, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            with connect(_address(Path(profile)), max_size=None, ping_interval=None) as socket:
                page = Page(socket)
                page.tell("Network.enable")
                page.tell("Network.setExtraHTTPHeaders", headers=dict(get_current_settings().client.custom_headers))
                yield page
        finally:
            process.terminate()
            process.wait()


def _address(profile: Path) -> str:
    """Where the browser's first page takes orders."""
    file = profile / "DevToolsActivePort"
    deadline = time.monotonic() + PATIENCE
    while not file.exists() or not file.read_text(encoding="ascii").strip():
        if time.monotonic() > deadline:
            raise RunStopped("the browser did not start")
        time.sleep(0.1)
    port = int(file.read_text(encoding="ascii").split()[0])
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=10) as reply:
        pages = [page for page in json.load(reply) if page["type"] == "page"]
    return str(pages[0]["webSocketDebuggerUrl"])


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
    return 0


if __name__ == "__main__":
    sys.exit(main())
