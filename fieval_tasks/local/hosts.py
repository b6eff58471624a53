"""Which host names the server answers to.

A web page can make a name of its own resolve to this machine (DNS rebinding), and the browser then takes the server for
the page's own. It still says that name in `Host`, so a server that answers only to addresses, `localhost` and the names
it was given can't be driven that way.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Sequence
from typing import Final

# A whole Host header: an IPv6 address in brackets, or a name or IPv4 address; perhaps a port; nothing else.
_HOST: Final = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::[0-9]{1,5})?")


def answers_to(headers: Sequence[str], names: Collection[str]) -> bool:
    """There is one Host header, and it holds an IP address, `localhost` or one of the names."""
    if len(headers) != 1 or (match := _HOST.fullmatch(headers[0])) is None:
        return False
    if match["v6"] is not None:
        return _is_address(match["v6"], version=6)
    host = match["name"].lower()
    return host == "localhost" or _is_address(host, version=4) or host in {name.lower() for name in names}


def _is_address(text: str, *, version: int) -> bool:
    try:
        return ipaddress.ip_address(text).version == version
    except ValueError:
        return False
