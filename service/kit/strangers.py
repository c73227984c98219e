"""How often an address may come without a key that stands: so many failures a minute, then 429.

Each process counts for itself, in memory: a storm of bad keys must not cost a round trip each, and those
who keep a limit of their own need no shared one. An address that is over it is refused before its key is
looked up; keys that this process has known are let past, so that strangers behind the same address (an
office, a proxy) do not lock out those who are known. The window moves: it looks back a minute from now.
"""

from __future__ import annotations

import ipaddress
import threading
from collections import OrderedDict, deque

from service.kit.rate_limits import WINDOW_SECONDS, Allowance

_MOST_ADDRESSES = 10_000
_IPV6_HOUSEHOLD_BITS = 64


class Strangers:
    """Remembers failures by address: at most `limit` moments of at most ten thousand addresses."""

    def __init__(self, *, limit: int, most_addresses: int = _MOST_ADDRESSES) -> None:
        self._limit = limit
        self._most_addresses = most_addresses
        self._lock = threading.Lock()
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()

    def find_refusal(self, address: str | None, *, seconds: float) -> Allowance | None:
        """Return what to tell an address that failed too often; None if it may try. `seconds` since 1970."""
        if not self._failures:
            return None
        moments = self._failures.get(_household_of(address))
        if moments is None or len(moments) < self._limit:
            return None
        wait = moments[0] + WINDOW_SECONDS - seconds
        return Allowance(False, self._limit, 0, wait, policy="failures") if wait > 0 else None

    def count(self, address: str | None, *, seconds: float) -> None:
        """Remember a failure. The address that failed longest ago makes room for a new one."""
        household = _household_of(address)
        with self._lock:
            moments = self._failures.get(household)
            if moments is None:
                if len(self._failures) >= self._most_addresses:
                    self._failures.popitem(last=False)
                moments = self._failures[household] = deque(maxlen=self._limit)
            moments.append(seconds)
            self._failures.move_to_end(household)


def _household_of(address: str | None) -> str:
    """Return the address, or of IPv6 the network of 64 bits: one subscriber has all of its addresses."""
    try:
        known = ipaddress.ip_address(address or "")
    except ValueError:
        return (address or "")[:64]
    if known.version == 4:
        return str(known)
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ipaddress.ip_network((known, _IPV6_HOUSEHOLD_BITS), strict=False))
