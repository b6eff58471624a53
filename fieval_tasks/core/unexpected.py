"""An error that no code handles: reported in one sentence, with its traceback in a log file."""

from __future__ import annotations

import os
import tempfile
import traceback
from datetime import datetime
from pathlib import Path

from fieval_tasks.core.errors import Unexpected, in_words
from fieval_tasks.core.private_files import make_folder
from fieval_tasks.core.scrubbing import scrubbed, without_secrets

FOLDER = Path("fieval-runs")
"""Where the logs go; if it can't be written, the system's folder for temporary files."""
# Some libraries' messages fill screens. The log has the whole text.
LONGEST = 300
"""Characters of the error's own message in the sentence."""


def as_unexpected(error: BaseException, *, then: str = "") -> Unexpected:
    """Write the error's traceback to a log; the Unexpected to raise. `then`: the user's next step, such as a command."""
    if isinstance(error, Unexpected):
        return error
    sentence = f"unexpected {_named(error)}; {_logged(error)}{f'; {then}' if then else ''}"
    unexpected = Unexpected(sentence)
    unexpected.__cause__ = error
    without_secrets(unexpected)
    return unexpected


def _named(error: BaseException) -> str:
    kind, words = type(error).__name__, " ".join(in_words(error).split())
    words = words[:LONGEST]
    return kind if words == kind else f"{kind}: {words}"


def _logged(error: BaseException) -> str:
    try:
        text = scrubbed("".join(traceback.format_exception(type(error), error, error.__traceback__)))
        return f"the log with its traceback is {_written(text)}"
    except (OSError, MemoryError, RecursionError) as why:
        return f"its traceback could not be written ({in_words(why)})"


def _written(text: str) -> Path:
    try:
        make_folder(FOLDER)
        return _file(text, FOLDER)
    except OSError:
        return _file(text, Path(tempfile.gettempdir()))


def _file(text: str, folder: Path) -> Path:
    """Write a new log file. mkstemp makes it readable by its owner only: a traceback may quote evaluated texts."""
    handle, name = tempfile.mkstemp(prefix=f"error-{datetime.now():%Y%m%d-%H%M%S}-", suffix=".log", dir=folder)
    with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as log:
        log.write(text)
    return folder / Path(name).name
