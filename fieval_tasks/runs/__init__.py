"""From a plan to a run in the ledger, and from the ledger to its outcome and report, to lists, trends and items' biographies."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd


class CallableRoom(ModuleType):
    """`fieval_tasks.runs()` lists the runs, and `fieval_tasks.runs` is this room: once it is imported, both are one name."""

    def __call__(self, store: str | None = None) -> pd.DataFrame:
        from fieval_tasks.runs.frames import runs

        return runs(store)


sys.modules[__name__].__class__ = CallableRoom
