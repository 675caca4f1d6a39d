"""Scripts from a seed: requests of every operation, mostly sensible, often at the edge, sometimes rubbish."""

import struct
from collections.abc import Callable
from random import Random

from . import jute
from .compare import ROOT
from .jute import Entry, Text
from .pair import SUPER, Step

SESSIONS = "abc"
_NAMES = ["a", "b", "a/b", "a/b/c", "c", "c/d", "t", "t/u", "q", "e", "e/f", "r", "r/s", "ü", "a b", "日本", "p"]
_SUFFIXES = ["", "-", "q-", "/q"]
_BAD_CHARACTERS = [
    *"\0\x01\x1f\x7f\x80\x9f\ud7ff\ue000\uf8ff\uf900\uffef\ufff0\ufffd\uffff",
    "\U0001f600",
    b"\xed\xa0\x80",  # half of a surrogate pair
    b"\xed\xa0\xbd\xed\xb8\x80",  # both, each encoded by itself: CESU-8
    b"\xff",
    b"\xc3",
    b"\xe6\x97",
    b"\xf0\x9f\x98",
    b"\xc0\x80",
    b"\xf8\x88\x80\x80\x80",
    b"\xf4\x90\x80\x80",
]
_USER = b"user1:12345"
_USER_ID = "user1:+owfoSBn/am19roBPzR1/MfCblE="
_ACLS: list[list[Entry] | None] = [
    [(31, "auth", "")],
    [(31, "auth", None)],
    [(1, "world", "anyone")],
    [(31 & ~1, "world", "anyone")],
    [(31 & ~2, "world", "anyone")],
    [(31 & ~4, "world", "anyone")],
    [(31 & ~8, "world", "anyone")],
    [(31 & ~16, "world", "anyone")],
    [(0, "world", "anyone")],
    [(31, "digest", _USER_ID)],
    [(31, "digest", _USER_ID), (1, "world", "anyone")],
    [(31, "world", "anyone"), (31, "world", "anyone")],
    [(31, "ip", "127.0.0.1")],
    [(31, "ip", "127.0.0.0/8")],
    [(31, "ip", "10.0.0.1"), (16, "ip", "127.0.0.1")],
    [(-1, "world", "anyone")],
    [(0x7FFFFFFF, "ip", "127.0.0.1")],
    # Invalid ones
    None,
    [],
    [(31, None, None)],
    [(31, "", "")],
    [(31, "world", None)],
    [(31, "world", "")],
    [(31, "world", "someone")],
    [(31, "digest", "user")],
    [(31, "digest", "a:b:c")],
    [(31, "digest", ":x")],
    [(31, "digest", None)],
    [(31, "ip", "not an address")],
    [(31, "ip", "127.0.0.1/33")],
    [(31, "ip", "127.0.0.1/-1")],
    [(31, "ip", None)],
    [(31, "super", "")],
    [(31, "sasl", "me")],
    [(31, "x509", "CN=me")],
    [(31, "nonsense", "me")],
    [(31, "world", "anyone"), (31, "nonsense", "me")],
]
_LONG_MAX = 2**63 - 1


class Maker:
    """Draws requests, field by field."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng

    def path(self) -> Text:
        rng = self.rng
        kind = rng.random()
        if kind < 0.72:
            return f"{ROOT}/{rng.choice(_NAMES)}"
        if kind < 0.82:
            return f"{ROOT}/{rng.choice(['q', 'a', 'c', 'b'])}{rng.choice(_SUFFIXES)}{rng.randrange(6):010d}"
        if kind < 0.88:
            return rng.choice([ROOT, "/", "/zookeeper", "/zookeeper/quota", "/zookeeper/config", ROOT + "/none"])
        return self.bad_path()

    def bad_path(self) -> Text:
        rng = self.rng
        good = f"{ROOT}/{rng.choice(_NAMES)}"
        kind = rng.randrange(12)
        if kind == 0:
            return rng.choice([None, "", "a", "a/b", "//", "/.", "/..", " "])
        if kind == 1:
            return good + "/"
        if kind == 2:
            return good.replace("/", "//", 2)
        if kind == 3:
            return good + rng.choice(["/.", "/..", "/./x", "/../x", "/.x", "/...", "/x..", "//"])
        if kind == 4:
            return good[1:]
        if kind == 5:
            return good + rng.choice(["%", "*", "\u00a0", " ", ":", "\\", "?", "\u200b", "\ud7ff"])
        if kind == 6:
            return good + "x" * rng.choice([100, 1000, 5000])
        bad = rng.choice(_BAD_CHARACTERS)
        raw = bad.encode("utf-8", "surrogatepass") if isinstance(bad, str) else bad
        return f"{ROOT}/{rng.choice(['', 'x'])}".encode() + raw + rng.choice([b"", b"y", b"/y"])

    def new_path(self, sequential: bool) -> Text:
        """For a create: with a sequence, a name ends in a dash or a slash."""
        if sequential and self.rng.random() < 0.8:
            return f"{ROOT}/{self.rng.choice(_NAMES)}{self.rng.choice(_SUFFIXES)}"
        return self.path()

    def data(self) -> Text:
        rng = self.rng
        kind = rng.random()
        if kind < 0.1:
            return None
        if kind < 0.2:
            return b""
        if kind < 0.97:
            return rng.randbytes(rng.choice([1, 2, 5, 30, 400]))
        return rng.randbytes(rng.choice([5000, 70_000]))

    def version(self) -> int:
        rng = self.rng
        if rng.random() < 0.6:
            return -1
        return rng.choice([0, 0, 0, 1, 1, 2, 3, -2, 0x7FFFFFFF, -0x80000000])

    def acl(self) -> list[Entry] | None:
        rng = self.rng
        return list(jute.OPEN) if rng.random() < 0.75 else rng.choice(_ACLS)

    def watch(self) -> int:
        return self.rng.choice([0, 0, 0, 1, 1, 2, 255])

    def flags(self) -> int:
        rng = self.rng
        if rng.random() < 0.85:
            return rng.choice([0, 0, 0, 0, 1, 1, 2, 3])
        return rng.choice([4, 5, 6, 7, 8, -1, 0x7FFFFFFF, -0x80000000])

    # Requests: opcode → record ----------------------------------------------------------------------------------------

    def create(self) -> bytes:
        flags = self.flags()
        return jute.create(self.new_path(flags in (2, 3, 6)), self.data(), self.acl(), flags)

    def create_container(self) -> bytes:
        flags = self.rng.choice([4, 4, 4, 0, 1, 2, 3, 5, 6, 7, -1])
        return jute.create(self.new_path(flags in (2, 3, 6)), self.data(), self.acl(), flags)

    def create_ttl(self) -> bytes:
        rng = self.rng
        flags = rng.choice([5, 5, 6, 6, rng.choice([0, 1, 2, 3, 4, 7, -1])])
        ttl = rng.choice([10**7, 10**8, 10**9, 0xFFFFFFFFFF])
        if rng.random() < 0.2:
            ttl = rng.choice([0, -1, 0x10000000000, _LONG_MAX, -_LONG_MAX])
        if flags not in (5, 6):
            ttl = abs(ttl)  # a negative one ends Apache's server for good: its SyncThread dies
        return jute.create_ttl(self.new_path(flags == 6), self.data(), self.acl(), flags, ttl)

    def delete(self) -> bytes:
        return jute.path_and_int(self.path(), self.version())

    def path_and_watch(self) -> bytes:
        return jute.path_and_flag(self.path(), self.watch())

    def set_data(self) -> bytes:
        return jute.set_data(self.path(), self.data(), self.version())

    def only_path(self) -> bytes:
        return jute.text(self.path())

    def set_acl(self) -> bytes:
        path = self.path()
        if path == ROOT:
            path = f"{ROOT}/a"  # or there is soon nothing left to do
        return jute.set_acl(path, self.acl(), self.version())

    def check(self) -> bytes:
        return jute.path_and_int(self.path(), self.version())

    def multi(self) -> bytes:
        rng = self.rng
        parts = []
        for _ in range(rng.choice([0, 1, 1, 2, 3, 4, 6])):
            op = rng.choice([1, 1, 15, 19, 21, 2, 2, 5, 5, 13, 13])
            parts.append((op, self.record(op)))
        if rng.random() < 0.05:
            op = rng.choice([3, 4, 6, 7, 8, 9, 12, 14, 20, 22, 0, -1, 99])
            record = self.record(op) if op in self.makers() and op not in (14, 22) else self.only_path()
            parts.insert(rng.randrange(len(parts) + 1), (op, record))
        if rng.random() < 0.02:
            parts = [(op, self.path_and_watch()) for op in rng.choices([4, 8], k=rng.choice([1, 2]))]
        if rng.random() < 0.03:
            return b"".join(jute.part(op, record, err=rng.choice([0, -1, 5])) for op, record in parts) + jute.part(
                rng.choice([-1, 0, 1, 14]), b"", done=True, err=rng.choice([0, -1, 7])
            )
        return jute.multi(parts)

    def multi_read(self) -> bytes:
        rng = self.rng
        parts = [(op, self.path_and_watch()) for op in rng.choices([4, 8], k=rng.choice([0, 1, 2, 3, 5]))]
        if rng.random() < 0.03:
            parts = [(op, self.record(op)) for op in rng.choices([1, 2, 5, 13], k=rng.choice([1, 2]))]
        if rng.random() < 0.05:
            op = rng.choice([1, 2, 3, 5, 6, 12, 13, 22, -1])
            parts.insert(rng.randrange(len(parts) + 1), (op, self.path_and_watch()))
        return jute.multi(parts)

    def reconfig(self) -> bytes:
        rng = self.rng
        spec = rng.choice([None, "", "server.2=127.0.0.1:1:2;3", "rubbish"])
        return jute.text(spec) + jute.text(rng.choice([None, "1"])) + jute.text(None) + jute.long(rng.choice([-1, 0]))

    def watcher_type(self) -> bytes:
        # 4 and 5 are of 3.9.
        return jute.path_and_int(self.path(), self.rng.choice([1, 2, 3, 3, 0, 6, -1, 0x7FFFFFFF]))

    def add_watch(self) -> bytes:
        return jute.path_and_int(self.path(), self.rng.choice([2, -1, 7, 0x7FFFFFFF]))

    def set_watches(self) -> bytes:
        return jute.set_watches(0, *self._lists(3))

    def set_watches2(self) -> bytes:
        return jute.set_watches(0, *self._lists(3), [], [])

    def _lists(self, count: int) -> list[list[Text] | None]:
        rng = self.rng
        lists: list[list[Text] | None] = [
            [self.path() for _ in range(rng.choice([0, 0, 1, 2, 3]))] for _ in range(count)
        ]
        if rng.random() < 0.05:
            lists[rng.randrange(count)] = None
        return lists

    def get_ephemerals(self) -> bytes:
        rng = self.rng
        return jute.text(rng.choice([None, "", " ", "/", ROOT, f"{ROOT}/e", f"{ROOT}/a", "x", "\t\n", "\u2003"]))

    def auth(self) -> bytes:
        rng = self.rng
        scheme, credential = rng.choice(
            [
                ("digest", _USER),
                ("digest", b"user2:x"),
                ("digest", SUPER),
                ("digest", b""),
                ("digest", b"no colon"),
                ("ip", b""),
            ]
        )
        return jute.auth(scheme, credential)

    def nothing(self) -> bytes:
        return b""

    def makers(self) -> dict[int, tuple[int, Callable[[], bytes]]]:
        """Opcode → how often, and what makes the record."""
        return {
            jute.CREATE: (16, self.create),
            jute.CREATE2: (6, self.create),
            jute.CREATE_CONTAINER: (4, self.create_container),
            jute.CREATE_TTL: (6, self.create_ttl),
            jute.DELETE: (7, self.delete),
            jute.EXISTS: (5, self.path_and_watch),
            jute.GET_DATA: (6, self.path_and_watch),
            jute.SET_DATA: (8, self.set_data),
            jute.GET_ACL: (4, self.only_path),
            jute.SET_ACL: (5, self.set_acl),
            jute.GET_CHILDREN: (4, self.path_and_watch),
            jute.GET_CHILDREN2: (4, self.path_and_watch),
            jute.SYNC: (2, self.only_path),
            jute.PING: (1, self.nothing),
            jute.MULTI: (12, self.multi),
            jute.RECONFIG: (2, self.reconfig),
            jute.CHECK_WATCHES: (2, self.watcher_type),
            jute.REMOVE_WATCHES: (2, self.watcher_type),
            jute.DELETE_CONTAINER: (1, self.only_path),
            jute.MULTI_READ: (4, self.multi_read),
            jute.SET_WATCHES: (2, self.set_watches),
            jute.SET_WATCHES2: (2, self.set_watches2),
            jute.ADD_WATCH: (1, self.add_watch),
            jute.WHO_AM_I: (1, self.nothing),
            jute.GET_EPHEMERALS: (2, self.get_ephemerals),
            jute.GET_ALL_CHILDREN_NUMBER: (2, self.only_path),
            jute.AUTH: (2, self.auth),
            jute.CLOSE_SESSION: (1, self.nothing),
        }

    def record(self, op: int) -> bytes:
        if op == jute.CHECK:
            return self.check()
        return self.makers()[op][1]()

    def spoilt(self, op: int, record: bytes) -> bytes:
        """Cut, or with a tail, or with another number somewhere."""
        rng = self.rng
        kind = rng.randrange(2 if op in (jute.CREATE_TTL, jute.MULTI) else 3)  # see create_ttl
        if kind == 0:
            return record[: rng.randrange(len(record) + 1)]
        if kind == 1:
            return record + rng.randbytes(rng.choice([1, 3, 4, 9, 40]))
        if len(record) < 4:
            return record
        at = rng.randrange(len(record) - 3)
        number = rng.choice([-1, -2, 0, 1, 5, 0x7FFFFFFF, -0x80000000, 0x89, -0x77, 1 << 24])
        return record[:at] + struct.pack(">i", number) + record[at + 4 :]


#: On an auth packet that cannot be read Apache's server closes the connection, ours tells of it; and a reconfig that
#: cannot be read takes no zxid there.
_NEVER_SPOILT = frozenset({jute.AUTH, jute.RECONFIG})
#: Ends the connection, or is answered before what was asked before it; and writes behind a setACL that is not applied
#: yet are judged by the old list in Apache's server.
_ALONE = frozenset({jute.AUTH, jute.CLOSE_SESSION, jute.SET_ACL})


def script(seed: int, length: int) -> list[Step]:
    """Requests of three sessions, two of which have identities of their own."""
    rng = Random(seed)
    maker = Maker(rng)
    steps = [
        Step("a", jute.CREATE, jute.create(ROOT, b"")),
        Step("a", jute.AUTH, jute.auth("digest", _USER), alone=True),
        Step("b", jute.AUTH, jute.auth("digest", b"user2:x"), alone=True),
        *(Step("a", jute.CREATE, jute.create(f"{ROOT}/{name}", b"")) for name in ("a", "a/b", "c", "q")),
        Step("a", jute.CREATE, jute.create(f"{ROOT}/e", b"", flags=1)),
        Step("a", jute.CREATE, jute.create(f"{ROOT}/r", b"", [(31, "digest", _USER_ID)])),
    ]
    makers = maker.makers()
    ops = list(makers)
    weights = [weight for weight, _ in makers.values()]
    while len(steps) < length:
        session = rng.choice(SESSIONS)
        for _ in range(rng.choice([1, 1, 2, 4, 8])):
            (op,) = rng.choices(ops, weights)
            if rng.random() < 0.004:
                steps.append(Step(session, rng.choice(jute.UNKNOWN), maker.only_path(), alone=True))
                continue
            record = maker.record(op)
            if rng.random() < 0.06 and op not in _NEVER_SPOILT:
                record = maker.spoilt(op, record)
            seen = (
                rng.choice([0, 1, 2, 5, 9]) if op in (jute.SET_WATCHES, jute.SET_WATCHES2) and len(record) >= 8 else -1
            )
            odd = rng.random() < 0.02
            xid = rng.choice([0, -2, -4, -8, -9, -0x80000000]) if odd else None
            steps.append(Step(session, op, record, xid, seen, alone=op in _ALONE or odd))
    return steps[:length]
