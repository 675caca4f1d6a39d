"""Messages between servers ↔ frames. One flat CBOR array each: a tag that names the message, then its fields.

Fields stand in the order of the dataclass; a `Tip` is two items, and the one tuple a message may have stands last and
takes all items that are left. So a batch, however long, is one array and one call of the encoder. The first frame of a
link, each way, is a `Hello` and tells the version; later frames are messages, of the lower of the two versions.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, islice, repeat
from typing import Any, NamedTuple

from zabpy.model import Entry, Identity, Request, Tip, ZabpyError
from zabpy.zab.messages import (
    ENDS_MAX,
    Ack,
    AckEpoch,
    Commit,
    Diff,
    FollowerInfo,
    Forward,
    Image,
    ImageChunk,
    LeaderInfo,
    Message,
    NewLeader,
    Notification,
    Ping,
    Pong,
    Propose,
    Revalidate,
    Revalidated,
    SyncDone,
    Touched,
    Trunc,
)

from .cbor import CborError, Scalar, dump_flat, load_flat

#: Version of these encodings, said in `Hello`.
PEER_VERSION = 1

_U32, _U64, _I64_MIN, _I64_MAX = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF, -(1 << 63), (1 << 63) - 1
_I32_MIN, _I32_MAX = -(1 << 31), (1 << 31) - 1
_NEW: Callable[..., Any] = tuple.__new__  # half the cost of calling a NamedTuple by name


def encode(message: Message) -> bytes:
    """The message's frame, without its length. A Propose of 100 small entries costs 0.5 µs an entry."""
    tag, names, kinds = _ROW_OF[type(message)]
    items: list[Scalar] = [tag]
    for name, kind in zip(names, kinds, strict=True):
        kind.put(items, getattr(message, name))
    return dump_flat(items)


def decode(frame: bytes) -> Message:
    """The message of a frame; type and range of every field are checked. 0.5 µs an entry of a Propose.

    Raises:
        PeerDecodeError: it is none. Close the link.
    """
    try:
        items = load_flat(frame)
        row = _ROWS.get(items[0]) if items and type(items[0]) is int else None
        if row is None:
            raise PeerDecodeError(f"no message has the tag {items[:1]!r:.40}")
        cls, kinds = row
        fields, at = [], 1
        for kind in kinds:
            field, at = kind.take(items, at)
            fields.append(field)
    except CborError as error:
        raise PeerDecodeError(str(error)) from None
    except IndexError:
        raise PeerDecodeError("items are missing") from None
    if at != len(items):
        raise PeerDecodeError(f"{cls.__name__} of {len(items)} items, {at} expected")
    return cls(*fields)  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class Hello:
    """The first frame of a link, each way: which encodings I speak, who I am, and of which ensemble.

    ``ensemble`` is a name that the layer above compares: servers of two ensembles must not talk. ``nonce``: of one who
    can prove that it is who it says (server/greeting.py).
    """

    version: int
    sid: int
    ensemble: str
    nonce: bytes = b""


@dataclass(frozen=True, slots=True)
class Challenge:
    """The one who is dialled to the one who dials: prove who you are, to me, who am this one, now."""

    sid: int
    nonce: bytes


@dataclass(frozen=True, slots=True)
class Proof:
    """A MAC over what has been said on this link before."""

    mac: bytes


def encode_hello(hello: Hello) -> bytes:
    return dump_flat((_HELLO, hello.version, hello.sid, hello.ensemble, *((hello.nonce,) if hello.nonce else ())))


def decode_hello(frame: bytes) -> Hello:
    """The Hello of a link's first frame, of any version: items that a later one adds are ignored.

    Raises:
        PeerDecodeError: it is none. Close the link.
    """
    said = decode_greeting(frame)
    if not isinstance(said, Hello):
        raise PeerDecodeError("the first frame is no Hello")
    return said


def encode_greeting(said: Hello | Challenge | Proof) -> bytes:
    if isinstance(said, Hello):
        return encode_hello(said)
    if isinstance(said, Challenge):
        return dump_flat((_CHALLENGE, said.sid, said.nonce))
    return dump_flat((_PROOF, said.mac))


def decode_greeting(frame: bytes) -> Hello | Challenge | Proof:
    """What is said before a link stands; of any version: items that a later one adds are ignored.

    Raises:
        PeerDecodeError: it is nothing of that. Close the link.
    """
    try:
        items = load_flat(frame)
    except CborError as error:
        raise PeerDecodeError(str(error)) from None
    tag = items[0] if items and type(items[0]) is int else None
    if tag == _HELLO and len(items) >= 4:
        _, version, sid, ensemble = items[:4]
        nonce = items[4] if len(items) > 4 and _is_bytes(items[4]) else b""
        if not (_is_u32(version) and version > 0 and _is_sid(sid) and _is_text(ensemble)):
            raise PeerDecodeError(f"Hello {items[1:4]!r:.80}")
        return Hello(version, sid, ensemble, nonce)
    if tag == _CHALLENGE and len(items) >= 3 and _is_sid(items[1]) and _is_bytes(items[2]):
        return Challenge(items[1], items[2])
    if tag == _PROOF and len(items) >= 2 and _is_bytes(items[1]):
        return Proof(items[1])
    raise PeerDecodeError("the first frame is no Hello")


def transcript(*said: Scalar) -> bytes:
    """What a `Proof` is about, as bytes: no two lists have the same."""
    return dump_flat(said)


class PeerDecodeError(ZabpyError):
    """A frame between servers that is not what it should be."""


# What a field may be --------------------------------------------------------------------------------------------------


class _Kind(NamedTuple):
    """``put(items, value)`` appends a field; ``take(items, at)`` gives the field and the place behind it."""

    put: Callable[[list[Scalar], Any], None]
    take: Callable[[list[Any], int], tuple[Any, int]]


def _one(fits: Callable[[Any], bool]) -> _Kind:
    """A field of one item."""

    def put(items: list[Scalar], value: Any) -> None:
        assert fits(value), value
        items.append(value)

    def take(items: list[Any], at: int) -> tuple[Any, int]:
        item = items[at]
        if not fits(item):
            raise PeerDecodeError(f"item {at} is {item!r:.40}")
        return item, at + 1

    return _Kind(put, take)


def _is_u64(item: object) -> bool:
    return type(item) is int and 0 <= item <= _U64


def _is_u32(item: object) -> bool:
    return type(item) is int and 0 <= item <= _U32


def _is_sid(item: object) -> bool:
    return type(item) is int and 0 <= item <= 0xFF


def _is_i64(item: object) -> bool:
    return type(item) is int and _I64_MIN <= item <= _I64_MAX


def _is_timeout(item: object) -> bool:
    return type(item) is int and _I32_MIN <= item <= _I32_MAX


def _is_bool(item: object) -> bool:
    return type(item) is bool


def _is_bytes(item: object) -> bool:
    return type(item) is bytes


def _is_text(item: object) -> bool:
    return type(item) is str


_STATES = ("looking", "following", "observing", "leading")


def _put_state(items: list[Scalar], state: str) -> None:
    items.append(_STATES.index(state))


def _take_state(items: list[Any], at: int) -> tuple[str, int]:
    item = items[at]
    if type(item) is not int or not 0 <= item < len(_STATES):
        raise PeerDecodeError(f"state {item!r:.40}")
    return _STATES[item], at + 1


def _put_tip(items: list[Scalar], tip: Tip) -> None:
    assert _is_u64(tip.zxid)
    assert _is_u32(tip.chain)
    items += tip


def _take_tip(items: list[Any], at: int) -> tuple[Tip, int]:
    tip = Tip(items[at], items[at + 1])
    if not (_is_u64(tip.zxid) and _is_u32(tip.chain)):
        raise PeerDecodeError(f"tip {tip!r:.80}")
    return tip, at + 2


def _put_ends(items: list[Scalar], ends: tuple[int, ...]) -> None:
    assert len(ends) <= ENDS_MAX
    items += ends


def _take_ends(items: list[Any], at: int) -> tuple[tuple[int, ...], int]:
    ends = tuple(items[at:])
    if len(ends) > ENDS_MAX or not all(map(_is_u64, ends)):
        raise PeerDecodeError("ends of epochs")
    return ends, len(items)


def _put_sessions(items: list[Scalar], session_ids: tuple[int, ...]) -> None:
    items += session_ids


def _take_sessions(items: list[Any], at: int) -> tuple[tuple[int, ...], int]:
    session_ids = tuple(items[at:])
    if not all(map(_is_i64, session_ids)):
        raise PeerDecodeError("session ids")
    return session_ids, len(items)


def _put_entries(items: list[Scalar], entries: tuple[Entry, ...]) -> None:
    items.extend(chain.from_iterable(entries))


def _take_entries(items: list[Any], at: int) -> tuple[tuple[Entry, ...], int]:
    # Three columns, checked by loops in C: types by the sets of them, ranges by min and max.
    zxids, payloads, chains = items[at::3], items[at + 1 :: 3], items[at + 2 :: 3]
    if (len(items) - at) % 3:
        raise PeerDecodeError("part of an entry")
    if zxids and (
        {*map(type, zxids)} | {*map(type, chains)} != {int}
        or {*map(type, payloads)} != {bytes}
        or min(zxids) < 0
        or min(chains) < 0
        or max(chains) > _U32
    ):
        raise PeerDecodeError("entries")
    return tuple(map(_NEW, repeat(Entry), zip(zxids, payloads, chains, strict=True))), len(items)


def _put_requests(items: list[Scalar], requests: tuple[Request, ...]) -> None:
    """Six items a request; the last is None for the identities of the request before, else their number, and then
    scheme and id of each follow."""
    before: tuple[Identity, ...] | None = None
    for request_id, session_id, xid, op, record, identities in requests:
        if identities == before:
            items += (request_id, session_id, xid, op, record, None)
        else:
            items += (request_id, session_id, xid, op, record, len(identities))
            items += chain.from_iterable(identities)
            before = identities


def _take_requests(items: list[Any], at: int) -> tuple[tuple[Request, ...], int]:
    requests, end, identities = [], len(items), None
    rest = iter(items[at:])
    for request_id, session_id, xid, op, record, count in zip(*[rest] * 6):  # six at a time, and what is taken between
        at += 6
        if count is not None:
            if type(count) is not int or not 0 <= 2 * count <= end - at:
                raise PeerDecodeError("number of identities")
            texts = list(islice(rest, 2 * count))
            if count and {*map(type, texts)} != {str}:
                raise PeerDecodeError("identities")
            identities = _interned(tuple(map(Identity, texts[::2], texts[1::2])))
            at += 2 * count
        if not (
            type(request_id) is type(session_id) is type(xid) is type(op) is int
            and type(record) is bytes
            and identities is not None
            and request_id >= 0
            and _I64_MIN <= session_id <= _I64_MAX
            and _I32_MIN <= xid <= _I32_MAX
            and _I32_MIN <= op <= _I32_MAX
        ):
            raise PeerDecodeError("request")
        requests.append(_NEW(Request, (request_id, session_id, xid, op, record, identities)))
    if at != end:
        raise PeerDecodeError("part of a request")
    return tuple(requests), at


@lru_cache(maxsize=4096)
def _interned(identities: tuple[Identity, ...]) -> tuple[Identity, ...]:
    return identities


# The table ------------------------------------------------------------------------------------------------------------

_ZXID = _NUMBER = _one(_is_u64)
_EPOCH, _SID, _SESSION, _TIMEOUT = _one(_is_u32), _one(_is_sid), _one(_is_i64), _one(_is_timeout)
_BOOL, _BYTES = _one(_is_bool), _one(_is_bytes)
_STATE, _TIP = _Kind(_put_state, _take_state), _Kind(_put_tip, _take_tip)
_ENDS, _SESSIONS = _Kind(_put_ends, _take_ends), _Kind(_put_sessions, _take_sessions)
_ENTRIES, _REQUESTS = _Kind(_put_entries, _take_entries), _Kind(_put_requests, _take_requests)

# Of the greeting, before there are messages.
_HELLO, _CHALLENGE, _PROOF = 0, 30, 31

#: Tag, message, its fields. A tag is never given a second meaning.
MESSAGES: tuple[tuple[int, type, tuple[_Kind, ...]], ...] = (
    (1, Notification, (_STATE, _NUMBER, _SID, _ZXID, _EPOCH)),
    (2, FollowerInfo, (_EPOCH,)),
    (3, LeaderInfo, (_EPOCH,)),
    (4, AckEpoch, (_EPOCH, _BOOL, _ENDS)),
    (5, Diff, (_ZXID,)),
    (6, Trunc, (_ZXID,)),
    (7, Image, (_TIP,)),
    (8, ImageChunk, (_BYTES, _BOOL)),
    (9, NewLeader, (_EPOCH,)),
    (10, Propose, (_ENTRIES,)),
    (11, Ack, (_ZXID,)),
    (12, Commit, (_ZXID,)),
    (13, Ping, (_NUMBER, _EPOCH)),
    (14, Pong, (_NUMBER, _EPOCH, _ZXID)),
    (15, Forward, (_REQUESTS,)),
    (16, SyncDone, (_NUMBER, _ZXID)),
    (17, Touched, (_SESSIONS,)),
    (18, Revalidate, (_NUMBER, _SESSION, _TIMEOUT)),
    (19, Revalidated, (_NUMBER, _SESSION, _BOOL)),
)


def _names(cls: Any, kinds: tuple[_Kind, ...]) -> tuple[str, ...]:
    names = tuple(field.name for field in dataclasses.fields(cls))
    assert len(names) == len(kinds), f"{cls.__name__} has the fields {names}"
    return names


_ROW_OF = {cls: (tag, _names(cls, kinds), kinds) for tag, cls, kinds in MESSAGES}
_ROWS: dict[int, tuple[Any, tuple[_Kind, ...]]] = {tag: (cls, kinds) for tag, cls, kinds in MESSAGES}
