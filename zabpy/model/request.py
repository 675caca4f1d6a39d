"""Request: what a client asked, as it travels from the server it is connected to, to the leader's `prepare`.

It stands in `model` and not in `pipeline`, because a follower forwards it: `zab.messages` carries it and `wire.peer`
spells it.
"""

from typing import NamedTuple

from .acl import Identity

#: As `Request.session_id`: a local session of the asking server, which nobody else knows. Its real id is used only once
#: a transaction has opened it: so a write of a session that has expired is never taken for one of a local session.
LOCAL_SESSION = -1


class Request(NamedTuple):
    """One client request, its record still undecoded.

    ``request_id`` names it for ever and says who waits for the outcome: the origin server's id in the top 8 bits, that
    server's start number in the next 24, a counter in the low 32 (see `make_request_id`). The transaction carries it
    back, so the origin finds the waiting connection without trusting xids, which restart with every connection.
    ``op`` is the opcode, ``record`` the jute bytes behind the request header. 0 as ``session_id``: the server's own;
    `LOCAL_SESSION`: see there.
    """

    request_id: int
    session_id: int
    xid: int
    op: int
    record: bytes
    identities: tuple[Identity, ...]


def make_request_id(origin: int, start: int, counter: int) -> int:
    """See `Request.request_id`. ``start`` and ``counter`` are taken modulo their width."""
    assert 0 <= origin <= 0xFF
    return origin << 56 | (start & 0xFFFFFF) << 32 | (counter & 0xFFFFFFFF)


def origin_of(request_id: int) -> int:
    """The server id of the server whose client waits for this request."""
    return request_id >> 56
