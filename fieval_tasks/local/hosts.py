"""Which host names the server answers to.

A web page can make a name of its own resolve to this machine (DNS rebinding), and the browser then takes the server for
the page's own. It still says that name in `Host`, so a server that answers only to addresses, `localhost` and the names
it was given can't be driven that way.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection


def answers_to(header: str, names: Collection[str]) -> bool:
    """The Host header holds an IP address, `localhost` or one of the names."""
    host = host_name(header)
    return host == "localhost" or _is_address(host) or host in {name.lower() for name in names}


def host_name(header: str) -> str:
    """The name or address in a Host header, without its port and brackets."""
    if header.startswith("["):
        return header[1:].partition("]")[0]
    return header.partition(":")[0].lower()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
