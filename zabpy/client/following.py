"""Takes to servers that join the ensemble and leaves those that leave it, by what ``/zookeeper/config`` says.

The znode lies outside any chroot, and is watched by a one-shot like a user's own, which takes nothing from theirs.
Where there is none (before ZooKeeper 3.5, or a server on its own) or its ACL keeps us out, the list stays as it was
given. A client moves only when its own server leaves: it does not move to even out the load when servers join, for a
move costs the writes that are under way an unknown outcome at worst, and the order of chance in which clients try
servers spreads them again whenever they connect anew.
"""

import ipaddress
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from zabpy.model import AuthFailedError, ZabpyError, parse_members
from zabpy.wire import Op, packed, records as r

from .connection import Connection
from .errors import ClosedClientError, ForkedClientError
from .hosts import Host, Hosts
from .watches import OneShot

log = logging.getLogger("zabpy.client")

CONFIG_PATH = "/zookeeper/config"


def client_addresses(text: str, *, secure: bool) -> list[Host]:
    """Where the servers of a configuration take clients, or, ``secure``, clients with TLS; those that say so.

    An address that means any, or this very machine, is the one that its peers know it by. Raises ValueError.
    """
    found: list[Host] = []
    secured: dict[int, tuple[str, int]] = {}
    if secure:
        text, secured = _secure_parts(text)
    for member in parse_members(text).servers:
        if secure:
            if member.server_id not in secured:
                continue
            host, port = secured[member.server_id]
        elif member.client_port:
            host, port = member.client_host or "", member.client_port
        else:
            continue
        found.append(Host(member.host if _is_anywhere(host) else host, port))
    return list(dict.fromkeys(found))


def _secure_parts(text: str) -> tuple[str, dict[int, tuple[str, int]]]:
    """ZooKeeper 3.10 has a second address behind the first: ``server.1=...;plain:2181;secure:2281``."""
    secured: dict[int, tuple[str, int]] = {}
    lines = []
    for line in text.split("\n"):
        key, _, value = line.partition("=")
        parts = value.split(";")
        if key.strip().startswith("server.") and len(parts) == 3 and parts[2].strip():
            host, _, port = parts[2].strip().rpartition(":")
            secured[int(key.strip()[len("server.") :])] = host.strip("[]"), int(port)
        lines.append(line)
    return "\n".join(lines), secured


def _is_anywhere(host: str) -> bool:
    if host.lower() in ("", "*", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return address.is_unspecified or address.is_loopback


class Following:
    """The task that does so.

    Args:
        ask: a client's `Asking._ask`.
        wait_reconnected: until there is another connection than now.
    """

    def __init__(
        self,
        ask: Callable[..., Awaitable[Any]],
        wait_reconnected: Callable[[], Awaitable[None]],
        hosts: Hosts,
        connection: Connection,
        *,
        secure: bool,
    ) -> None:
        self._ask, self._wait_reconnected = ask, wait_reconnected
        self._hosts, self._connection, self._secure = hosts, connection, secure
        self._members: list[Host] = []

    async def run(self) -> None:
        """Until the client ends."""
        while True:
            watch, fired = OneShot("data", CONFIG_PATH), anyio.Event()
            watch.wake = fired.set
            try:
                body = packed(r.GetDataRequest(CONFIG_PATH, True))
                found = await self._ask(
                    Op.GET_DATA, body, r.GetDataResponse.read, "get_config", CONFIG_PATH, None, watch
                )
            except (ClosedClientError, ForkedClientError, AuthFailedError):
                return
            except ZabpyError as error:  # the next server may be a newer one, or know us as somebody else
                log.debug("the ensemble's configuration cannot be read: %s", error)
                await self._wait_reconnected()
                continue
            try:
                members = client_addresses((found.data or b"").decode("utf-8", "replace"), secure=self._secure)
            except ValueError as error:
                log.warning("the ensemble's configuration cannot be understood, the list of servers stays: %s", error)
            else:
                if members or self._members:
                    self.changed(members)
            await fired.wait()

    def changed(self, members: list[Host]) -> None:
        """The configuration says that these are the servers now."""
        was_member = self._is_among(self._members)
        is_member = self._is_among(members)
        given = {_folded(host) for host in self._hosts.given}
        known = is_member or was_member or any(_folded(host) in given for host in members)
        if members != self._members:
            log.info("the ensemble's servers: %s", ", ".join(map(str, members)))
        self._members = members
        self._hosts.follow(members, self._connection.host, known=known)
        if was_member and not is_member:
            self._connection.leave("this server has left the ensemble")

    def _is_among(self, members: list[Host]) -> bool:
        """Whether the server that we are connected to is one of them, by its name or by its address."""
        mine = {_folded(host) for host in (self._connection.host,) if host is not None}
        if (remote := self._connection.remote_address) is not None:
            mine.add(_folded(Host(*remote)))
        return any(_folded(member) in mine for member in members)


def _folded(host: Host) -> Host:
    """Names are the same in capitals; addresses however they are written."""
    name = host.name.lower().rstrip(".")
    try:
        name = str(ipaddress.ip_address(name.partition("%")[0]))
    except ValueError:
        pass
    return Host(name, host.port)
