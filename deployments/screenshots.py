"""Pictures of the UI for docs/prefect.md: `python -m deployments.screenshots`, against a server on which `setup` was
done and a worker is running. It starts the nightly deployment in the browser, as a person would."""

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
from collections.abc import Iterator
from contextlib import contextmanager
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
from fieval_tasks.errors import FievalError, PlanError, RunStopped

FOLDER = Path(__file__).parents[1] / "docs" / "images"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE = 90.0
"""Seconds for a page to show what it should."""
FADING = 1.5
"""Seconds for its animations to end."""


def take_all(ui: str, folder: Path) -> Iterator[Path]:
    """The pictures, as they are written. `ui` is the address of the server's UI."""
    folder.mkdir(parents=True, exist_ok=True)
    deployment = _deployment_id()
    run = f"from-the-ui-{int(time.time())}"
    edited = quote(json.dumps({"plan": {"limit": 20, "concurrency": 8, "run": run}}))
    with _browser() as page:
        page.open(f"{ui}/blocks/catalog/futureagi-credentials/create", "Secret key")
        yield page.picture(folder / "block.png")
        page.open(f"{ui}/deployments/deployment/{deployment}/run?parameters={edited}", "Column mapping")
        yield page.picture(folder / "form.png")
        page.click("Submit")
        page.open(f"{ui}/runs/flow-run/{_completed(run)}", "Completed")
        yield page.picture(folder / "run.png")
        page.open(f"{ui}/artifacts/artifact/{_summary_of(run)}", "groundedness")
        yield page.picture(folder / "artifact.png")
        page.open(f"{ui}/automations", "fieval zombie runs")
        yield page.picture(folder / "automations.png")


def _deployment_id() -> str:
    with get_client(sync_client=True) as client:
        return str(client.read_deployment_by_name("evaluate/nightly").id)


def _completed(run: str) -> str:
    """The id of the flow run that works on the run of that name, once it has ended well."""
    wanted = FlowRunFilter(tags=FlowRunFilterTags(all_=[run]))
    deadline = time.monotonic() + PATIENCE
    with get_client(sync_client=True) as client:
        while time.monotonic() < deadline:
            for found in client.read_flow_runs(flow_run_filter=wanted):
                if found.state and found.state.is_completed():
                    return str(found.id)
            time.sleep(1)
    raise RunStopped(f"the run {run}, started in the browser, did not complete: is a worker of the pool running?")


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

    def click(self, label: str) -> None:
        """Press the button of that label."""
        buttons = "[...document.querySelectorAll('button')]"
        self._evaluated(f"{buttons}.find(one => one.innerText.trim() === {json.dumps(label)}).click()")

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


@contextmanager
def _browser() -> Iterator[Page]:
    name = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if name is None:
        raise PlanError(f"no browser is installed: one of {', '.join(BROWSERS)} takes the pictures")
    with tempfile.TemporaryDirectory(prefix="fieval-browser-", ignore_cleanup_errors=True) as profile:
        options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1160,860"]
        process = subprocess.Popen(
            [name, *options, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            with connect(_address(Path(profile)), max_size=None) as socket:
                yield Page(socket)
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
    parser = argparse.ArgumentParser(prog="python -m deployments.screenshots", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    options = parser.parse_args()
    try:
        require_an_api()
        for path in take_all(str(get_current_settings().ui_url), options.folder):
            print(f"{path} ({path.stat().st_size // 1024} KB)", flush=True)
    except FievalError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
