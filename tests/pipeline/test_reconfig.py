"""reconfig: what is asked for, and what comes of it. Codes and texts as Apache ZooKeeper 3.8.0 gave them."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import pytest

from tests.pipeline.conftest import ANYBODY, World
from zabpy.model import Acl, Identity, Member, Members, ReconfigTxn, members_text, parse_members
from zabpy.pipeline import EnsembleView, Rules, State
from zabpy.tree import CONFIG_PATH, Tree
from zabpy.wire import Op, Reader, records as r

ROOT = (*ANYBODY, Identity("super", ""))
V1, V2, V3 = (f"server.{n}=127.0.0.1:{4100 + n}:{4200 + n}:participant" for n in (1, 2, 3))
O4 = "server.4=127.0.0.1:4104:4204:observer"
START = "\n".join((V1, V2, V3, O4))
V = "\n".join((V1, V2, V3))
O9 = "server.9=127.0.0.1:4109:4209:observer;127.0.0.1:2199"
O9_MOVED = "server.9=127.0.0.1:4119:4219:observer;127.0.0.1:2199"


class Case(NamedTuple):
    joining: str | None = None
    leaving: str | None = None
    members: str | None = None
    then: str | int = -8
    version: int = -1
    start: str = START


class Ground:
    """A leader of three voters, all in step, and its tree."""

    def __init__(self, start: str = START, *, rules: Rules = Rules(reconfig_enabled=True), voters_min: int = 2) -> None:  # noqa: B008
        self.log: list[str] = []
        static = parse_members(start)
        self.in_step = {1, 2, 3}
        state = State(Tree(standalone=False, config=members_text(*static).encode()))

        def members() -> Members:
            znode = state.tree.nodes[CONFIG_PATH]
            return parse_members((znode.data or b"").decode()) if znode.mzxid else static

        def in_step(members: Sequence[Member]) -> bool:
            voters = {member.server_id for member in members if member.voter}
            return 2 * len(voters & self.in_step) > len(voters)

        self.world = World(rules, state, EnsembleView(members, in_step, self.log.append, voters_min))

    def ask(
        self,
        joining: str | None = None,
        leaving: str | None = None,
        members: str | None = None,
        version: int = -1,
        identities: tuple[Identity, ...] = ROOT,
    ) -> str | int:
        """The new text without its version, or the error code."""
        asked = r.ReconfigRequest(joining, leaving, members, version)
        err, body = self.world.write(Op.RECONFIG, asked, identities=identities)
        if err:
            assert body == b""
            return err
        told = r.GetDataResponse.read(Reader(body))
        text, _, version_line = (told.data or b"").decode().rpartition("\n")
        assert version_line == f"version={self.world.last:x}"
        assert (told.stat.mzxid, told.stat.version, told.stat.aversion) == (self.world.last, -1, -1)
        return text


CASES = {
    "nothing": Case(then=START),
    "empty joining": Case("", then=START),
    "empty leaving": Case(leaving="", then=START),
    "empty members": Case(members=""),
    "all empty": Case("", "", ""),
    "no line": Case("some thing"),
    "an observer joins": Case(O9, then=f"{START}\n{O9}"),
    "without a client port": Case(O9.partition(";")[0]),
    "the client port alone": Case("server.9=a:1:2:observer;7", then=f"{START}\nserver.9=a:1:2:observer;0.0.0.0:7"),
    "again the same": Case(O9, start=f"{START}\n{O9}", then=f"{START}\n{O9}"),
    "it moves": Case(O9_MOVED, start=f"{START}\n{O9}", then=f"{START}\n{O9_MOVED}"),
    "the last of two counts": Case(f"{O9},{O9_MOVED}", then=f"{START}\n{O9_MOVED}"),
    "in the order of numbers": Case(O9.replace(".9=", ".11=") + "," + O9_MOVED,
                                    then=f"{START}\n{O9_MOVED}\n" + O9.replace(".9=", ".11=")),
    "in capitals": Case("server.9=a:1:2:OBSERVER;7", then=f"{START}\nserver.9=a:1:2:observer;0.0.0.0:7"),
    "with spaces": Case(f" server.9 = {O9[9:]} , ", then=f"{START}\n{O9}"),
    "another name before the dot": Case(O9.replace("server.", "foo."), then=f"{START}\n{O9}"),
    "a newline does not separate": Case(f"{O9}\n{O9_MOVED.replace('.9=', '.10=')}"),
    "no role: a voter": Case("server.9=a:1:2;7", then=-6),
    "another role": Case("server.9=a:1:2:king;7"),
    "version": Case("version=5", then=-5),
    "another key": Case("clientPort=3", then=-5),
    "a group": Case("group.1=1:2"),
    "a weight": Case("weight.1=1"),
    "no key": Case(O9[8:]),
    "letters for a number": Case(O9.replace(".9=", ".x="), then=-5),
    "a number of 64 bits": Case(O9.replace(".9=", ".9223372036854775808="), then=-5),
    "number 0": Case(O9.replace(".9=", ".0=")),
    "number 256": Case(O9.replace(".9=", ".256=")),
    "a negative number": Case(O9.replace(".9=", ".-3=")),
    "a port of letters": Case("server.9=a:x:2:observer;7"),
    "a port of 17 bits": Case("server.9=a:70000:2:observer;7", then=-5),
    "port 0": Case("server.9=a:0:2:observer;7"),
    "no host": Case("server.9=:1:2:observer;7"),
    "a long host": Case(f"server.9={'a' * 254}:1:2:observer;7"),
    "several addresses": Case("server.9=a:1:2|b:1:2:observer;7"),
    "a secure part": Case("server.9=a:1:2:observer;;7"),
    "two client parts": Case("server.9=a:1:2:observer;7;8"),
    "an address of IPv6": Case("server.9=[::1]:70:2:observer;[::1]:7",
                               then=f"{START}\nserver.9=[::1]:70:2:observer;[::1]:7"),
    "two at one place": Case("server.9=a:1:2:observer;7,server.10=a:1:3:observer;7"),
    "election port and peer port at one place": Case("server.9=a:1:2:observer;7,server.10=a:3:1:observer;7"),
    "client ports at one place": Case("server.9=a:1:2:observer;a:7,server.10=a:3:4:observer;a:7"),
    "one port twice": Case("server.9=a:1:1:observer;7"),
    "loopback is no one place": Case(O9_MOVED.replace(".9=", ".10="), start=f"{START}\n{O9_MOVED}",
                                     then=f"{START}\n{O9_MOVED}\n{O9_MOVED.replace('.9=', '.10=')}"),
    "it leaves": Case(leaving="4", then=V),
    "who is not there leaves": Case(leaving="77", then=START),
    "it leaves twice": Case(leaving="4,4", then=V),
    "two leave": Case(leaving="9, +4,", start=f"{START}\n{O9}", then=V),
    "one comes, one goes": Case(O9, "4", then=f"{V}\n{O9}"),
    "it leaves and joins": Case(O9_MOVED, "9", start=f"{START}\n{O9}", then=f"{START}\n{O9_MOVED}"),
    "letters leave": Case(leaving="abc", then=-5),
    "a name leaves": Case(leaving="server.4", then=-5),
    "hexadecimal leaves": Case(leaving="0x4", then=-5),
    "64 bits leave": Case(leaving="9223372036854775808", then=-5),
    "all voters leave": Case(leaving="1,2,3"),
    "one voter is left": Case(leaving="2,3"),
    "a voter leaves": Case(leaving="3", then=-6),
    "a voter joins": Case("server.5=a:1:2:participant;7", then=-6),
    "voters join who are not there": Case(
        ",".join(f"server.{n}=a{n}:1:2:participant;7" for n in (5, 6, 7, 8)), then=-13
    ),
    "an observer becomes a voter": Case(f"{O4.replace('observer', 'participant')};7", then=-6),
    "a voter becomes an observer": Case(f"{V3.replace('participant', 'observer')};7", then=-6),
    "a voter moves": Case(f"{V3.replace('4103', '4113')};7", then=-6),
    "a voter says its client address": Case(f"{V1};7", then=START.replace(V1, f"{V1};0.0.0.0:7")),
    "a voter changes its client port": Case(f"{V1};8", start=START.replace(V1, f"{V1};7"), then=-6),
    "all as they are": Case(members=START, then=START),
    "all with commas, a version and spaces": Case(
        members=START.replace("\n", " , ") + ",version=5\n\n", then=START
    ),
    "all, and one joining: all counts": Case(O9, members=START, then=START),
    "all but an observer": Case(members=V, then=V),
    "all, one twice": Case(members=f"{START}\n{O4}", then=START),
    "all but a voter": Case(members=f"{V1}\n{V2}\n{O4}", then=-6),
    "one voter": Case(members=V1),
    "all, and another key": Case(members=f"{START},foo=5"),
    "all, and letters for a number": Case(members=f"{START},server.x=a:1:2", then=-5),
    "all, and a group for one": Case(members=f"{START},group.1=1"),
    "all, and other weights": Case(members=f"{START},weight.1=2", then=-6),
    "all, and a weight of a stranger": Case(members=f"{START},weight.7=2"),
    "all, two at one place": Case(members=f"{START},server.9=a:1:2:observer;7,server.10=a:1:3:observer;7"),
    "another version": Case(version=5, then=-103),
    "a negative version": Case(version=-2, then=-103),
    "the version of the start": Case(version=0, then=START),
    "another version is told first": Case("junk", version=5, then=-103),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_a_request_and_what_comes_of_it(case: Case) -> None:
    ground = Ground(case.start)
    before = ground.world.state.tree.nodes[CONFIG_PATH].data
    assert ground.ask(case.joining, case.leaving, case.members, case.version) == case.then
    if isinstance(case.then, int):
        assert len(ground.log) == 1  # the code alone tells too little
        assert ground.world.state.tree.nodes[CONFIG_PATH].data == before
    else:
        assert not ground.log


@pytest.mark.parametrize(
    ("asked", "then"),
    [
        (Case(), -102),
        (Case(O9), -102),
        (Case(O9.replace(".9=", ".999=")), -102),
        (Case(leaving="3"), -102),
        (Case("junk"), -8),
        (Case("junk", version=7), -103),
        (Case(leaving="1,2,3"), -8),
    ],
    ids=str,
)
def test_without_the_right_to_write_other_errors_are_told_first_and_nothing_is_logged(asked: Case, then: int) -> None:
    ground = Ground()
    assert ground.ask(asked.joining, asked.leaving, asked.members, asked.version, ANYBODY) == then
    assert not ground.log


def test_who_was_given_the_right_to_write_may() -> None:
    ground = Ground()
    acl = (Acl(2, "world", "anyone"),)
    assert ground.world.write(Op.SET_ACL, r.SetACLRequest(CONFIG_PATH, acl, -1), identities=ROOT)[0] == 0
    err, _ = ground.world.write(Op.RECONFIG, r.ReconfigRequest(O9, None, None, -1))
    assert err == 0


def test_switched_off_or_standalone_it_is_refused_whatever_it_asks_for() -> None:
    assert Ground(rules=Rules()).ask("junk") == -123
    standalone = World(Rules(reconfig_enabled=True))
    assert standalone.write(Op.RECONFIG, r.ReconfigRequest("junk", None, None, 9), identities=ROOT)[0] == -6
    assert standalone.write(Op.RECONFIG, r.ReconfigRequest("junk", None, None, 9), session=99)[0] == -112


def test_without_a_quorum_in_step_nothing_changes() -> None:
    ground = Ground()
    ground.in_step = {1}
    assert ground.ask(O9) == -13


def test_with_standalone_switched_off_one_voter_is_enough() -> None:
    assert Ground(voters_min=1).ask(leaving="2,3") == -6
    assert Ground(voters_min=1).ask(leaving="1,2,3") == -8


def test_with_weights_only_the_whole_configuration_can_be_given() -> None:
    start = f"{V}\nweight.1=3\nweight.2=1\nweight.3=1"
    ground = Ground(start)
    assert ground.ask(leaving="9") == -8
    then = f"{V}\n{O4}\nweight.1=3\nweight.2=1\nweight.3=1"
    assert ground.ask(members=then) == f"{then}\nweight.4=1"


def test_several_at_once_build_on_each_other() -> None:
    ground = Ground()
    world = ground.world
    first = world.propose(Op.RECONFIG, r.ReconfigRequest(O9, None, None, 0), identities=ROOT)
    late = world.propose(Op.RECONFIG, r.ReconfigRequest(None, "9", None, 0), identities=ROOT)
    assert late != first and not isinstance(late, ReconfigTxn)  # the version is the first one's by then
    second = world.propose(Op.RECONFIG, r.ReconfigRequest(None, "4", None, world.last - 1), identities=ROOT)
    assert isinstance(second, ReconfigTxn)
    assert second.text.decode() == f"{V}\n{O9}\nversion={world.last:x}"
    world.deliver()
    assert ground.ask(O4 + ";7", version=world.last) == f"{V}\n{O4};0.0.0.0:7\n{O9}"


def test_a_failed_one_leaves_nothing_behind() -> None:
    ground = Ground()
    ground.world.propose(Op.RECONFIG, r.ReconfigRequest(O9, "3", None, -1), identities=ROOT)
    body = ground.world.propose(Op.RECONFIG, r.ReconfigRequest(None, None, None, 0), identities=ROOT)
    assert isinstance(body, ReconfigTxn) and O9.encode() not in body.text


def test_the_configuration_cannot_be_written_over_nor_deleted() -> None:
    """ZooKeeper lets super write anything there. Here servers go by it, also after a restart."""
    world = Ground().world
    assert world.write(Op.SET_DATA, r.SetDataRequest(CONFIG_PATH, b"x", -1))[0] == -102
    assert world.write(Op.SET_DATA, r.SetDataRequest(CONFIG_PATH, b"x", 0), identities=ROOT)[0] == -103
    assert world.write(Op.SET_DATA, r.SetDataRequest(CONFIG_PATH, b"x", -1), identities=ROOT)[0] == -8
    assert world.write(Op.DELETE, r.DeleteRequest(CONFIG_PATH, -1), identities=ROOT)[0] == -8


def test_the_watch_on_the_configuration_fires() -> None:
    world = Ground().world
    world.read(Op.GET_DATA, r.GetDataRequest(CONFIG_PATH, True), watcher=7)
    world.propose(Op.RECONFIG, r.ReconfigRequest(O9, None, None, -1), identities=ROOT)
    ((_, outcome, _),) = world.deliver()
    ((watcher, frame),) = world.tell(world.last, outcome)
    assert watcher == 7 and frame.endswith(CONFIG_PATH.encode()) and frame[20:24] == b"\0\0\0\3"


MANY = [f"server.{n}=a{n}:1:2:observer;7" for n in range(20_000)]
LONG = {
    "brackets": Case("server.9=" + "[" * 100_000),
    "colons": Case("server.9=" + ":" * 400_000),
    "joining": Case(",".join(MANY)),
    "leaving": Case(leaving="7," * 200_000),
    "commas": Case("," * 500_000),
    "members": Case(members="\n".join(MANY)),
    "newlines": Case(members="\n" * 500_000),
    "as many as may be": Case(",".join(MANY[1:900])),
    "all at one place": Case(",".join(f"server.{n}=a:1:2:observer;7" for n in range(5, 900))),
    "equal signs": Case("=" * 500_000),
}


@pytest.mark.parametrize("case", LONG.values(), ids=LONG)
def test_what_anybody_may_ask_keeps_the_leader_for_a_moment_only(case: Case) -> None:
    ground = Ground()
    began = time.process_time()
    assert ground.ask(case.joining, case.leaving, case.members, identities=ANYBODY) in (-8, -102)
    assert time.process_time() - began < 0.2
