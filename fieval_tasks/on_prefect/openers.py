"""Opening a run whose plan may name what Prefect keeps: a block of keys, or a limit that processes share. Prefect is imported then."""

from __future__ import annotations

from functools import partial

from fieval_tasks.api.client import Credentials
from fieval_tasks.pace.permits import PermitSource
from fieval_tasks.runs import preparation
from fieval_tasks.runs.connections import Openers


def _keys(block: str) -> Credentials:
    from fieval_tasks.on_prefect.keys import load_credentials

    return load_credentials(block)


def _limit(name: str) -> PermitSource:
    from fieval_tasks.on_prefect.shared_limit import shared_limit

    return shared_limit(name)


PREFECT = Openers(_keys, _limit)

prepared = partial(preparation.prepared, openers=PREFECT)
"""The run that is asked for, open (`runs.preparation.prepared`), whose plan may name what Prefect keeps."""
