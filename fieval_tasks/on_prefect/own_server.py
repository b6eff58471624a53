"""The process of `OwnServer`: a Prefect server on loopback, which ends with the process that started it."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

from fieval_tasks.core.private_files import make_file, make_folder
from fieval_tasks.on_prefect.times import TIMES


def serve(port: int) -> None:
    """Serve until the parent is gone, or says so by SIGTERM."""
    os.umask(0o077)  # its database holds the run's log and its parameters
    _end_with_parent()
    import uvicorn
    from prefect.settings import PREFECT_SERVER_API_AUTH_STRING, PREFECT_SERVER_API_BASE_PATH, temporary_settings

    _require_database()
    not_ours = {PREFECT_SERVER_API_AUTH_STRING, PREFECT_SERVER_API_BASE_PATH}  # meant for a server that others reach
    with temporary_settings(restore_defaults=not_ours):
        uvicorn.run(
            "prefect.server.api.server:create_app", factory=True, host="127.0.0.1", port=port, log_level="critical",
            timeout_graceful_shutdown=2,
        )  # fmt: skip


def _end_with_parent() -> None:
    """The parent holds the other end of our standard input: when it is gone, so are we."""

    def watch() -> None:
        while os.read(0, 1):  # no file object: its lock would break the interpreter's own end
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(TIMES.server_ends_within)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _require_database() -> None:
    """Ends the process, with a sentence, where the server's database can't be made or written."""
    from prefect.settings import get_current_settings
    from sqlalchemy.engine import make_url

    home, url = get_current_settings().home, get_current_settings().server.database.connection_url
    assert url is not None  # Prefect puts its own where none is set
    database = make_url(url.get_secret_value())
    if database.get_backend_name() != "sqlite" or database.database in (None, "", ":memory:"):
        return
    path = Path(str(database.database))
    try:
        make_folder(path.parent)
        make_file(path)
        with path.open("ab"), tempfile.TemporaryFile(dir=path.parent):  # which holds its journal, too
            return
    except OSError as error:
        sys.exit(
            f"its database {path} can't be written ({error.strerror}): set PREFECT_HOME, now {home}, to a folder that can"
        )


if __name__ == "__main__":
    serve(int(sys.argv[1]))
