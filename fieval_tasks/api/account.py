"""Whose a run's evaluations are: the server that has them, and the account of the keys, sealed so that no ledger gives it away."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field

import httpx

from fieval_tasks.api.client import Credentials

# Of PBKDF2, about 0.05 s: a key is drawn at random and can't be guessed; one that a person made up is not to be tried
# quickly.
ROUNDS = 100_000
# Bytes, drawn for each run: two runs of one account can't be told from two of different accounts.
SALT = 8
# Bytes that are kept: no two keys have these in common by chance.
SEAL = 16


@dataclass(frozen=True)
class Account:
    """Where requests go, and as whom."""

    address: str
    """The server's, in one spelling; or `local`: the embedded evaluator, whose keys are new at each start."""
    _key: str | None = field(default=None, repr=False)

    @classmethod
    def from_credentials(cls, credentials: Credentials) -> Account:
        """An API key names the account; the secret key is no part of it. Ids of a workspace or an organisation are."""
        ids = (credentials.api_key, credentials.workspace_id or "", credentials.organization_id or "")
        return cls(one_spelling(credentials.base_url), "\n".join(ids))

    def sealed(self) -> str | None:
        """What may be kept of the keys: it tells whether others are the same, and nothing else."""
        return None if self._key is None else _sealed(self._key, secrets.token_hex(SALT))

    def has(self, seal: str | None) -> bool:
        """Whether this is the account that was sealed so."""
        if self._key is None or seal is None:
            return self._key is seal
        return hmac.compare_digest(seal, _sealed(self._key, seal.partition("$")[0]))


LOCAL = Account("local")


def _sealed(key: str, salt: str) -> str:
    digest = hashlib.pbkdf2_hmac("sha256", key.encode("utf-8", "backslashreplace"), salt.encode(), ROUNDS, dklen=SEAL)
    return f"{salt}${digest.hex()}"


def one_spelling(address: str) -> str:
    """The same for every way to write a server's address: letters of the host, default port, slash at the end."""
    try:
        url = httpx.URL(address)
    except httpx.InvalidURL:  # of a run that an older program began, or none: it is compared as it is
        return address
    if not url.host:
        return address
    host = url.netloc.decode("ascii").removesuffix(_DEFAULT_PORT.get(url.scheme, ""))
    return f"{url.scheme}://{host}{url.raw_path.decode('ascii').rstrip('/')}"


_DEFAULT_PORT = {"http": ":80", "https": ":443"}
