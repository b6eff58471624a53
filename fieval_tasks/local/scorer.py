"""Scoring in a process of its own, so that a text made to be slow or large takes neither the server nor its neighbours."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

from fieval_tasks.local.store import Request
from fieval_tasks.local.verdicts import OUT_OF_MEMORY, NoInput, Unscorable, Verdict

_LAST_MOMENT: Final = 5.0
"""Seconds in which a process is gone that answers no more."""


@dataclass(frozen=True)
class Limits:
    """What one evaluation may use of this machine. What passes it is a failed evaluation that says so."""

    cpu_seconds: float = 10.0
    """Of computing, however busy the machine is. 100 kB of honest text take any template 0.5 s here, 300 kB up to 4 s."""
    seconds: float = 60.0
    """In all, for a process that makes no headway, or whose system does not count its computing (Windows)."""
    memory: int = 2**30
    """Bytes of the whole process, which has 60 MiB before it begins. Linux holds to it."""


class Closed(RuntimeError):
    """The scorer was closed while it scored: nothing is known of this evaluation."""


class Broken(Exception):
    """A fault of ours in scoring; the text is its traceback, `told` the error alone."""

    def __init__(self, traceback: str, told: str) -> None:
        super().__init__(traceback)
        self.told = told


class Scorer:
    """A process that scores one evaluation at a time, for one thread. It starts with the first, and is replaced by
    another where an evaluation has used up its limits."""

    def __init__(self, limits: Limits = Limits()) -> None:
        self._limits = limits
        self._process: subprocess.Popen[bytes] | None = None
        self._closed = False
        self._changing = threading.Lock()

    def score(self, request: Request) -> tuple[Verdict, float]:
        """A verdict and the milliseconds it took. Raises NoInput or Unscorable, also for what passes the limits."""
        asked = {"template": request.template, "inputs": request.inputs, "params": request.params}
        answer = json.loads(self._answer(json.dumps(asked).encode() + b"\n"))
        if answer["spent"]:
            self._end()
        if "verdict" in answer:
            return Verdict(*answer["verdict"]), answer["runtime"]
        if "no_input" in answer:
            raise NoInput(answer["no_input"])
        if "unscorable" in answer:
            raise Unscorable(answer["unscorable"])
        if "memory" in answer:
            raise self._too_large()
        raise Broken(answer["traceback"], answer["told"])

    def close(self) -> None:
        """End the process at once. From any thread, and for good: who waits for a verdict gets Closed."""
        with self._changing:
            self._closed = True
            if self._process is not None:
                self._process.kill()

    def release(self) -> None:
        """Close, and wait until the process is gone. For the thread that scores."""
        self.close()
        self._end()

    def _answer(self, line: bytes) -> bytes:
        process = self._running()
        assert process.stdin is not None
        assert process.stdout is not None
        with _ended_after(self._limits.seconds, process) as too_late:
            try:
                process.stdin.write(line)
                process.stdin.flush()
                answer = process.stdout.readline()
            except OSError:  # it ended before it had read all
                answer = b""
        if answer.endswith(b"\n"):
            return answer
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LAST_MOMENT)  # for the reason in its exit code, which a kill would hide
        code = self._end()
        if self._closed:
            raise Closed("the evaluator was closed before this evaluation was scored")
        if code == OUT_OF_MEMORY:
            raise self._too_large()
        if too_late.is_set():
            raise Unscorable(
                f"this evaluation had no verdict within {self._limits.seconds:g} s, the local evaluator's limit"
            )
        if code == -_OUT_OF_TIME:
            limit = f"{self._limits.cpu_seconds:g} s of computing"
            raise Unscorable(f"this evaluation took more than {limit}, the local evaluator's limit")
        if code < 0:
            raise Unscorable(
                f"scoring this evaluation ended its process (signal {-code}): it is more than that can take"
            )
        raise Broken(f"exit code {code}; what it said is on standard error", "the process that scores could not start")

    def _too_large(self) -> Unscorable:
        limit = f"{self._limits.memory / 2**20:,.0f} MiB of memory"
        return Unscorable(f"this evaluation needs more than {limit}, the local evaluator's limit")

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is not None:
            self._end()  # somebody else has ended it since
        with self._changing:
            if self._closed:
                raise Closed("the evaluator is closed")
            if self._process is None:
                self._process = _started(self._limits)
            return self._process

    def _end(self) -> int:
        """Its exit code, once the process is gone; 0 where there was none."""
        with self._changing:
            process, self._process = self._process, None
        if process is None:
            return 0
        process.kill()
        with suppress(OSError):  # of what it never read
            process.stdin.close()  # type: ignore[union-attr]  # it has both
        process.stdout.close()  # type: ignore[union-attr]
        return process.wait()


_OUT_OF_TIME: Final[int] = getattr(signal, "SIGPROF", 0)


@contextmanager
def _ended_after(seconds: float, process: subprocess.Popen[bytes]) -> Iterator[threading.Event]:
    """Kills the process if the body takes longer. Yields what is set then."""
    too_late = threading.Event()

    def end() -> None:
        too_late.set()
        process.kill()

    watchdog = threading.Timer(seconds, end)
    watchdog.daemon = True
    watchdog.start()
    try:
        yield too_late
    finally:
        watchdog.cancel()


_BOOT: Final = (
    "import sys; sys.path[:] = sys.argv[3:];"
    "from fieval_tasks.local.scoring.process import main; main(float(sys.argv[1]), int(sys.argv[2]))"
)


_KEYS: Final = ("FI_API_KEY", "FI_SECRET_KEY")
"""What scores a hostile row has no use for."""


def _started(limits: Limits) -> subprocess.Popen[bytes]:
    command: list[Any] = [sys.executable, "-W", "ignore", "-c", _BOOT, limits.cpu_seconds, limits.memory, *sys.path]
    return subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name not in _KEYS},
        start_new_session=True,  # a Ctrl-C in the terminal is for its parent to answer
    )
