"""Secrets are taken out of every text that may be shown or kept. This is the one place that knows how.

What is secret: what was handed to `remember_secrets`, what the environment names as one, the user name and password of any URL, the
signature in its query, and whatever follows the name of a header that carries keys.
"""

from __future__ import annotations

import json
import os
import re
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from html import escape
from typing import NoReturn
from urllib.parse import parse_qsl, quote, quote_plus, unquote, urlsplit

# Stands where a secret stood.
MARK = "[secret]"
# Characters of a secret that is looked for on its own: a shorter one would be found in any sentence.
SHORTEST = 4
# The same in what a server replies, where a word that only looks like the secret may be somebody's answer.
SHORTEST_IN_DATA = 8
# Secrets that are looked for, the latest: a process that works for years may see many.
MOST_KEPT = 100
# Words in the name of a variable, or of a URL's parameter: with its value anybody may read what the URL names.
_SECRET_WORDS = {
    *("signature", "sig", "token", "secret", "password", "passwd", "pwd", "credential", "credentials", "auth"),
    *("apikey", "accesskey", "awsaccesskeyid", "privatekey", "secretkey", "accountkey", "pgpassword", "sslpassword"),
    *("accesstoken", "authtoken", "pass", "passphrase", "bearer", "jwt", "sas", "pat", "hmac"),
}
# The variable in which each shell names the folder; of others, pwd is a password.
_WORKING_FOLDER = "PWD"

_kept: dict[str, None] = {}


def remember_secrets(*secrets: str | None) -> None:
    """From now on these are taken out of every text."""
    for secret in filter(None, secrets):
        _kept.pop(secret, None)
        _kept[secret] = None
    for oldest in [*_kept][:-MOST_KEPT]:
        del _kept[oldest]


def remember_secrets_of(url: str) -> None:
    """From now on what opens this URL is taken out of every text."""
    remember_secrets(*_of_url(url))


def scrubbed(text: str) -> str:
    """The text without any secret, for a message, a log, a file or a database."""
    for form in _all_forms(frozenset((*_kept, *_of_environment()))):
        if form in text:
            text = text.replace(form, MARK)
    for pattern, instead in _PATTERNS:
        text = pattern.sub(instead, text)
    return text


def forms_in_data(*secrets: str) -> tuple[bytes, ...]:
    """What `scrubbed_data` looks for, where these were sent along: each of SHORTEST_IN_DATA characters or more."""
    return tuple(form.encode() for form in _all_forms(frozenset(secrets)))


def scrubbed_data(data: bytes, secret: Sequence[bytes]) -> bytes:
    """A server's reply without the keys that it was sent; nothing else in it is changed."""
    for form in secret:
        if form in data:
            data = data.replace(form, MARK.encode())
    return data


def without_secrets(error: BaseException) -> BaseException:
    """The error with its words scrubbed, and its causes only as far as they tell none: a traceback shows them all.

    One that puts its words together from what it holds is told by another.
    """
    error.args = tuple(scrubbed(part) if isinstance(part, str) else part for part in error.args)
    if _holds_secret(error):
        return RuntimeError(scrubbed(f"{type(error).__name__}: {error}"))
    last = error
    while (cause := last.__cause__ or last.__context__) is not None:
        if _holds_secret(cause):
            last.__cause__ = last.__context__ = None
            break
        last.__context__ = cause
        last = cause
    return error


def raise_without_secrets(error: BaseException) -> NoReturn:
    """Raise an error that nobody foresaw so that whoever logs or keeps it, keeps no secret."""
    shown = without_secrets(error)
    raise shown from shown.__cause__


@contextmanager
def scrubbed_errors() -> Iterator[None]:
    """Around what others log and keep the errors of."""
    try:
        yield
    except Exception as error:
        raise_without_secrets(error)


def _holds_secret(error: BaseException) -> bool:
    return any(scrubbed(words) != words for words in (str(error), repr(error)))


# -- what is secret --------------------------------------------------------------------------------------------------


def names_a_secret(name: str) -> bool:
    """As FI_API_KEY, PREFECT_API_AUTH_STRING, X-Amz-Signature, clientSecret and sig do."""
    whole, words = _words(name), _words(_HUMP.sub("_", name))
    return (
        words[-1:] == ["key"] or words[-2:] == ["connection", "string"] or not _SECRET_WORDS.isdisjoint(whole + words)
    )


def _words(name: str) -> list[str]:
    return [word for word in re.split(r"[^a-z0-9]+", name.lower()) if word]


# Where camelCase begins another word.
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def _of_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        if name != _WORKING_FOLDER and names_a_secret(name) and len(value) >= SHORTEST_IN_DATA:
            yield value.strip()
        if "://" in value and not {"@", "="}.isdisjoint(value):
            yield from _of_url(value)


def _of_url(url: str) -> Iterator[str]:
    """The password as it is written and as it is meant, and with its user name, as a header has both in base64; and what its
    query names as one."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return
    user, has_password, password = parts.netloc.rpartition("@")[0].partition(":")
    secret = password if has_password else user
    if secret:
        yield from (secret, unquote(secret), b64encode(unquote(f"{user}:{password}").encode()).decode())
        yield from secret.split("@")  # a reader that takes the first for the end shows the rest as the host
    elif parts.scheme.startswith("postgres") and ":" in (login := url.partition("://")[2].rpartition("@")[0]):
        yield login.partition(":")[2]  # with / or # in it, which SQLAlchemy takes and urlsplit does not
    yield from (value for name, value in parse_qsl(parts.query) if names_a_secret(name))


@lru_cache(maxsize=8)
def _all_forms(secrets: frozenset[str]) -> tuple[str, ...]:
    """The longest first: one may be a part of another."""
    found = {form for one in secrets if len(one) >= SHORTEST for form in forms(one)}
    return tuple(sorted(found, key=len, reverse=True))


@lru_cache(maxsize=2 * MOST_KEPT)
def forms(secret: str) -> frozenset[str]:
    """The secret as it is, and as a URL, a page, JSON, a dump of bytes or a header would hold it."""
    plain, in_json = secret.encode("utf-8", "replace"), json.dumps(secret)[1:-1]
    quoted = (quote(secret), quote(secret, safe=""), quote_plus(secret))
    found = {
        *(secret, escape(secret), repr(secret)[1:-1], plain.hex(), plain.hex().upper(), *_in_base64(plain)),
        *(in_json, in_json.replace("/", "\\/"), in_json.translate(_HTML_SAFE)),
        *(form for text in quoted for form in (text, text.replace("%", "%25"), _PERCENT.sub(_lowered, text))),
    }
    return frozenset(filter(None, found))


_PERCENT = re.compile("%[0-9A-F]{2}")
_HTML_SAFE = {ord(letter): f"\\u{ord(letter):04x}" for letter in "<>&"}  # as Go's encoder writes JSON


def _lowered(found: re.Match[str]) -> str:
    return found[0].lower()


def _in_base64(plain: bytes) -> Iterator[str]:
    """What stays the same of the secret, wherever in a longer text it stands that was encoded as a whole."""
    for before in range(3):
        for encode in (b64encode, urlsafe_b64encode):
            whole = encode(bytes(before) + plain).decode()
            same = whole[-(-before * 8 // 6) : len(whole) if (before + len(plain)) % 3 == 0 else -4]
            if len(same) >= SHORTEST_IN_DATA:
                yield same


_USERINFO = re.compile(r"://([^\s/?#\"'`<>\\]*)@")
# Characters before a URL's colon that are looked at: postgresql+psycopg is the longest in use here.
LONGEST_SCHEME = 24
# Schemes whose user name alone opens nothing: that of a database, and Azure's name for a container.
_USER_IS_NO_SECRET = ("postgres", "abfs", "wasb")


def _without_userinfo(found: re.Match[str]) -> str:
    before = found.string[max(0, found.start() - LONGEST_SCHEME) : found.start()].lower()
    scheme = re.split(r"[^a-z0-9+.-]", before)[-1]
    is_open = found[1].endswith(":***") or (":" not in found[1] and scheme.startswith(_USER_IS_NO_SECRET))
    return found[0] if is_open else f"://{MARK}@"


def _without_signature(found: re.Match[str]) -> str:
    return f"{found[1]}={MARK}" if names_a_secret(found[1]) else found[0]


# What is secret wherever it stands, though nobody has named it.
_PATTERNS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (_USERINFO, _without_userinfo),
    (re.compile(r"(?<=[?&#])([\w.-]+)=[^&#\s\"'<>]+"), _without_signature),
    (
        re.compile(
            r"(?i)\b((?:proxy-)?authorization|x-api-key|x-secret-key)(['\"]?\s*[:=]\s*['\"]?)(?:(?:basic|bearer|digest|negotiate|token) +)?[^\s'\",;]+"
        ),
        rf"\1\2{MARK}",
    ),
)
