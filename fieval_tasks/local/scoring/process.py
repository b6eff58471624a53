"""The process that scores: a line of JSON asks for an evaluation, a line of JSON answers, until there is no more to read.

It may end at any moment by the limits it sets itself, and ends with its parent.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from queue import SimpleQueue
from typing import Any, Final

from fieval_tasks.local.catalogue import TEMPLATES
from fieval_tasks.local.scoring import score
from fieval_tasks.local.verdicts import OUT_OF_MEMORY, NoInput, Unscorable

LONGEST_REASON: Final = 10_000
"""Characters of a reason that are told: some repeat what they found, be it a megabyte."""

Answer = dict[str, Any]


def main(cpu_seconds: float, memory: int) -> None:
    """Answer what stands on standard input, on what was standard output; a stray `print` goes to standard error."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    _bound_memory(memory)
    lines: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_read, args=(lines,), daemon=True).start()
    try:
        while True:
            answer = _answer(lines.get(), cpu_seconds, memory)
            is_spent = "memory" in answer or _memory_used() > memory / 2
            answers.write(json.dumps({**answer, "spent": is_spent}).encode() + b"\n")
            answers.flush()
            if is_spent:
                return
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    except BrokenPipeError:  # the parent is gone
        os._exit(0)


def _read(lines: SimpleQueue[bytes]) -> None:
    """Hand on what is asked. Where there is no more, the parent is gone, and this process goes too, whatever it computes."""
    try:
        for line in sys.stdin.buffer:
            lines.put(line)
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    os._exit(0)


def _answer(line: bytes, cpu_seconds: float, memory: int) -> Answer:
    try:
        asked = json.loads(line)
        template = TEMPLATES[asked["template"]]
        with _at_most(cpu_seconds):
            started = time.perf_counter()
            verdict = score(template, asked["inputs"], asked["params"])
            # In whole milliseconds, for the official SDK reads no others.
            runtime = float(round((time.perf_counter() - started) * 1000))
    except NoInput as error:
        return {"no_input": _shortened(str(error))}
    except Unscorable as error:
        return {"unscorable": _shortened(str(error))}
    except MemoryError:
        return {"memory": memory}
    except Exception as error:
        return {
            "traceback": _shortened(traceback.format_exc()),
            "told": _shortened(f"{type(error).__name__}: {error}"),
        }
    return {"verdict": [verdict.value, _shortened(verdict.reason)], "runtime": runtime}


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_REASON else f"{text[:LONGEST_REASON]}… ({len(text):,} characters in all)"


@contextmanager
def _at_most(cpu_seconds: float) -> Iterator[None]:
    """The system ends this process once it has computed for so long, also in the middle of a call in C."""
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


def _memory_used() -> int:
    """Bytes that it holds now; 0 where the system does not say. (The highest there were would be the parent's.)"""
    with suppress(OSError), open("/proc/self/statm", encoding="ascii") as pages:
        return int(pages.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0
