"""Watch scenarios from a seed: some connections set watches of all kinds, others change what they watch.

Apache's server 3.8.0 keeps one mode for each path and connection (a one-shot watch ends a persistent one at its path),
3.9 lets them stand side by side, and so do we. So a connection has watches of one kind at a path here; both together
have tests of their own in tests/tree.
"""

from random import Random

from . import jute
from .compare import ROOT
from .jute import Entry
from .pair import SUPER, Step

_PATHS = [ROOT, f"{ROOT}/a", f"{ROOT}/a/b", f"{ROOT}/a/b/c", f"{ROOT}/e", f"{ROOT}/k", f"{ROOT}/k/x"]
_WATCHERS = "vw"
_USER, _USER_ID = b"user1:12345", "user1:+owfoSBn/am19roBPzR1/MfCblE="
#: Whoever may not read is not told.
_ACLS: list[tuple[Entry, ...]] = [
    jute.OPEN,
    ((31 & ~1, "world", "anyone"),),
    ((31 & ~1, "world", "anyone"), (1, "digest", _USER_ID)),
]
_ACTOR = "a"
_OTHER = "o"  # owns ephemerals, and is closed
_ONE_SHOT, _PERSISTENT, _RECURSIVE = range(3)


class Scenario:
    def __init__(self, seed: int) -> None:
        self.rng = Random(seed)
        self.kinds: dict[tuple[str, str], int] = {}
        self.steps: list[Step] = []

    def kind(self, session: str, path: str) -> int:
        return self.kinds.setdefault((session, path), self.rng.choice([_ONE_SHOT, _ONE_SHOT, _PERSISTENT, _RECURSIVE]))

    def ask(self, session: str, op: int, record: bytes, **more: int) -> None:
        self.steps.append(Step(session, op, record, alone=op in (jute.CLOSE_SESSION, jute.SET_ACL), **more))

    def watch(self) -> None:
        rng = self.rng
        session, path = rng.choice(_WATCHERS), rng.choice(_PATHS)
        kind = self.kind(session, path)
        if kind != _ONE_SHOT:
            self.ask(session, jute.ADD_WATCH, jute.path_and_int(path, kind - _PERSISTENT))
            return
        op = rng.choice([jute.EXISTS, jute.GET_DATA, jute.GET_CHILDREN, jute.GET_CHILDREN2])
        self.ask(session, op, jute.path_and_flag(path, 1))

    def look(self) -> None:
        """Check or remove a watch; or put back all, as after a lost connection."""
        rng = self.rng
        session, path = rng.choice(_WATCHERS), rng.choice(_PATHS)
        choice = rng.randrange(3)
        if choice == 0:
            self.ask(session, jute.CHECK_WATCHES, jute.path_and_int(path, rng.choice([1, 2, 3])))
        elif choice == 1:
            type = rng.choice([1, 2, 3]) if self.kind(session, path) == _ONE_SHOT else 3
            self.ask(session, jute.REMOVE_WATCHES, jute.path_and_int(path, type))
        else:
            lists: list[list[str]] = [[], [], [], [], []]
            for path in rng.sample(_PATHS, rng.randrange(1, 5)):
                kind = self.kind(session, path)
                lists[rng.randrange(3) if kind == _ONE_SHOT else kind + 2].append(path)
            op = jute.SET_WATCHES2 if any(lists[3:]) or rng.random() < 0.5 else jute.SET_WATCHES
            record = jute.set_watches(0, *(lists if op == jute.SET_WATCHES2 else lists[:3]))
            self.ask(session, op, record, seen=rng.choice([0, 0, 1, 2, 4]))

    def change(self) -> None:
        rng = self.rng
        who = rng.choice([_ACTOR, _ACTOR, _OTHER, *_WATCHERS])
        choice = rng.randrange(12)
        path = rng.choice(_PATHS[1:])
        if choice < 4:
            op, record = self._create(path)
            self.ask(who, op, record)
        elif choice < 6:
            self.ask(who, jute.DELETE, jute.path_and_int(path, -1))
        elif choice < 8:
            self.ask(who, jute.SET_DATA, jute.set_data(rng.choice(_PATHS), rng.randbytes(2)))
        elif choice == 8:
            self.ask(who, jute.SET_ACL, jute.set_acl(path, rng.choice(_ACLS)))
        elif choice == 9:
            self.ask(rng.choice([_OTHER, _OTHER, *_WATCHERS]), jute.CLOSE_SESSION, b"")
        else:
            parts = []
            for path in rng.choices(_PATHS[1:], k=rng.choice([2, 3, 4])):
                parts.append(
                    rng.choice(
                        [
                            (jute.CREATE, jute.create(path, b"")),
                            (jute.DELETE, jute.path_and_int(path, -1)),
                            (jute.SET_DATA, jute.set_data(path, b"m")),
                            (jute.CHECK, jute.path_and_int(path, -1)),
                        ]
                    )
                )
            self.ask(who, jute.MULTI, jute.multi(parts))

    def _create(self, path: str) -> tuple[int, bytes]:
        rng = self.rng
        choice = rng.randrange(6)
        if choice == 0:
            return jute.CREATE_CONTAINER, jute.create(path, b"", flags=4)
        if choice == 1:
            return jute.CREATE_TTL, jute.create_ttl(path, b"", jute.OPEN, 5, 10**8)
        if choice == 2:
            return jute.CREATE2, jute.create(path + "-", b"", flags=rng.choice([2, 3]))
        flags = 1 if path.endswith(("/e", "/x", "/c")) else 0
        return jute.CREATE, jute.create(path, b"", rng.choice([jute.OPEN, jute.OPEN, *_ACLS]), flags)


def scenario(seed: int) -> list[Step]:
    made = Scenario(seed)
    rng = made.rng
    made.ask(_ACTOR, jute.CREATE, jute.create(ROOT, b""))
    made.steps.append(Step("v", jute.AUTH, jute.auth("digest", _USER), alone=True))
    for path in _PATHS[1:]:
        if rng.random() < 0.3:
            continue
        made.ask(_ACTOR if rng.random() < 0.7 else _OTHER, jute.CREATE, jute.create(path, b""))
    for _ in range(rng.randrange(2, 9)):
        made.watch()
    for _ in range(rng.randrange(4, 13)):
        rng.choice([made.change, made.change, made.change, made.watch, made.look])()
    return made.steps


def quotas(seed: int) -> list[Step]:
    """Quotas below one znode, soft and hard ones, changes that keep or break them, and what is counted meanwhile.

    Apache's server judges by what is applied, and not by what is proposed: so one request after the other.
    """
    rng = Random(seed)
    below = f"/zookeeper/quota{ROOT}"
    steps = [
        Step(_ACTOR, jute.AUTH, jute.auth("digest", SUPER), alone=True),
        Step(_ACTOR, jute.CREATE, jute.create(ROOT, b"123")),
        Step(_ACTOR, jute.CREATE, jute.create(f"{ROOT}/a", b"12")),
        *(Step(_ACTOR, jute.CREATE, jute.create(path, b"")) for path in (below, f"{below}/a")),
    ]
    for place in rng.sample([below, f"{below}/a"], rng.randrange(1, 3)):
        count, size = rng.choice([-1, 2]), rng.choice([-1, 10])
        hard_count, hard_size = rng.choice([-1, -1, 4]), rng.choice([-1, 10, 20])
        limits = f"count={count},bytes={size}=;byteHardLimit={hard_size};countHardLimit={hard_count}"
        zeros = "count=0,bytes=0=;byteHardLimit=-1;countHardLimit=-1"
        names = [("zookeeper_limits", rng.choice([limits, f"count={count},bytes={size}"])), ("zookeeper_stats", zeros)]
        steps += [Step(_ACTOR, jute.CREATE, jute.create(f"{place}/{name}", text.encode())) for name, text in names]
    for _ in range(rng.randrange(5, 25)):
        path = rng.choice([ROOT, f"{ROOT}/a", f"{ROOT}/a/b", f"{ROOT}/a/c", f"{ROOT}/d", f"{ROOT}/e"])
        data = rng.choice([None, b"", b"1", b"12345", bytes(12), bytes(30)])
        session = rng.choice([_ACTOR, _OTHER])
        choice = rng.randrange(8)
        if choice < 3:
            steps.append(Step(session, jute.CREATE, jute.create(path, data, flags=rng.choice([0, 0, 1]))))
        elif choice < 5:
            steps.append(Step(session, jute.SET_DATA, jute.set_data(path, data)))
        elif choice == 5:
            steps.append(Step(session, jute.DELETE, jute.path_and_int(path, -1)))
        elif choice == 6:
            parts = [
                rng.choice([(jute.CREATE, jute.create(other, data)), (jute.SET_DATA, jute.set_data(other, data))])
                for other in (path, f"{ROOT}/f")
            ]
            steps.append(Step(session, jute.MULTI, jute.multi(parts)))
        else:
            place = rng.choice([below, f"{below}/a"])
            name = rng.choice(["zookeeper_stats", "zookeeper_limits"])
            steps.append(Step(session, jute.GET_DATA, jute.path_and_flag(f"{place}/{name}", 0)))
    return [step._replace(alone=True) for step in steps]
