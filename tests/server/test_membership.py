"""Membership: who takes part, by this server's file and by what was delivered."""

import pytest

from zabpy.model import ReconfigTxn, SetDataTxn, make_zxid
from zabpy.server.clock import SystemClock
from zabpy.server.config import Config, parse
from zabpy.server.log import Log
from zabpy.server.membership import Membership
from zabpy.tree import CONFIG_PATH, Tree

VOTERS = "server.1=a:1:2:participant\nserver.2=b:1:2:participant\nserver.3=c:1:2:participant"
FILE = f"{VOTERS}\nserver.4=d:1:2:observer"
ZXID = make_zxid(3, 7)


def config_of(text: str) -> Config:
    base = "dataDir=/x\nclientPort=1\ninitLimit=1\nsyncLimit=1\nstandaloneEnabled=false\nzabpy.peersUnproven=true\n"
    return parse(base + text, server_id=1)


def delivered(text: str, me: int = 1, file: str = FILE) -> tuple[Membership, list[str]]:
    lines: list[str] = []
    membership = Membership(config_of(file), me, Log(SystemClock(), server_id=me, write=lines.append))
    tree = Tree(standalone=False, config=b"")
    tree.apply(ZXID, 0, ReconfigTxn(f"{text}\nversion={ZXID:x}".encode()))
    membership.start(tree)
    return membership, lines


def test_the_file_counts_until_a_configuration_is_delivered() -> None:
    membership = Membership(config_of(FILE), 1, Log(SystemClock(), server_id=1, write=print))
    membership.start(Tree(standalone=False, config=b"whatever"))
    assert membership.ensemble.voters == {1, 2, 3} and membership.ensemble.observers == {4}
    assert membership.members.version == 0


def test_then_its_observers_count_and_the_files_do_not() -> None:
    membership, lines = delivered(f"{VOTERS}\nserver.9=e:1:2:observer;e:5")
    assert membership.ensemble.voters == {1, 2, 3} and membership.ensemble.observers == {9}
    assert membership.members.version == ZXID
    assert membership.addresses() == {1: ("a", 1), 2: ("b", 1), 3: ("c", 1), 9: ("e", 1)}
    assert "other observers than the file" in lines[0] and len(lines) == 1


@pytest.mark.parametrize("text", [VOTERS + "\nserver.4=d:1:2:participant;7", "server.1=a:1:2:participant"])
def test_the_files_voters_count_whatever_was_delivered_and_the_log_says_so(text: str) -> None:
    membership, lines = delivered(text)
    assert membership.ensemble.voters == {1, 2, 3} and membership.ensemble.observers == frozenset()
    assert "other voters than the file" in lines[0] and len(lines) == 1


def test_a_voter_of_the_file_is_no_observer() -> None:
    membership, _ = delivered(VOTERS.replace("c:1:2:participant", "c:1:2:observer"))
    assert membership.ensemble.voters == {1, 2, 3} and membership.ensemble.observers == frozenset()


def test_one_that_is_no_voter_observes_in_its_own_eyes_always() -> None:
    membership, _ = delivered(VOTERS, me=4)
    assert membership.ensemble.observers == {4}
    assert not membership.lists_us


def test_the_client_address_of_a_voter_is_learnt_and_its_other_addresses_are_not() -> None:
    membership, lines = delivered(f"{VOTERS};c:2181\nserver.4=d:1:2:observer".replace("b:1:2", "x:1:2"))
    assert [member.text() for member in membership.members.servers] == [
        "server.1=a:1:2:participant",
        "server.2=b:1:2:participant",
        "server.3=c:1:2:participant;c:2181",
        "server.4=d:1:2:observer",
    ]
    assert not lines


def test_what_an_older_version_let_a_client_write_there_is_left_alone() -> None:
    lines: list[str] = []
    membership = Membership(config_of(FILE), 1, Log(SystemClock(), server_id=1, write=lines.append))
    tree = Tree(standalone=False, config=b"")
    tree.apply(ZXID, 0, SetDataTxn(CONFIG_PATH, b"\xff junk", 1))
    membership.start(tree)
    assert membership.ensemble.observers == {4}
    assert "event=config_unreadable" in lines[0]
