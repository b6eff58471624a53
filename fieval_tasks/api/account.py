"""The server and the account that a run's evaluations belong to, kept in the ledger as a hash that does not reveal the key."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

import httpx

from fieval_tasks.api.client import Credentials

# About 0.05 s. The platform's keys are random and can't be guessed; a self-hosted server's may be a person's own, and
# each guess at it is to cost something.
ROUNDS = 100_000
"""Iterations of PBKDF2."""
# Drawn for each run, so that a ledger does not show which runs share an account.
SALT = 8
"""Bytes of the salt."""
# 128 bits: no two keys have the same hash by chance.
SEAL = 16
"""Bytes of the hash that are kept."""


@dataclass(frozen=True)
class Account:
    """A server, and an account at it."""

    address: str
    """The server's address in one spelling; or `local` for the embedded evaluator, whose keys are new at each start."""
    _key: str | None = field(default=None, repr=False)

    @classmethod
    def from_credentials(cls, credentials: Credentials) -> Account:
        """The account of the API key, with the ids of workspace and organisation. The secret key may change and is left out."""
        ids = (credentials.api_key, credentials.workspace_id or "", credentials.organization_id or "")
        return cls(one_spelling(credentials.base_url), "\n".join(ids))

    def sealed(self) -> str | None:
        """A salted hash of the keys for the ledger: it shows whether other keys are the same, and nothing else."""
        return None if self._key is None else _sealed(self._key, secrets.token_hex(SALT))

    def has(self, seal: str | None) -> bool:
        """Whether `seal` was made from this account's keys."""
        if self._key is None or seal is None:
            return self._key is seal
        return hmac.compare_digest(seal, _sealed(self._key, seal.partition("$")[0]))


LOCAL = Account("local")


def _sealed(key: str, salt: str) -> str:
    digest = hashlib.pbkdf2_hmac("sha256", key.encode("utf-8", "backslashreplace"), salt.encode(), ROUNDS, dklen=SEAL)
    return f"{salt}${digest.hex()}"


def one_spelling(address: str) -> str:
    """A server's address with its host in lower case, without a default port and without slashes at the end."""
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:  # of a run that an older program began, or none: it is compared as it is
        return address
    if not url.host:
        return address
    host = url.netloc.decode("ascii").removesuffix(_DEFAULT_PORT.get(url.scheme, ""))
    return f"{url.scheme}://{host}{url.raw_path.decode('ascii').rstrip('/')}"


_DEFAULT_PORT = {"http": ":80", "https": ":443"}
