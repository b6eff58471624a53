"""Both keys, in any form, are in nothing that a run writes or says: not even one that fails, at any log level."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from tests.conftest import PATIENCE, Evaluator

GOOD = {"FI_API_KEY": "zq-api/7c1e+93bd=?&%<", "FI_SECRET_KEY": "zq-secret/93bd+7c1e=?&%>"}
WRONG = {"FI_API_KEY": "zw-api/51fa+02cc=?&%<", "FI_SECRET_KEY": "zw-secret/02cc+51fa=?&%>"}
LOUD = {
    "PREFECT_LOGGING_LEVEL": "DEBUG",
    "PREFECT_LOGGING_ROOT_LEVEL": "DEBUG",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "DEBUG",
    "PREFECT_LOGGING_LOG_PRINTS": "true",
    "PREFECT_DEBUG_MODE": "true",
}
TEMPLATE = ("--template", "completeness", "--id", "id")


def forms(key: str) -> set[bytes]:
    """The key as it is, and as a URL, a page, base64 or a dump of bytes would hold it."""
    plain = key.encode()
    shifted = [(b64encode(bytes(n) + plain), urlsafe_b64encode(bytes(n) + plain)) for n in range(3)]
    return {
        *(plain, plain.hex().encode(), escape(key).encode(), json.dumps(key)[1:-1].encode(), repr(key)[1:-1].encode()),
        *(encoded.encode() for q in (quote(key), quote(key, safe=""), quote_plus(key)) for encoded in (q, q.lower())),
        *(encoded[-(-n * 8 // 6) : -4] for n, pair in enumerate(shifted) for encoded in pair),
    }


@dataclass(frozen=True)
class Story:
    """A command that has ended, and where it left what it wrote."""

    code: int
    told: str


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where everything is written, but for Prefect's home."""
    place = tmp_path_factory.mktemp("keys")
    rows = ({"id": str(i), "question": f"What is {i}?", "answer": f"It is {i}."} for i in range(150))
    (place / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (place / "blank.jsonl").write_text(
        '{"id": "1", "question": "What?", "answer": "It."}\n{"id": "2", "question": "?"}\n'
    )
    return place


@pytest.fixture(scope="module")
def base_url(place: Path) -> Iterator[str]:
    """An evaluation server that knows the good keys."""
    command = [sys.executable, "-m", "fieval_tasks.local", "--port", "0", "--database", str(place / "jobs.db")]
    with (
        (place / "server.log").open("wb") as log,
        subprocess.Popen(
            [*command, "--delay", "0.2"], env=os.environ | GOOD, stdout=subprocess.PIPE, stderr=log
        ) as process,
    ):
        assert process.stdout is not None
        try:
            yield process.stdout.readline().decode().split()[-1]
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)


@pytest.fixture(scope="module")
def stories(place: Path, base_url: str, prefect_api: str) -> dict[str, Story]:
    """Runs that end well, badly, at the door, at once and not at all."""
    server = GOOD | {"FI_BASE_URL": base_url}
    struck = killed(place, "rows.jsonl", *TEMPLATE, "--run", "killed", "--rate", "40/s", **server)
    commands = {
        "incomplete": (("blank.jsonl", *TEMPLATE, "--run", "incomplete"), server),
        "refused": (("rows.jsonl", *TEMPLATE, "--run", "refused"), server | WRONG),
        "unreachable": (("rows.jsonl", *TEMPLATE), GOOD | {"FI_BASE_URL": "http://127.0.0.1:9"}),
        "not an address": (("rows.jsonl", *TEMPLATE), GOOD | {"FI_BASE_URL": "http://me:zq-api@127.0.0.1"}),
        "resumed": (("--resume", "killed", "--rate", "1000/s"), server),
    }
    return {"killed": struck, **dict(zip(commands, told(place, *commands.values()), strict=True))}


ONE_AFTER_ANOTHER = """
import json, os, sys
from flows.cli.command import evaluate_command
before = dict(os.environ)
for arguments, variables in json.loads(sys.argv[1]):
    os.environ.clear()
    os.environ.update(before | variables)
    print("\\nended with", evaluate_command(arguments), flush=True)
"""


def told(place: Path, *commands: tuple[tuple[str, ...], dict[str, str]]) -> list[Story]:
    """Commands, each with variables of its own, in one process that is as loud as it can be."""
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", ONE_AFTER_ANOTHER, json.dumps(commands)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=place,
        env=os.environ | LOUD,
        timeout=PATIENCE,
        check=False,
    )
    *parts, at_exit = re.split(r"^ended with (\d+)$", done.stdout, flags=re.MULTILINE)
    stories = [Story(int(code), text) for text, code in zip(parts[::2], parts[1::2], strict=True)]
    assert (done.returncode, len(stories)) == (0, len(commands)), done.stdout[-2000:]
    return [*stories[:-1], Story(stories[-1].code, stories[-1].told + at_exit)]


def killed(place: Path, *arguments: str, **environment: str) -> Story:
    """Struck dead in the middle."""
    command = [sys.executable, "-m", "flows.evaluate", *arguments]
    server = Evaluator(environment, place / "jobs.db")
    with (
        (place / "killed.log").open("wb") as log,
        subprocess.Popen(command, cwd=place, env=os.environ | LOUD | environment, stdout=log, stderr=log) as process,
    ):
        before = len(server.submissions("What is"))
        wait_until(lambda: len(server.submissions("What is")) > before + 30)
        process.send_signal(signal.SIGKILL)
        process.wait(PATIENCE)
    return Story(process.returncode, (place / "killed.log").read_text())


def wait_until(happened: object) -> None:
    assert callable(happened)
    deadline = time.monotonic() + PATIENCE
    while not happened():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_the_runs_ended_as_they_were_meant_to(stories: dict[str, Story]) -> None:
    ends = {name: story.code for name, story in stories.items()}
    assert ends == {
        "incomplete": 3, "refused": 4, "unreachable": 4, "not an address": 2, "killed": -9, "resumed": 0,
    }, stories["resumed"].told[-2000:]  # fmt: skip
    assert "DEBUG" in stories["resumed"].told


def test_keys_are_in_no_file_and_no_output(stories: dict[str, Story], place: Path, prefect_home: Path) -> None:
    files = [path for root in (place, prefect_home) for path in root.rglob("*") if path.is_file()]
    written = {str(path): path.read_bytes() for path in files}
    written |= {f"what {name} said": story.told.encode() for name, story in stories.items()}
    assert {"report.html", "ledger.db", "prefect.db"} <= {path.name for path in files}
    for key in (*GOOD.values(), *WRONG.values()):
        for form in forms(key):
            assert [name for name, content in written.items() if form in content] == [], form


@pytest.mark.parametrize(
    "held", [lambda key: f"Basic {b64encode(f'x:{key}'.encode()).decode()}", quote, escape, repr, str]
)
def test_a_key_would_be_found_in_any_of_its_forms(held: object) -> None:
    assert callable(held)
    for key in GOOD.values():
        assert any(form in f"<<{held(key)}>>".encode() for form in forms(key))
