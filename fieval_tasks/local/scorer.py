"""Scoring in a process of its own, so that a text made to be slow or large takes neither the server nor its neighbours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from fieval_tasks.local.jobs import Job
from fieval_tasks.local.process import OUT_OF_MEMORY
from fieval_tasks.local.verdicts import NoInput, Unscorable, Verdict

# Seconds for a process to end after it was killed.
_LAST_MOMENT: Final = 5.0
_BOOT: Final = (
    "import sys; sys.path[:] = sys.argv[3:];"
    "from fieval_tasks.local.process import main; main(float(sys.argv[1]), int(sys.argv[2]))"
)
# Environment variables that are not passed on: the process that scores a hostile row does not need them.
_KEYS: Final = ("FI_API_KEY", "FI_SECRET_KEY")


@dataclass(frozen=True)
class ScoringLimits:
    """The resources that one evaluation may use. An evaluation that uses more fails with a message that says so."""

    # 100 kB of ordinary text take any template 0.5 s on the developers' machine, 300 kB up to 4 s.
    cpu_seconds: float = 10.0
    """Seconds of CPU time, however busy the machine is."""
    # For a process that is blocked, and for systems that do not bound CPU time (Windows).
    seconds: float = 60.0
    """Seconds in all."""
    # It has 60 MiB before it begins.
    memory: int = 2**30
    """Bytes of the whole process. Only Linux enforces it."""


class Closed(RuntimeError):
    """Raised where the evaluator was closed before the evaluation was scored."""


class Broken(Exception):
    """Raised for an error in our scoring code; the message is its traceback."""


class ScoringProcess:
    """A process that scores one evaluation at a time, for one thread. It starts with the first, and is replaced by
    another where an evaluation has used up its limits."""

    def __init__(self, limits: ScoringLimits | None = None) -> None:
        self._limits = limits or ScoringLimits()
        self._process: subprocess.Popen[bytes] | None = None
        self._is_closed = False
        self._changing = threading.Lock()

    def score(self, evaluation: Job) -> tuple[Verdict, float]:
        """A verdict and the milliseconds it took. Raises NoInput or Unscorable, also for what passes the limits."""
        asked = {"template": evaluation.template, "inputs": evaluation.inputs, "params": evaluation.params}
        answer = json.loads(self._answer(json.dumps(asked).encode() + b"\n"))
        if answer["error"] is None:
            return Verdict(*answer["verdict"]), answer["runtime"]
        raise {"NoInput": NoInput, "Unscorable": Unscorable, "Broken": Broken}[answer["error"]](answer["text"])

    def close(self) -> None:
        """End the process at once, and start no other. From any thread; a caller that waits for a verdict gets Closed."""
        with self._changing:
            self._is_closed = True
            if self._process is not None:
                _end(self._process)

    def _answer(self, line: bytes) -> bytes:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        began = time.monotonic()
        watchdog = threading.Timer(self._limits.seconds, process.kill)
        watchdog.daemon = True
        watchdog.start()
        try:
            process.stdin.write(line)
            process.stdin.flush()
            answer = process.stdout.readline()
        except (OSError, ValueError):  # it ended before it had read all, or was closed
            answer = b""
        finally:
            watchdog.cancel()
        if answer.endswith(b"\n"):
            return answer
        raise self._failure(process, is_late=time.monotonic() - began >= self._limits.seconds)

    def _failure(self, process: subprocess.Popen[bytes], *, is_late: bool) -> Exception:
        """The failure of an evaluation that the process did not answer."""
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LAST_MOMENT)  # for the reason in its exit code, which a kill would hide
        code = _end(process)
        limits = self._limits
        if self._is_closed:
            return Closed("the evaluator was closed before this evaluation was scored")
        if is_late:
            what = f"had no verdict within {limits.seconds:g} s"
        elif code == OUT_OF_MEMORY:
            what = f"needs more than {limits.memory / 2**20:,.0f} MiB of memory"
        elif code == -getattr(signal, "SIGPROF", 0):
            what = f"took more than {limits.cpu_seconds:g} s of computing"
        elif code < 0:
            what = f"ended the process that scores it (signal {-code}), and passes"
        else:
            return Broken(f"the process that scores could not start: exit code {code}, see standard error")
        return Unscorable(f"this evaluation {what}, the local evaluator's limit")

    def _running(self) -> subprocess.Popen[bytes]:
        with self._changing:
            if self._is_closed:
                raise Closed("the evaluator is closed")
            if self._process is not None and self._process.poll() is not None:
                _end(self._process)
                self._process = None
            if self._process is None:
                self._process = _started(self._limits)
            return self._process


def _started(limits: ScoringLimits) -> subprocess.Popen[bytes]:
    command: list[Any] = [sys.executable, "-W", "ignore", "-c", _BOOT, limits.cpu_seconds, limits.memory, *sys.path]
    return subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name not in _KEYS},
        start_new_session=True,  # a Ctrl-C in the terminal is for its parent to answer
    )


def _end(process: subprocess.Popen[bytes]) -> int:
    """Its exit code, once the process is gone."""
    process.kill()
    code = process.wait()
    with suppress(OSError):  # of what it never read
        process.stdin.close()  # type: ignore[union-attr]  # it has both
    process.stdout.close()  # type: ignore[union-attr]
    return code
