"""Which addresses of the network may be reached for somebody who is not trusted: public ones, and what is allowed.

Users and models name URLs; this server may stand where it sees what they must not: its own loopback, the machines beside
it, a cloud's metadata service. A name is looked up once, every address it has is judged, and the caller connects to one
of the addresses it is given and to nothing else. So there is no moment between the check and the connection at which a
name could begin to mean something else.

It knows nothing of HTTP. The blocks are those of the IANA special-purpose registries that are not globally reachable.
"""

from __future__ import annotations

import asyncio
import errno
import queue
import re
import socket
import threading
from collections.abc import Awaitable, Callable, Iterable
from concurrent.futures import Future
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import msgspec

from antiphon.ports import FetchError

Found = list[tuple[Any, ...]]  # as `socket.getaddrinfo` has it
Address = IPv4Address | IPv6Address
LookUp = Callable[[str, int], Awaitable[Iterable[str]]]

PORTS = frozenset({80, 443, 8080, 8443})  # where web pages are; anything else may be a mail server or a database

_HERE = tuple(
    IPv4Network(block)
    for block in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24",
        "192.0.2.0/24", "192.88.99.0/24", "192.168.0.0/16", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24",
        "224.0.0.0/4", "240.0.0.0/4",
    )
)  # fmt: skip
_UNICAST = IPv6Network("2000::/3")  # all that IANA has given out; loopback, local, multicast … are elsewhere
# Protocol assignments with Teredo and ORCHID, documentation, 6to4, documentation: tunnels can lead to any IPv4 address.
_NOT_UNICAST = tuple(IPv6Network(block) for block in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
_NAT64 = IPv6Network("64:ff9b::/96")
# Metadata services. A wide network of the allowlist does not open them, only an entry that names them does.
_METADATA = frozenset(
    map(ip_address, ("169.254.169.254", "169.254.170.2", "100.100.100.200", "168.63.129.16", "192.0.0.192", "fd00:ec2::254"))
)  # fmt: skip

_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)", re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_PATIENCE = 10.0  # seconds for a name's addresses
_AT_ONCE = 16  # names that are looked up for strangers
_LINE = 1000  # names that wait for their turn


def is_public(address: Address) -> bool:
    """Whether an address is one of the public internet, and so is what it stands for in IPv4."""
    address = _inner(address)
    if address in _METADATA:
        return False
    if isinstance(address, IPv4Address):
        return not any(address in block for block in _HERE)
    return address in _UNICAST and not any(address in block for block in _NOT_UNICAST)


def literal(host: str) -> Address | None:
    """The address that a URL's host spells, None for a name.

    Raises FetchError for `0x7f.1`, `2130706433`, `0177.0.0.1`, `127.1` and the like: resolvers and browsers take them for
    addresses, and there is no honest reason to write one so.
    """
    try:
        if ":" in host:
            address = IPv6Address(host)
            if address.scope_id is not None:
                raise FetchError("unsafe", "An address with a zone is never fetched.")
            return address
        return IPv4Address(host) if _NUMERIC.fullmatch(host.rpartition(".")[2]) else None
    except ValueError:
        raise FetchError("unsafe", "An address is only fetched in its plain form, four decimal numbers.") from None


class LookUps:
    """Looks names up in threads of its own, `at_once` at most, which are kept and begun as they are needed.

    A look-up cannot be called off: whoever has asked may have given up long ago, and its thread still waits for a name
    server that is silent. Such names must not take the few threads that the loop has for the names of the operator's own
    machines. At a stop nobody waits for these threads either.
    """

    def __init__(self, ask: Callable[[str, int], Found], at_once: int = _AT_ONCE, line: int = _LINE) -> None:
        self._ask = ask
        self._room = at_once
        self._line: queue.Queue[tuple[Future[Found], str, int]] = queue.Queue(line)
        self._spare = 0  # free threads less names in the line
        self._changing = threading.Lock()

    async def __call__(self, host: str, port: int) -> list[str]:
        """The addresses of a name. Raises FetchError where there are none, or they are not known in time."""
        answer: Future[Found] = Future()
        try:
            self._line.put_nowait((answer, host, port))
            self._begin()
            async with asyncio.timeout(_PATIENCE):
                found = await asyncio.wrap_future(answer)  # where it is cancelled in the line, no thread takes it up
        except queue.Full:
            raise FetchError("error", "Too many names are being looked up.") from None
        except (OSError, ValueError):  # TimeoutError is an OSError; a label that is too long is a UnicodeError
            raise FetchError("error", "The name of the host has no address.") from None
        return [str(entry[4][0]) for entry in found]

    def _begin(self) -> None:
        """One thread more for a name, where none is free."""
        with self._changing:
            self._spare -= 1
            if self._spare >= 0 or self._room == 0:
                return
            self._room -= 1
            self._spare += 1
        threading.Thread(target=self._work, name="look-up", daemon=True).start()

    def _work(self) -> None:
        while True:
            answer, host, port = self._line.get()
            if answer.set_running_or_notify_cancel():
                try:
                    answer.set_result(self._ask(host, port))
                except (OSError, ValueError) as fault:
                    answer.set_exception(fault)
            with self._changing:
                self._spare += 1


def _system(host: str, port: int) -> Found:
    return list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))


look_up = LookUps(_system)  # by the system's resolver


class Guard:
    """Says where one may connect. `allow` opens what is not public: `host`, `*.suffix`, an address or a network in CIDR
    form, each also with `:port` for a port that is not a usual one. Raises ValueError for an entry that is none of these.
    """

    def __init__(self, allow: Iterable[str] = (), *, look_up: LookUp = look_up) -> None:
        self._allow = tuple(map(_entry, allow))
        self._look_up = look_up

    async def resolve(self, host: str, port: int) -> tuple[str, ...]:
        """The addresses that may be connected to for `host` (no brackets), in order; at least one.

        Raises FetchError: `unsafe` where one of them, or the port, is not open to strangers; `error` where there is none.
        """
        host = host.lower().removesuffix(".")
        if port not in PORTS and all(entry.port != port for entry in self._allow):
            raise FetchError("unsafe", f"Port {port} is never fetched from.")
        spelt = literal(host)
        if spelt is None and (len(host) > 253 or not _NAME.fullmatch(host)):
            raise FetchError("error", "The name of the host is not a valid one.")
        found = [spelt] if spelt is not None else [ip_address(one) for one in await self._look_up(host, port)]
        if not found:
            raise FetchError("error", "The name of the host has no address.")
        if not all(self._open(host, address, port) for address in found):
            # Which address it is stays here: the names of an internal network are nobody's business.
            raise FetchError("unsafe", "The host is, or leads to, an address that is not public.")
        return tuple(dict.fromkeys(map(str, found)))

    def _open(self, host: str, address: Address, port: int) -> bool:
        if any(entry.opens(host, address, port) for entry in self._allow):
            return True
        return port in PORTS and is_public(address)


class _Entry(msgspec.Struct, frozen=True):
    """One entry of the allowlist: a name, the names under a suffix, or a network; `port` None means the usual ones."""

    port: int | None
    name: str = ""
    suffix: str = ""
    network: IPv4Network | IPv6Network | None = None

    def opens(self, host: str, address: Address, port: int) -> bool:
        if port not in PORTS if self.port is None else port != self.port:
            return False
        if self.network is None:
            return host == self.name or (self.suffix != "" and host.endswith(self.suffix))
        inner = _inner(address)
        exact = self.network.prefixlen == self.network.max_prefixlen
        return any(one in self.network and (exact or inner not in _METADATA) for one in (address, inner))


def _entry(text: str) -> _Entry:
    whole = text.strip().lower()
    bare = _network(whole)  # first as a whole: an IPv6 address ends in what looks like a port
    if bare is not None:
        return _Entry(None, network=bare)
    rest, colon, digits = whole.rpartition(":")
    port = int(digits) if colon and digits.isdecimal() and 0 < int(digits) < 65536 else None
    host = rest if port is not None else whole
    network = _network(host)
    if network is not None:
        return _Entry(port, network=network)
    name = host.removeprefix("*.")
    if not _NAME.fullmatch(name) or _NUMERIC.fullmatch(name.rpartition(".")[2]):
        raise ValueError(f"'{text}' is not a host, *.suffix, address or network, with or without :port")
    return _Entry(port, suffix=f".{name}") if host.startswith("*.") else _Entry(port, name=name)


def _network(text: str) -> IPv4Network | IPv6Network | None:
    if text.startswith("[") and text.endswith("]"):
        text = text[1:-1]
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _inner(address: Address) -> Address:
    """The IPv4 address that an IPv6 one only wraps (mapped, NAT64), else the address itself."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


class Pinned:
    """Stands as AbstractResolver where aiohttp looks up names: gives the addresses that were judged, and makes the sockets.

    A host that is an address never passes a resolver, but every connection passes `socket`: what it lets through was
    judged, whatever happened on the way.
    """

    def __init__(self, addresses: Iterable[str]) -> None:
        self._addresses: tuple[Address, ...] = tuple(map(ip_address, addresses))

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[dict[str, Any]]:
        return [
            {
                "hostname": host,
                "host": str(address),
                "port": port,
                "family": socket.AF_INET if address.version == 4 else socket.AF_INET6,
                "proto": 0,
                "flags": socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
            }
            for address in self._addresses
        ]

    def socket(self, target: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = target
        if ip_address(address[0]) not in self._addresses:
            raise OSError(errno.EPERM, "this address was never judged")
        return socket.socket(family, kind, protocol)

    async def close(self) -> None:
        """Nothing is held."""
