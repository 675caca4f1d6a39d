"""Whose session it is, out of whatever a test has at hand; and its end."""

from zabpy.model import Request, ZabpyError
from zabpy.server import Server
from zabpy.sessions.local import signed
from zabpy.wire import Op

#: Where clients keep it: kazoo, an aiozk session, zabpy, aiozk, zabpy in plain code, a session of zabpy. A client of
#: zabpy itself tells its session to nobody outside of its event loop.
_PLACES: tuple[tuple[str | int, ...], ...] = (
    ("client_id", 0),
    ("session_id",),
    ("core", "session", "id"),
    ("session", "session_id"),
    ("session", "id"),
    ("id",),
)
_MASK = (1 << 64) - 1


def session_id_of(client: object) -> int:
    """The id of a client's session, signed as servers have it; or an id itself.

    Raises:
        TypeError: that is nothing that has a session.
        ValueError: it has none now.
    """
    if isinstance(client, int):
        return signed(client & _MASK)
    for place in _PLACES:
        try:
            found = _at(client, place)
        except ZabpyError as error:
            raise ValueError(f"{client!r} has no session now: {error}") from error
        if isinstance(found, int) and found:
            return signed(found & _MASK)
    if any(hasattr(client, name) for name in ("client_id", "session_id", "session")):
        raise ValueError(f"{client!r} has no session now")
    raise TypeError(f"{client!r} is neither the id of a session nor a client of a kind that is known here")


def ask_for_end(leader: Server, session_id: int) -> None:
    """As it asks itself when that session is silent for too long. It may lose its place before that is done."""
    record = session_id.to_bytes(8, "big", signed=True)
    leader.driver.submit(Request(leader.clients.ids.next(), 0, 0, int(Op.CLOSE_SESSION), record, ()))
    leader.settle()


def session_text(id: int) -> str:
    """As ZooKeeper writes it."""
    return f"{id & _MASK:#x}"


def _at(client: object, place: tuple[str | int, ...]) -> object:
    found = client
    for name in place:
        if isinstance(name, str):
            found = getattr(found, name, None)
        else:
            found = found[name] if isinstance(found, tuple) else None
    return found
