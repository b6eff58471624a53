"""A server and a client, each in a process of its own, and what both say of the run afterwards."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Any

from benchmarks import dataset

ROOT = Path(__file__).resolve().parent.parent
END = 60.0
"""Seconds for which a server outlives its client at most."""


class DidNotEnd(Exception):
    """A client that failed, or took too long."""


@dataclass(frozen=True)
class Setting:
    """Of one run: how many items, and what the server is like."""

    items: int
    size: int = 200
    """Characters of an item."""
    reply: float = 0.04
    evaluation: str = "lognormal:3:0.5"
    rate: str | None = None
    tier: str | None = None
    seed: int = 0
    patience: float = 1200.0
    """Seconds that the client may take."""

    @property
    def server_options(self) -> list[str]:
        options = ["--reply", str(self.reply), "--evaluation", self.evaluation, "--seed", str(self.seed)]
        options += ["--rate", self.rate] if self.rate else []
        return options + (["--tier", self.tier] if self.tier else [])


@dataclass(frozen=True)
class Run:
    """What a run took: the client's own figures, and the server's account."""

    who: str
    setting: Setting
    client: Mapping[str, Any]
    server: Mapping[str, Any]
    options: Sequence[str] = field(default=())

    @property
    def seconds(self) -> float:
        """From the first submission to the last verdict, committed where the client has a ledger of its own."""
        return float(self.client["ended"] - self.server["first_post"])

    @property
    def seconds_told(self) -> float:
        """From the first submission to the last verdict leaving the server."""
        return float(self.server["last_verdict"] - self.server["first_post"])

    @property
    def seconds_at_least(self) -> float:
        """From the first submission to the last evaluation being done: nobody can end before."""
        return float(self.server["last_ready"] - self.server["first_post"])

    @property
    def cpu_per_item(self) -> float:
        """Milliseconds."""
        return 1000.0 * float(self.client["cpu"]) / self.setting.items

    @property
    def polls_per_item(self) -> float:
        return float(self.server["polls"]) / self.setting.items

    @property
    def posts_per_item(self) -> float:
        return float(self.server["posts"]) / self.setting.items

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def run_ours(setting: Setting, *options: str) -> Run:
    """Our engine alone or, with `--prefect`, the whole command."""
    more = ["--items", str(setting.items), "--size", str(setting.size), *options]
    return _run("ours, the command" if "--prefect" in options else "ours", "benchmarks.ours", setting, more)


def run_cookbook(setting: Setting, *, threads: int) -> Run:
    """The official SDK, with so many threads."""
    return _run(f"SDK, {threads} threads", "benchmarks.cookbook", setting, ["--threads", str(threads)])


def _run(who: str, module: str, setting: Setting, options: Sequence[str]) -> Run:
    with TemporaryDirectory(prefix="benchmark-") as folder, served(setting) as address:
        path = Path(folder) / "dataset.jsonl"
        dataset.write(path, setting.items, setting.size)
        try:
            words, variables = [module, str(path), *options], environment(address, Path(folder))
            said = command(words, Path(folder), variables, patience=setting.patience).said
        except DidNotEnd as error:
            raise DidNotEnd(f"{error}\n{_half_way(account_of(address))}") from error
        account = account_of(address)
    return Run(who, setting, json.loads(said.splitlines()[-1]), account, tuple(options))


def account_of(address: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{address}/account", timeout=30) as reply:
        account: dict[str, Any] = json.load(reply)
    return account


def _half_way(account: Mapping[str, Any]) -> str:
    return (
        f"by then: {account['settled']:,} verdicts told, {account['items']:,} items taken on, "
        f"{account['refused_runs']:,} runs and {account['refused_requests']:,} requests refused, "
        f"{account['posts']:,} submissions, {account['polls']:,} polls"
    )


@dataclass(frozen=True)
class Ended:
    """A command that has ended."""

    code: int
    said: str
    """On standard output."""
    seconds: float


def command(
    words: Sequence[str], folder: Path, variables: Mapping[str, str], *, patience: float = 1200.0, makes: str = ""
) -> Ended:
    """`python -m WORDS`, to its end. Raises DidNotEnd where that takes more than `patience` seconds, where its exit code is not
    0 or, if it is to make a file, where there is none."""
    began = monotonic()
    try:
        ended = subprocess.run(
            [sys.executable, "-m", *words], cwd=folder, env=variables, capture_output=True, text=True, timeout=patience, check=False
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise DidNotEnd(f"{' '.join(words)} was not done after {patience:.0f} s") from error
    if not (folder / makes).is_file() if makes else ended.returncode:
        last = "\n".join((ended.stderr.strip() or ended.stdout.strip()).splitlines()[-5:])
        raise DidNotEnd(f"{' '.join(words)} ended with {ended.returncode}: {last}")
    return Ended(ended.returncode, ended.stdout, monotonic() - began)


@contextmanager
def served(setting: Setting) -> Iterator[str]:
    """The address of a server that lives as long as the block."""
    words = ["benchmarks.server", "--end-after", str(setting.patience + END), *setting.server_options]
    with subprocess.Popen([sys.executable, "-m", *words], cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            if not address:
                raise DidNotEnd("benchmarks.server did not start")
            yield address
        finally:
            process.terminate()


def environment(address: str | None, home: Path) -> dict[str, str]:
    """Nothing of the user's own: no keys, no proxy, no Prefect profile."""
    kept = {k: v for k, v in os.environ.items() if not _is_personal(k)}
    keys = {"FI_API_KEY": "benchmark", "FI_SECRET_KEY": "benchmark", "FI_BASE_URL": address} if address else {}
    own = {
        "PYTHONPATH": str(ROOT),
        "PREFECT_HOME": str(home / "prefect"),
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",  # importing the SDK asks the network otherwise
        "HF_HUB_OFFLINE": "1",
    }
    return kept | own | keys


def _is_personal(name: str) -> bool:
    return name.upper().startswith(("FI_", "FIEVAL_", "PREFECT_")) or name.upper().endswith("_PROXY")
