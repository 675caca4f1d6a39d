"""Handshake: what a client says first, a four-letter word or a ConnectRequest, and how it comes by its session.

A ConnectRequest without a session asks for a new one: a local one is opened here, any other by a transaction. One with
a session asks to go on with that. In both cases `Connection.connected` ends it.
"""

import struct
from typing import TYPE_CHECKING, Final

from zabpy.model import Request
from zabpy.wire import JuteError, Op, Reader, packed, records

from .config import WORDS
from .local_sessions import open_local
from .log import hex_text, remote_text
from .phases import CONNECTING, TOLD
from .read_only import resume_read_only
from .tls import TLS_BEGINNINGS

if TYPE_CHECKING:
    from .clients import Clients
    from .connection import Connection

_LENGTH = struct.Struct(">i")
_WORDS = {word.encode(): word for word in WORDS}
#: `stmk` comes with a number.
_STMK_BYTES: Final = 12
#: A ConnectRequest without a password.
_CONNECT_BYTES_MIN: Final = 28
#: What a telnet client says when it is told to stop. ZooKeeper takes it for a word, one without an answer.
TELNET_GOODBYE: Final = b"\xff\xf4\xff\xfd"


def greet(connection: "Connection", clients: "Clients", data: bytes) -> bytes:
    """The first bytes; what of them stands behind the handshake."""
    word = _WORDS.get(data[:4])
    if word is not None:
        if word == "stmk" and len(data) < _STMK_BYTES:
            connection.keep(data, _STMK_BYTES)
            return b""
        connection.phase = TOLD
        connection.received_frames += 1
        clients.received += 1
        connection.channel.pause()
        clients.four_letter(connection, word, data[4:_STMK_BYTES])
        return b""
    if data[:4] == TELNET_GOODBYE:
        connection.drop("telnet is over")
        return b""
    if len(data) < 4:
        connection.keep(data, 4)
        return b""
    (length,) = _LENGTH.unpack_from(data)
    if not _CONNECT_BYTES_MIN <= length <= clients.config.frame_bytes_max:
        tls = data.startswith(TLS_BEGINNINGS)
        connection.drop_garbage("TLS, on a port without it" if tls else f"a first frame of {length} bytes")
        return b""
    if len(data) < 4 + length:
        connection.keep(data, 4 + length)
        return b""
    try:
        asked = records.ConnectRequest.read(Reader(data[4 : 4 + length]))
    except JuteError as error:
        connection.drop_garbage(f"no ConnectRequest: {error}")
        return b""
    _connect(connection, clients, asked)
    return data[4 + length :]


def _connect(connection: "Connection", clients: "Clients", asked: records.ConnectRequest) -> None:
    connection.received_frames += 1
    clients.received += 1
    clients.counts.connection_requests.value += 1
    state = clients.state
    if not (clients.serving or (clients.read_only.on and asked.read_only)):
        clients.counts.closed_not_serving.value += 1
        connection.drop("not serving")
        return
    if not clients.admits(asked.session_id):
        clients.counts.connections_rejected.value += 1
        clients.log("client_refused", remote=remote_text(connection.channel), why="connection_throttle_tokens")
        connection.drop("too many handshakes at once")
        return
    connection.read_only = None if asked.read_only is None else clients.read_only.on  # told if the byte came
    if asked.last_zxid_seen > state.last_applied:
        clients.log(
            "client_refused",
            remote=remote_text(connection.channel),
            why="client has seen a later zxid",
            seen=hex_text(asked.last_zxid_seen),
            applied=hex_text(state.last_applied),
        )
        connection.drop("ahead of us")
        return
    smallest, largest = clients.negotiable
    connection.timeout_ms = min(max(asked.timeout_ms, smallest), largest)
    connection.phase = CONNECTING
    connection.session_id, connection.password = asked.session_id, asked.password
    if asked.session_id == 0 and clients.local.opens:
        open_local(connection, clients)
    elif asked.session_id == 0 and clients.serving:
        request_id = clients.ids.next()
        connection.wait_for(request_id, Op.CREATE_SESSION)
        record = packed(records.CreateSessionRequest(connection.timeout_ms))
        clients.driver.submit(Request(request_id, 0, 0, int(Op.CREATE_SESSION), record, ()))
    elif asked.session_id == 0:
        connection.drop("no local session can be opened any more")
    elif clients.read_only.on:
        resume_read_only(connection, clients)
    else:
        resume(connection, clients, caught_up=False)
    if connection.phase == CONNECTING:
        connection.channel.pause()  # requests may follow at once; they are read when there is a session


def resume(connection: "Connection", clients: "Clients", *, caught_up: bool) -> None:
    """A client came back with a session: check the password here, then ask the leader whether the session lives.

    In this order, since the leader makes us its owner, and whoever does not know the password must not cut off
    the one who does. A session that is not known here may only be too new: catch up with the leader first.
    """
    session = clients.local.sessions.get(connection.session_id)
    if session is not None and session.password == connection.password:
        connection.take_over(session.password)
        return
    session = clients.state.sessions.get(connection.session_id)
    if session is None and not caught_up:
        request_id = clients.ids.next()
        connection.wait_for(request_id, b"")
        clients.driver.submit(Request(request_id, 0, 0, int(Op.SYNC), b"", ()))
        return
    if session is None or session.password != connection.password:
        connection.refuse_session()
        return
    older = clients.sessions.get(connection.session_id)
    if older is not None:
        older.drop("session resumed on another connection")
    request_id = clients.ids.next()
    connection.wait_for(request_id, 0)
    clients.driver.revalidate(request_id, connection.session_id, connection.timeout_ms)
