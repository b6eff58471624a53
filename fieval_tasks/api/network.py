"""Proxy, certificates and connection errors: the error for a request that got no answer, and what to set."""

from __future__ import annotations

import os
import re
from ssl import SSLContext
from urllib.request import getproxies, proxy_bypass

import httpx

from fieval_tasks.api.transport import NoWayThrough, PooledTransport, Untrusted, shown_address
from fieval_tasks.core.errors import ApiError, Lost, PlanError, Unreachable, in_words
from fieval_tasks.core.scrubbing import remember_secrets_of

# A connection that takes longer, on any network, is to a host that drops packets.
_CONNECT_WITHIN = 15.0
_UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)
_TRUST = "where an authority of your own has signed it, name that authority's file in SSL_CERT_FILE"
_HTTP_PROXY = re.compile(r"https?://([^\s/@]+@)?(\[[0-9a-fA-F:]+\]|[^\s/@:\[\]]+)(:\d+)?/?")


def pooled(url: httpx.URL, connections: int, timeout: float) -> PooledTransport:
    """A client's transport. Raises PlanError where the environment names a proxy or certificates that can't be used."""
    # A connection may take half of the client's timeout: past that the request is certainly unsent (Unreachable), while a
    # timeout of the whole call has to count as Lost.
    unsent = timeout / 2
    connect = min(_CONNECT_WITHIN, unsent)
    proxy = _proxy(url)
    return PooledTransport(
        connections=connections, connect=connect, wait=unsent, ssl=_certificates(str(url), proxy), proxy=proxy
    )


def transport_error(error: httpx.HTTPError, where: str) -> ApiError:
    """Lost where the request may have gone out, Unreachable where it certainly did not.

    A lost POST that was taken for unsent would be submitted, and paid, twice.
    """
    reason = " ".join(in_words(error).split())
    if isinstance(error, Untrusted):
        return Unreachable(f"the certificate of {where} can't be trusted ({reason}): {_TRUST}")
    if isinstance(error, NoWayThrough):
        return _no_way_through(where, error.proxy, reason, wants_login=error.status == 407)
    if isinstance(error, _UNSENT):
        return Unreachable(f"can't connect to {where} ({reason}): is the server running, and is the base URL right?")
    return Lost(f"{where} took the request and no reply came back ({reason})")


def login_wanted(where: str) -> Unreachable:
    """The error of a request to which a proxy answered 407."""
    proxy = _proxy(httpx.URL(where))
    return _no_way_through(where, proxy and shown_address(httpx.URL(proxy)), "it answered 407", wants_login=True)


def _no_way_through(where: str, proxy: str | None, reason: str, *, wants_login: bool) -> Unreachable:
    url = httpx.URL(where)
    variable = _proxy_variable(url.scheme)
    named = f"the proxy {proxy} that {variable} names" if proxy else "a proxy on the way"
    step = f"is that proxy running, and does it let you through to there? no_proxy={url.host} goes past it"
    if wants_login:
        step = f"it wants a login: put NAME:PASSWORD@ before its host in {variable}"
    status = 407 if wants_login else None
    return Unreachable(f"can't connect to {where} through {named} ({reason}): {step}", status=status)


def _certificates(*addresses: str | None) -> SSLContext | None:
    if not any(address and address.startswith("https:") for address in addresses):
        return None  # they take a while to load
    try:
        return httpx.create_ssl_context()
    except OSError as error:
        named = os.environ.get("SSL_CERT_FILE")
        raise PlanError(f"SSL_CERT_FILE names {named!r}, which can't be read as certificates ({error})") from error


def _proxy(url: httpx.URL) -> str | None:
    """The proxy that the environment names for this address."""
    variable = _proxy_variable(url.scheme)
    named = getproxies().get(variable.removesuffix("_proxy"))
    if not named or proxy_bypass(url.host):
        return None
    remember_secrets_of(named)
    if not _HTTP_PROXY.fullmatch(named):  # it may hold a password, so it is not shown
        raise PlanError(
            f"{variable} names no HTTP proxy that can be used: write it as http://host:3128, and / and @ in a "
            f"password as %2F and %40"
        )
    return named


def _proxy_variable(scheme: str) -> str:
    """The environment variable that names the proxy for this scheme: all_proxy, unless the scheme has its own."""
    proxies = getproxies()
    return "all_proxy" if "all" in proxies and scheme not in proxies else f"{scheme}_proxy"
