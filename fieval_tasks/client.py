"""The platform's calls, for other programs: see `fieval_tasks`."""

from fieval_tasks.api.client import Credentials, EvalClient

__all__ = ["Credentials", "EvalClient"]
