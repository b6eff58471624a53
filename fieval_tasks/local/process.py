"""The process that scores: a line of JSON asks for an evaluation, a line of JSON answers, until there is no more to read.

It may end at any moment by the limits it sets itself; it ends at the latest there once its parent is gone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from fieval_tasks.local.catalogue import CATALOGUE
from fieval_tasks.local.scoring import score
from fieval_tasks.local.verdicts import NoInput, Unscorable

# No other program uses this code, as far as we know.
OUT_OF_MEMORY: Final = 86
"""The exit code where the memory did not suffice."""
# Some reasons quote what they found, which may be a megabyte.
LONGEST_REASON: Final = 10_000
"""Characters that are kept of a reason."""


def main(cpu_seconds: float, memory: int) -> None:
    """Answer each line of standard input on standard output. A `print` in a library goes to standard error instead."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _bound_memory(memory)
    try:
        for line in sys.stdin.buffer:
            answers.write(json.dumps(_answer(line, cpu_seconds)).encode() + b"\n")
            answers.flush()
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except BrokenPipeError:  # the parent is gone
        os._exit(0)


def _answer(line: bytes, cpu_seconds: float) -> dict[str, Any]:
    try:
        asked = json.loads(line)
        entry = CATALOGUE[asked["template"]]
        with _at_most(cpu_seconds):
            started = time.perf_counter()
            verdict = score(entry, asked["inputs"], asked["params"])
            # In whole milliseconds, for the official SDK reads no others.
            runtime = float(round((time.perf_counter() - started) * 1000))
    except (NoInput, Unscorable) as error:
        return {"error": type(error).__name__, "text": _shortened(str(error))}
    except MemoryError:
        raise
    except Exception:
        return {"error": "Broken", "text": _shortened(traceback.format_exc())}
    return {"error": None, "verdict": [verdict.value, _shortened(verdict.reason)], "runtime": runtime}


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}… ({len(text):,} characters in all)"


@contextmanager
def _at_most(cpu_seconds: float) -> Iterator[None]:
    """Have the system end this process after so many seconds of CPU time, even inside of a call in C."""
    if not hasattr(signal, "setitimer"):  # Windows: the parent counts the seconds
        yield
        return
    signal.setitimer(signal.ITIMER_PROF, cpu_seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


def _bound_memory(most: int) -> None:
    try:
        import resource
    except ImportError:  # Windows
        return
    # Of its data, not its addresses: libraries reserve many times the addresses that they use.
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    resource.setrlimit(resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
