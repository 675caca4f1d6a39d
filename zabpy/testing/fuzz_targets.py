"""What `zabpy.testing.fuzz` gives changed bytes to: every reader of bytes that come from outside.

A target is a row of `TARGETS`: good inputs to begin with, words to mix in, and a call that must return or raise one of
its declared errors. Where a checksum would keep every change out, ``mend`` makes it right again: a stranger can, too.
"""

import struct
import zlib
from collections.abc import Callable
from typing import NamedTuple

from zabpy.client.call import Call
from zabpy.client.core import Core
from zabpy.model import (
    NO_TIP,
    OPEN_ACL,
    Acl,
    CheckTxn,
    CloseSessionTxn,
    CreateSessionTxn,
    CreateTxn,
    DeleteTxn,
    Entry,
    ErrorTxn,
    FailedMultiTxn,
    Identity,
    MultiTxn,
    ReconfigTxn,
    Request,
    SetAclTxn,
    SetDataTxn,
    Stat,
    Tip,
    Txn,
    ZabpyError,
    Zxid,
    make_zxid,
)
from zabpy.pipeline import (
    ROUTES,
    Preparer,
    Route,
    Rules,
    Sliced,
    State,
    answer_auth,
    apply_entry,
    read_now,
)
from zabpy.server import ConfigError, jaas, parse
from zabpy.server.greeting import Greeting, PeerLinkError
from zabpy.server.peer_secrets import PeerSecretError, Secrets, parse_secrets
from zabpy.storage import StoreError
from zabpy.storage.format import (
    LOG_HEADER_BYTES,
    RECORD,
    RECORD_MAGIC,
    LogHeader,
    pack_batch,
    pack_mark,
    read_log_header,
)
from zabpy.storage.repair import Survey, _scan
from zabpy.tree import Watches
from zabpy.wire import (
    OPS,
    Challenge,
    FrameBuffer,
    FrameError,
    Hello,
    ImageError,
    ImageReader,
    ImageWriter,
    JuteError,
    Op,
    PeerDecodeError,
    Proof,
    Reader,
    TxnDecodeError,
    decode,
    decode_txn,
    encode,
    encode_greeting,
    encode_txn,
    frame,
    packed,
    records as r,
)
from zabpy.zab import Role, messages as m

Reads = Callable[[bytes], object]


class Target(NamedTuple):
    """``make`` gives a reader with a memory of its own, for some thousands of inputs."""

    make: Callable[[], Reads]
    seeds: Callable[[], list[bytes]]
    errors: tuple[type[Exception], ...]
    words: tuple[bytes, ...] = ()
    mend: Callable[[bytes], bytes] | None = None


ANYBODY = (Identity("ip", "10.0.0.7"),)
STAT = Stat(*range(1, len(Stat._fields) + 1))
PATHS = (b"/", b"/a", b"/a/b", b"/zookeeper/config", b"//", b"\0", b"\xff", "\U0001f600".encode())

# Client → server ------------------------------------------------------------------------------------------------------


def _requests() -> list[bytes]:
    acl = (Acl(31, "digest", "a:b"), Acl(1, "world", "anyone"))
    create = r.CreateRequest("/a", b"d", OPEN_ACL, 0)
    multi = r.MultiRequest(((1, create), (2, r.DeleteRequest("/a", -1)), (13, r.CheckVersionRequest("/b", 0))))
    asked: list[tuple[int, r.Record | None]] = [
        (Op.CREATE, create),
        (Op.CREATE2, r.CreateRequest("/a/b", None, acl, 3)),
        (Op.CREATE_CONTAINER, r.CreateRequest("/c", b"", OPEN_ACL, 4)),
        (Op.CREATE_TTL, r.CreateTTLRequest("/t", b"d", acl, 5, 9)),
        (Op.DELETE, r.DeleteRequest("/a", -1)),
        (Op.SET_DATA, r.SetDataRequest("/a", b"xyz", -1)),
        (Op.SET_ACL, r.SetACLRequest("/a", acl, -1)),
        (Op.MULTI, multi),
        (Op.GET_DATA, r.GetDataRequest("/a", True)),
        (Op.EXISTS, r.ExistsRequest("/a", True)),
        (Op.GET_CHILDREN, r.GetChildrenRequest("/", False)),
        (Op.GET_CHILDREN2, r.GetChildren2Request("/", True)),
        (Op.GET_ACL, r.GetACLRequest("/a")),
        (Op.SET_WATCHES, r.SetWatches(3, ("/a",), ("/b",), ("/c",))),
        (Op.SET_WATCHES2, r.SetWatches2(0, ("/a",), ("/b",), ("/c",), ("/d",), ("/e",))),
        (Op.ADD_WATCH, r.AddWatchRequest("/a", 1)),
        (Op.REMOVE_WATCHES, r.RemoveWatchesRequest("/a", 3)),
        (Op.CHECK_WATCHES, r.CheckWatchesRequest("/a", 3)),
        (Op.GET_EPHEMERALS, r.GetEphemeralsRequest("/")),
        (Op.GET_ALL_CHILDREN_NUMBER, r.GetAllChildrenNumberRequest("/")),
        (Op.SYNC, r.SyncRequest("/")),
        (Op.AUTH, r.AuthPacket(0, "digest", b"a:b")),
        (Op.PING, None),
        (Op.WHO_AM_I, None),
        (Op.CLOSE_SESSION, None),
        (Op.RECONFIG, r.ReconfigRequest("server.9=a:1:2:observer;7", None, None, -1)),
        (Op.SASL, r.GetSASLRequest(b"token")),
    ]
    frames = [frame(struct.pack(">ii", 7, op) + (b"" if record is None else packed(record))) for op, record in asked]
    hello = frame(packed(r.ConnectRequest(0, 0, 10_000, 0, bytes(16), False)))
    return [*frames, b"".join(frames[:4]), hello, b"ruok", b"stmk" + bytes(8), b"\x16\x03\x01"]


def _server() -> Reads:
    """The way of a request: framing, header, record, and all that its record leads to on a server that leads."""
    state = State()
    preparer = Preparer(state, lambda count: b"p" * count, rules=Rules(extended_types=True, enforce_quota=True))
    apply_entry(state, make_zxid(1, 0), None)
    watches, last = Watches(), make_zxid(1, 0)

    def write(op: int, record: bytes, session: int) -> None:
        nonlocal last
        last = Zxid(last + 1)
        request = Request(1, session, 1, op, record, ANYBODY)
        txn = decode_txn(encode_txn(preparer.prepare(request, last, 1_700_000_000_000)))
        apply_entry(state, last, txn)
        preparer.pending.forget(last)

    write(Op.CREATE_SESSION, packed(r.CreateSessionRequest(10_000)), 0)
    (session,) = state.sessions.ids()
    for path in ("/a", "/a/b"):
        write(Op.CREATE, packed(r.CreateRequest(path, b"d", OPEN_ACL, 0)), session)

    def read(data: bytes) -> None:
        try:
            r.ConnectRequest.read(Reader(data[4:]))
        except JuteError:
            pass  # a right answer; the same bytes are frames below
        buffer = FrameBuffer(1_048_575)
        buffer.feed(data)
        for payload in buffer.frames():
            if len(payload) < 8:
                continue
            xid, op = struct.unpack_from(">ii", payload)
            record = payload[8:]
            route = ROUTES.get(op, Route.UNKNOWN)
            if route in (Route.WRITE, Route.CLOSE):
                if op != Op.CLOSE_SESSION:
                    write(op, record, session)
            elif route is Route.AUTH:
                answer_auth(xid, record, ANYBODY)
            elif route in (Route.READ, Route.LOCAL):
                answer = read_now(state, watches, 1, xid, op, record, ANYBODY)
                while isinstance(answer, Sliced) and not answer.work():
                    pass  # a slice more
            row = OPS.get(op)
            if row is not None and row.request is not None:
                row.request.read(Reader(record))

    return read


# Server → client ------------------------------------------------------------------------------------------------------

_ASKED = (Op.GET_DATA, Op.GET_CHILDREN2, Op.GET_ACL, Op.CREATE2, Op.MULTI, Op.MULTI_READ, Op.WHO_AM_I, Op.SASL)


def _replies() -> list[bytes]:
    def reply(xid: int, body: bytes = b"", err: int = 0, zxid: int = 9) -> bytes:
        return frame(struct.pack(">iqi", xid, zxid, err) + body)

    bodies = [
        packed(r.GetDataResponse(b"data", STAT)),
        packed(r.GetChildren2Response(("a", "b"), STAT)),
        packed(r.GetACLResponse(OPEN_ACL, STAT)),
        packed(r.Create2Response("/a", STAT)),
    ]
    whole = [frame(packed(r.ConnectResponse(0, 9_000, 7, b"p" * 16, False)))]
    event = frame(struct.pack(">iqi", -1, 11, 0) + packed(r.WatcherEvent(3, 3, "/a")))
    answers = [reply(xid, body) for xid, body in enumerate(bodies, start=1)]
    return [
        whole[0],
        whole[0] + b"".join(answers) + event,
        *(whole[0] + b"".join(answers[:count]) + event + reply(-2) for count in range(4)),
        whole[0] + reply(1, err=-101),
        whole[0] + reply(1, err=-112) + reply(-4, err=-115),
    ]


class BadAnswerError(ZabpyError):
    """What the server sent has ended the link, as the text says."""


def _client() -> Reads:
    def read(data: bytes) -> None:
        core = Core(
            session_timeout_ms=9_000,
            unsent_timeout_ms=20_000,
            read_only=False,
            now_ms=lambda: 1_000,
            on_state=lambda state: None,
            tried=lambda: (),
        )
        core.open_link("s1:2181", 1_000)
        core.take(1_000)
        for op in _ASKED:
            row = OPS[op]
            core.submit(Call(int(op), b"", None if row.reply is None else row.reply.read, row.name, "/a"))
        for at in range(0, len(data), 97):
            core.receive(data[at : at + 97], 1_000)
            core.take(1_000)
            if core.link_broken:
                break
        if "sent what cannot be taken in" in core.link_broken:
            raise AssertionError(core.link_broken)  # its net below all that it expects
        if core.link_broken:
            raise BadAnswerError(core.link_broken)

    return read


# Server ↔ server ------------------------------------------------------------------------------------------------------


def _messages() -> list[bytes]:
    zxid, tip = make_zxid(3, 9), Tip(make_zxid(3, 9), 77)
    entry = Entry(zxid, b"payload", 123)
    request = Request(5, -1, 7, 1, b"record", ANYBODY)
    return [
        encode(each)
        for each in (
            m.Notification(Role.LOOKING, 1, 2, zxid, 1),
            m.FollowerInfo(3),
            m.LeaderInfo(4),
            m.AckEpoch(3, True, (make_zxid(1, 2), make_zxid(2, 3))),
            m.Diff(zxid),
            m.Trunc(zxid),
            m.Image(tip),
            m.ImageChunk(b"chunk", True),
            m.NewLeader(4),
            m.Propose((entry, entry)),
            m.Propose(()),
            m.Ack(zxid),
            m.Commit(zxid),
            m.Ping(1, 2),
            m.Pong(1, 2, zxid),
            m.Forward((request, request, Request(6, 1, 8, 5, b"", (*ANYBODY, Identity("digest", "a:b"))))),
            m.SyncDone(4, zxid),
            m.Touched((1, -2, 3)),
            m.Revalidate(1, -2, 3),
            m.Revalidated(1, -2, True),
        )
    ]


_SECRET = Secrets((b"a secret of thirty-two characters",))


def _greetings() -> list[bytes]:
    return [
        frame(encode_greeting(Hello(1, 2, "1,2,3", bytes(32)))) + frame(encode_greeting(Proof(bytes(32)))),
        frame(encode_greeting(Hello(1, 1, "1,2,3"))),
        frame(encode_greeting(Challenge(1, bytes(32)))) + frame(encode_greeting(Proof(bytes(32)))),
        frame(encode_greeting(Proof(bytes(32)))),
    ]


def _greeting() -> Reads:
    def greet(data: bytes, dialled: int | None) -> None:
        greeting = Greeting(
            2 if dialled else 1,
            "1,2,3",
            expected=dialled,
            secrets=_SECRET,
            unproven=False,
            nonce=bytes,
            check=lambda hello: None,
        )
        if dialled is not None:
            greeting.begin()
        buffer = FrameBuffer(4096)
        buffer.feed(data)
        for payload in buffer.frames():
            greeting.take(payload)
            if greeting.hello is not None:
                raise AssertionError("let in")

    def read(data: bytes) -> None:
        try:
            greet(data, 1)
        except (PeerLinkError, PeerDecodeError, FrameError):
            pass  # a right answer; the same bytes come to the other side below
        greet(data, None)

    return read


# Disk -----------------------------------------------------------------------------------------------------------------


def _txns() -> list[bytes]:
    bodies = (
        CreateTxn("/a", b"d", OPEN_ACL, 0, -1, 0, 3),
        CreateTxn("/ttl", None, (Acl(31, "digest", "u:h"),), 0, 0, 9, -3),
        DeleteTxn("/ä"),
        ReconfigTxn(b"server.1=a:1:2:participant\nversion=100000007"),
        SetDataTxn("/a", b"xyz", 7),
        SetAclTxn("/a", (), 2),
        CheckTxn("/a"),
        CreateSessionTxn(4000, bytes(16)),
        CloseSessionTxn(("/e", "/f")),
        ErrorTxn(-101),
        FailedMultiTxn(-103, 1, 3),
        MultiTxn((5, 13, 2), (SetDataTxn("/a", None, 1), CheckTxn("/b"), DeleteTxn("/c"))),
    )
    return [encode_txn(Txn(7, -1, 1 << 56, 1_700_000_000_000, body)) for body in bodies]


_LOG = LogHeader(1, 1, NO_TIP)


def _logs() -> list[bytes]:
    whole, tip, found = _LOG.packed(), NO_TIP, []
    found.append(whole)
    for number, payload in enumerate(_txns(), start=1):
        zxid = make_zxid(1, number - 1)
        chain = zlib.crc32(payload, zlib.crc32(zxid.to_bytes(8, "big"), tip.chain))
        mark = pack_mark(_LOG.salt(), len(whole), len(whole) if number % 2 else 0)
        batch, tip = pack_batch(mark, [Entry(zxid, payload, chain)], tip)
        whole += batch
        found.append(whole)
    return [*found, whole + bytes(300)]


def _log() -> Reads:
    def read(data: bytes) -> None:
        header = read_log_header(data, "log.1.0")
        if header is None:
            return
        found = Survey()
        _scan("log.1.0", data, header, LOG_HEADER_BYTES, found)
        for entry in found.entries:
            decode_txn(entry.payload)

    return read


def _mend_log(data: bytes) -> bytes:
    """Each record that begins where the one before it ends gets the chain it must have."""
    header = read_log_header(data, "")
    if header is None:
        return data
    whole, at, chain, mark_bytes = bytearray(data), LOG_HEADER_BYTES, header.base.chain, 13
    while at + RECORD.size <= len(whole):
        if whole[at] != RECORD_MAGIC:
            at += mark_bytes
            continue
        _, length, _, zxid = RECORD.unpack_from(whole, at)
        end = at + RECORD.size + length
        if end > len(whole):
            break
        chain = zlib.crc32(whole[at + 9 : end], chain)
        RECORD.pack_into(whole, at, RECORD_MAGIC, length, chain, zxid)
        at = end
    return bytes(whole)


def _images() -> list[bytes]:
    state = State()
    apply_entry(state, make_zxid(1, 0), None)
    apply_entry(state, make_zxid(1, 1), decode_txn(encode_txn(Txn(7, 0, 1, 5, CreateSessionTxn(4000, bytes(16))))))
    for number, path in enumerate(("/a", "/a/b", "/c"), start=2):
        body = CreateTxn(path, b"data", OPEN_ACL if number < 4 else (Acl(31, "digest", "u:h"),), 0, 0, 0, 1)
        apply_entry(state, make_zxid(1, number), Txn(7, 0, number, 5, body))
    found = []
    for rows_a_chunk in (1, 3, 100):
        parts: list[bytes] = []
        writer = ImageWriter(parts.append)
        writer.begin(Tip(make_zxid(1, 4), 5))
        frozen = state.freeze()
        while rows := frozen.rows(rows_a_chunk):
            writer.add(rows)
            writer._flush() if rows_a_chunk < 100 else None
        frozen.close()
        writer.end()
        found.append(b"".join(parts))
    return found


def _image() -> Reads:
    def read(data: bytes) -> None:
        at = 0

        def some(size: int) -> bytes:
            nonlocal at
            piece = data[at : at + size]
            at += len(piece)
            return piece

        State.from_rows(ImageReader(some))

    return read


def _mend_image(data: bytes) -> bytes:
    """Every chunk gets the checksum it must have."""
    whole, at, crc = bytearray(data), 8, 0
    while at + 8 <= len(whole):
        (length,) = struct.unpack_from(">I", whole, at)
        if at + 8 + length > len(whole):
            break
        crc = zlib.crc32(whole[at + 8 : at + 8 + length], zlib.crc32(whole[at : at + 4], crc))
        struct.pack_into(">I", whole, at + 4, crc)
        at += 8 + length
    return bytes(whole)


# Files of people ------------------------------------------------------------------------------------------------------

_CFG = b"""tickTime=2000
initLimit=10
syncLimit=5
dataDir=/srv/data
clientPort=2181
maxClientCnxns=60
4lw.commands.whitelist=*
server.1=127.0.0.1:2888:3888:participant;2181
server.2=127.0.0.1:2889:3889
server.3=[::1]:2890:3890:observer;0.0.0.0:2183
group.1=1:2:3
weight.1=2
autopurge.purgeInterval=24
"""
_CFG_TLS = b"""dataDir=/srv/data
secureClientPort=2281
ssl.keyStore.location=a.pem
ssl.trustStore.location=b.pem
ssl.enabledProtocols=TLSv1.2,TLSv1.3
ssl.ciphersuites=TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
X509AuthenticationProvider.superUser=CN=a,O=b
authProvider.sasl=org.apache.zookeeper.server.auth.SASLAuthenticationProvider
java.security.auth.login.config=jaas.conf
enforce.auth.enabled=true
enforce.auth.schemes=sasl
"""
_CFG_WORDS = tuple(
    word.encode()
    for word in (
        "\\u00e9 \\ \\\n = : # ! ; | [ ] 1.5 -1 0 99999999999999999999 1e9 NaN inf ٣ \ufeff true zabpy.peerSecretFile= "
        "zabpy.peersUnproven=true sslQuorum=true portUnification=true snapCount= preAllocSize= superUser.2=x 1_0 "
        "connection_throttle_drop_increase= DigestAuthenticationProvider.digestAlg= quorumListenOnAllIPs=true"
    ).split()
)
_JAAS = b"""Server {
  org.apache.zookeeper.server.auth.DigestLoginModule required
  user_alice="x y" user_super="\\"q\\""
  scram_bob="SCRAM-SHA-256$4096:c2FsdA==$a:b"; // a comment
};
/* more */ Other { Krb5LoginModule optional; };
"""


def _config() -> Reads:
    return lambda data: parse(data.decode("utf-8", "replace"), path="/nonexistent/zoo.cfg", server_id=1)


TARGETS: dict[str, Target] = {
    "client": Target(_server, _requests, (FrameError, JuteError), PATHS),
    "reply": Target(_client, _replies, (BadAnswerError,), PATHS),
    "peer": Target(lambda: decode, _messages, (PeerDecodeError,)),
    "greeting": Target(_greeting, _greetings, (PeerLinkError, PeerDecodeError, FrameError)),
    "txn": Target(lambda: decode_txn, _txns, (TxnDecodeError,)),
    "log": Target(_log, _logs, (StoreError, TxnDecodeError), mend=_mend_log),
    "snapshot": Target(_image, _images, (ImageError, ZabpyError), mend=_mend_image),
    "config": Target(_config, lambda: [_CFG, _CFG_TLS], (ConfigError,), _CFG_WORDS),
    "jaas": Target(
        lambda: lambda data: jaas.parse(data.decode("utf-8", "replace"), "f"), lambda: [_JAAS], (jaas.JaasError,)
    ),
    "secret": Target(
        lambda: lambda data: parse_secrets(data, "f"), lambda: [b"# one\n" + b"x" * 40 + b"\n"], (PeerSecretError,)
    ),
}
