"""`python -m fieval_tasks.local` as a command: what it prints, and how it ends."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import pytest

from fieval_tasks.local import SUPPORTED
from tests.conftest import PATIENCE
from tests.local.local_evaluator import KEYS, NEW_EVAL, ROOT, Server, serving


def test_ends_promptly_on_either_signal_with_nothing_to_say() -> None:
    for number, code in ((signal.SIGTERM, 0), (signal.SIGINT, 130)):
        with serving() as server:
            server.process.send_signal(number)
            assert server.process.wait(PATIENCE) == code


def test_ends_while_an_evaluation_is_waited_for() -> None:
    with serving("--delay", "60") as server:
        with pytest.raises(httpx.TransportError), httpx.Client(timeout=0.2, headers=KEYS) as client:
            client.post(server.base_url + NEW_EVAL, json={"eval_name": "is_json", "inputs": {"text": "[1]"}})
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(30) == 0, "and not only after it"


def test_scores_every_template_without_a_word_on_its_streams() -> None:
    with serving() as server, httpx.Client(base_url=server.base_url, headers=KEYS) as client:
        for entry in client.get("/sdk/api/v1/get-evals/").json()["result"]:
            inputs = dict.fromkeys(entry["config"]["required_keys"], "[1, 2]")
            schema = entry["config"].get("function_params_schema", {})
            params = {
                name: "1" if rule["type"] == "string" else 1 for name, rule in schema.items() if rule.get("required")
            }
            body = {"eval_name": entry["name"], "inputs": inputs, "config": {"params": params}}
            # 400 is an honest refusal, of a label matrix that is none for example; 500 would be a fault.
            assert client.post(NEW_EVAL, json=body).status_code in (200, 400), entry["name"]


@contextmanager
def with_fresh_keys(*options: str) -> Iterator[str]:
    """The lines that such a server prints, once it is ready."""
    command = [sys.executable, "-m", "fieval_tasks.local", "--port", "0", "--generate-keys", *options]
    with subprocess.Popen(
        command, cwd=ROOT, env=_without_keys(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        try:
            printed = ""
            while "ready at" not in printed:
                line = process.stdout.readline()
                assert line, "it ended"
                printed += line
            yield printed
        finally:
            process.terminate()


def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True


HOSTS = [
    [],
    ["--host", "localhost"],
    ["--host", "0.0.0.0", "--allow-remote"],
    *([["--host", "::1"], ["--host", "::", "--allow-remote"]] if _has_ipv6() else []),
]


@pytest.mark.parametrize("options", HOSTS, ids=[" ".join(options) for options in HOSTS])
def test_what_it_prints_points_a_client_at_it_when_it_is_pasted(options: list[str], tmp_path: Path) -> None:
    client = (
        "import asyncio\n"
        "from fieval_tasks.api.client import Credentials, EvalClient\n"
        "async def ask():\n"
        "    async with EvalClient(Credentials.from_environment()) as client:\n"
        "        return await client.evaluate('is_json', {'text': '[1]'})\n"
        "print(asyncio.run(ask()).value)\n"
    )
    script = tmp_path / "client.py"
    script.write_text(client)
    with with_fresh_keys(*options) as printed:
        assert [line.partition("=")[0] for line in printed.splitlines()[:3]] == [
            "export FI_BASE_URL", "export FI_API_KEY", "export FI_SECRET_KEY",
        ]  # fmt: skip
        pasted = f"set -e\n{printed}\n{sys.executable} {script}\n"
        done = subprocess.run(["sh"], input=pasted, cwd=ROOT, env=_without_keys(), capture_output=True, text=True)
        assert (done.stdout, done.stderr) == ("Passed\n", "")
        base_url = printed.splitlines()[-1].split()[-1]
        assert httpx.get(f"{base_url}/sdk/api/v1/get-evals/", headers=KEYS).status_code == 401


def test_without_keys_it_says_what_to_set() -> None:
    code, complaint = _refusal(environment=_without_keys())
    assert code == 2
    assert "FI_API_KEY" in complaint
    assert "--generate-keys" in complaint


def test_a_port_in_use_is_one_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, complaint = _refusal("--port", port)
    assert (code, complaint.count("\n")) == (2, 1)
    assert port in complaint


def test_a_database_that_is_none_is_one_sentence(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database, but long enough to be read as the header of one" * 9)
    with closing(sqlite3.connect(tmp_path / "other.db")) as other:
        other.execute("CREATE TABLE evaluations (id)")
    for file in (text, tmp_path / "other.db", tmp_path / "missing/folder.db"):
        code, complaint = _refusal("--database", str(file), "--port", "0")
        assert (code, complaint.count("\n")) == (2, 1)
        assert str(file) in complaint


@pytest.mark.parametrize("option", ["--port=99999", "--port=x", "--workers=0", "--delay=-1", "--delay=soon"])
def test_an_option_that_makes_no_sense_is_a_usage_error(option: str) -> None:
    code, complaint = _refusal(option)
    assert code == 2
    assert option.partition("=")[2] in complaint


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_a_host_that_others_can_reach_needs_a_word_more(host: str) -> None:
    code, complaint = _refusal("--host", host, "--port", "0")
    assert code == 2
    assert "--allow-remote" in complaint


def test_importing_the_package_loads_no_other() -> None:
    probe = (
        "import sys, fieval_tasks.local as local; print(len(local.SUPPORTED));"
        "local.create_app(api_key='k', secret_key='s');"
        "print([name for name in ('fi', 'litellm', 'prefect', 'nltk', 'scipy', 'uvicorn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout.split("\n", 1), done.stderr) == ([str(len(SUPPORTED)), "[]\n"], "")


def test_verdicts_are_the_same_in_process_and_over_the_socket(server: Server) -> None:
    # The golden contract compares the exact functions; this, the heuristics.
    from fieval_tasks.local.scoring import SCORERS

    inputs = {
        "input": "What is the capital of France and what is its population?",
        "output": "Paris is the capital of France. It has 2 million people, and I love it!",
        "context": "Paris is the capital of France. Its population is 2,102,650.",
    }
    with httpx.Client(base_url=server.base_url, headers=KEYS) as client:
        for entry in client.get("/sdk/api/v1/get-evals/").json()["result"]:
            keys = entry["config"]["required_keys"]
            if set(keys) <= set(inputs):
                item = {key: inputs[key] for key in keys}
                reply = client.post(NEW_EVAL, json={"eval_name": entry["name"], "inputs": item})
                if reply.status_code == 200:
                    here = SCORERS[entry["name"]](item, {})
                    there = reply.json()["result"][0]["evaluations"][0]
                    assert (there["output"], there["reason"]) == (here.value, here.reason)


def _without_keys() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("FI_")}


def _refusal(*options: str, environment: dict[str, str] | None = None) -> tuple[int, str]:
    """Exit code and complaint of a server that does not start."""
    keys = {**os.environ, "FI_API_KEY": "k", "FI_SECRET_KEY": "s"}
    done = subprocess.run(
        [sys.executable, "-m", "fieval_tasks.local", *options],
        cwd=ROOT,
        env=environment or keys,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.stdout == ""
    return done.returncode, done.stderr
