"""The judge is judged: by histories whose verdict a reader can see, by brute force, and by faults that are planted."""

from collections.abc import Iterable
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings, strategies as st

from zabpy.testing.histories import (
    BAD_VERSION,
    NO_NODE,
    NODE_EXISTS,
    Event,
    History,
    Operation,
    Seen,
    linearizable,
    read,
    told,
)
from zabpy.testing.linearizability import Call, Verdict, Znode, check_znode

# By hand --------------------------------------------------------------------------------------------------------------


def create(data: str, called: int, returned: int | None, answer: str | None = "ok") -> Call:
    return Call("create", called, returned, answer if returned is not None else None, data)  # type: ignore[arg-type]


def put(data: str, called: int, returned: int | None, version: int = 0, expected: int = -1, answer: str = "ok") -> Call:
    seen = (None, version) if answer == "ok" else None
    return Call("set", called, returned, answer if returned is not None else None, data, expected, seen)  # type: ignore[arg-type]


def get(called: int, returned: int | None, data: str | None = None, version: int = 0) -> Call:
    if data is None:
        return Call("get", called, returned, "none")
    return Call("get", called, returned, "ok", seen=(data, version))


def delete(called: int, returned: int | None, expected: int = -1, answer: str = "ok") -> Call:
    return Call("delete", called, returned, answer if returned is not None else None, version=expected)  # type: ignore[arg-type]


LEGAL: dict[str, list[Call]] = {
    "nothing": [],
    "one after the other": [create("a", 0, 1), put("b", 2, 3, 1), get(4, 5, "b", 1), delete(6, 7), get(8, 9)],
    "a read during a write sees either": [create("a", 0, 1), put("b", 2, 9, 1), get(3, 4, "a"), get(5, 6, "b", 1)],
    "two writes at once, in the order the reads show": [
        create("a", 0, 1),
        put("b", 2, 9, 2),
        put("c", 2, 9, 1),
        get(10, 11, "b", 2),
    ],
    "an unknown write that happened late": [create("a", 0, 1), put("b", 2, None), get(3, 4, "a"), get(5, 6, "b", 1)],
    "an unknown write that never happened": [create("a", 0, 1), put("b", 2, None), get(3, 4, "a"), get(50, 60, "a")],
    "an unknown delete explains what is missing": [create("a", 0, 1), delete(2, None), get(3, 4)],
    "a read without an answer says nothing": [create("a", 0, 1), get(2, None, "z", 7), get(3, 4, "a")],
    "a compare-and-set that fails because of another": [
        create("a", 0, 1),
        put("b", 2, 9, 1),
        put("c", 2, 9, expected=0, answer="bad version"),
    ],
    "the same moment may be in either order": [create("a", 0, 5), get(5, 6)],
    "made again, and versions begin anew": [create("a", 0, 1), delete(2, 3), create("b", 4, 5), get(6, 7, "b", 0)],
    "an unknown create, and an exists because of it": [
        create("a", 0, None),
        create("b", 5, 6, "exists"),
        get(7, 8, "a"),
    ],
}

ILLEGAL: dict[str, list[Call]] = {
    "stale read": [create("a", 0, 1), put("b", 2, 3, 1), get(4, 5, "a", 0)],
    "stale read of another client, while the write was seen": [
        create("a", 0, 1),
        put("b", 2, 20, 1),
        get(3, 4, "b", 1),
        get(5, 6, "a", 0),
    ],
    "lost write": [create("a", 0, 1), put("b", 2, 3, 1), put("c", 4, 5, 1)],
    "lost create": [create("a", 0, 1), get(2, 3)],
    "lost delete": [create("a", 0, 1), delete(2, 3), get(4, 5, "a", 0)],
    "swapped pair": [create("a", 0, 1), put("b", 2, 3, 2), put("c", 4, 5, 1)],
    "applied twice": [create("a", 0, 1), put("b", 2, 3, 1), get(4, 5, "b", 2)],
    "an unknown write applied twice": [create("a", 0, 1), put("b", 2, None), put("c", 3, 4, 3)],
    "nobody wrote it": [create("a", 0, 1), get(2, 3, "z", 0)],
    "read before it was written": [create("a", 0, 1), get(2, 3, "b", 1), put("b", 4, 5, 1)],
    "an unknown write before its call": [create("a", 0, 1), get(2, 3, "b", 1), put("b", 4, None)],
    "two compare-and-sets of one version": [create("a", 0, 1), put("b", 2, 9, 1, 0), put("c", 2, 9, 1, 0)],
    "a compare-and-set of a wrong version": [create("a", 0, 1), put("b", 2, 3, 1, 5)],
    "refused with the right version": [create("a", 0, 1), put("b", 2, 3, expected=0, answer="bad version")],
    "refused though any version would do": [create("a", 0, 1), delete(2, 3, answer="bad version")],
    "two creates": [create("a", 0, 9), create("b", 0, 9)],
    "exists, of nothing": [create("a", 0, 1, "exists")],
    "none, of what is there": [create("a", 0, 1), put("b", 2, 3, answer="none")],
    "deleted twice": [create("a", 0, 1), delete(2, 9), delete(2, 9)],
    "back from the dead": [create("a", 0, 1), delete(2, 3), get(4, 5), get(6, 7, "a", 0)],
}


@pytest.mark.parametrize("name", LEGAL)
def test_legal(name: str) -> None:
    verdict = check_znode(LEGAL[name])
    assert verdict.outcome == "ok"
    assert explains(LEGAL[name], verdict)
    assert brute(LEGAL[name])


@pytest.mark.parametrize("name", ILLEGAL)
def test_illegal(name: str) -> None:
    verdict = check_znode(ILLEGAL[name])
    assert verdict.outcome == "violation"
    assert verdict.stuck
    assert not brute(ILLEGAL[name])


def test_what_is_there_already_can_be_said() -> None:
    assert check_znode([get(0, 1, "a", 3)], ("a", 3))
    assert not check_znode([get(0, 1, "a", 3)])


def test_a_return_before_its_call_is_refused() -> None:
    with pytest.raises(ValueError, match="operation 0 returns at 1, before its call at 2"):
        check_znode([get(2, 1)])


def test_the_search_gives_up_and_says_so() -> None:
    """Many writes at once that nobody has heard of, and a read that none of them explains."""
    calls = [create("a", 0, 1), *(put(f"{n}", 2, None) for n in range(14)), get(3, 4, "z", 7)]
    assert check_znode(calls, steps_max=5_000).outcome == "gave up"


def test_a_long_history_is_judged_soon() -> None:
    """300 operations of ten clients; without the memo this does not end."""
    calls = legal(Random(5), 300, clients=10, unknown=0.03)
    verdict = check_znode(calls)
    assert verdict.outcome == "ok"
    assert verdict.steps < 100_000
    calls = legal(Random(5), 300, clients=10, unknown=0)
    last = max(at for at, each in enumerate(calls) if each.kind == "get" and each.answer == "ok")
    calls[last] = calls[last]._replace(seen=("never", 0))
    verdict = check_znode(calls)
    assert verdict.outcome == "violation"
    assert verdict.steps < 100_000


# Brute force ----------------------------------------------------------------------------------------------------------


def then(znode: Znode, call: Call, *, known: bool) -> tuple[bool, Znode]:
    """Another model of a znode, written apart from the tested one: whether the answer fits, and what then is."""
    there = znode is not None
    fits = there and call.version in (-1, znode[1])  # type: ignore[index]
    if call.kind == "create":
        right, after = ("exists", znode) if there else ("ok", (call.data, 0))
    elif call.kind == "get":
        right, after = ("ok" if there else "none"), znode
    elif not there:
        right, after = "none", znode
    elif not fits:
        right, after = "bad version", znode
    else:
        right, after = "ok", None if call.kind == "delete" else (call.data, znode[1] + 1)  # type: ignore[index]
    if not known:
        return True, after
    if right != call.answer:
        return False, znode
    if call.kind == "get" and right == "ok" and call.seen != znode:
        return False, znode
    if call.kind == "set" and right == "ok" and call.seen is not None and call.seen[1] != after[1]:  # type: ignore[index]
        return False, znode
    return True, after


def brute(calls: list[Call]) -> bool:
    """All orders of all answered operations with all choices of the others."""
    known = [each for each in calls if each.returned is not None]
    unknown = [each for each in calls if each.returned is None and each.kind != "get"]
    for count in range(len(unknown) + 1):
        for chosen in combinations(unknown, count):
            if any(in_time(order) and all_fit(order) for order in permutations([*known, *chosen])):
                return True
    return False


def in_time(order: Iterable[Call]) -> bool:
    latest_call = -1
    for each in order:
        latest_call = max(latest_call, each.called)
        if each.returned is not None and each.returned < latest_call:
            return False
    return True


def all_fit(order: Iterable[Call]) -> bool:
    znode: Znode = None
    for each in order:
        fits, znode = then(znode, each, known=each.returned is not None)
        if not fits:
            return False
    return True


def explains(calls: list[Call], verdict: Verdict) -> bool:
    """Whether the order that is given is one."""
    order = [calls[number] for number in verdict.order]
    missing = {number for number, each in enumerate(calls) if each.returned is not None} - {*verdict.order}
    return not missing and in_time(order) and all_fit(order)


# Made by chance -------------------------------------------------------------------------------------------------------


def legal(rng: Random, count: int, *, clients: int, unknown: float) -> list[Call]:
    """Operations that took place one after the other, each at a moment between its call and its return. At any time
    about ``clients`` are on their way."""
    znode: Znode = None
    made: list[Call] = []
    for number in range(count):
        moment = 10 * (number + 1)
        called, returned = max(0, moment - rng.randrange(5 * clients)), moment + rng.randrange(5 * clients)
        kind = rng.choice(("create", "set", "set", "get", "get", "delete"))
        version = -1 if kind in ("create", "get") else rng.choice((-1, -1, znode[1] if znode else 0, 1))
        data = f"d{number}" if kind in ("create", "set") else None
        call = Call(kind, called, returned, None, data, version)  # type: ignore[arg-type]
        before = znode
        if rng.random() < unknown:
            made.append(call._replace(returned=None))
            if rng.random() < 0.5:
                _, znode = then(before, call, known=False)
            continue
        _, znode = then(before, call, known=False)
        made.append(answered(call, before, znode))
    return made


def answered(call: Call, before: Znode, after: Znode) -> Call:
    if call.kind == "create":
        return call._replace(answer="exists" if before is not None else "ok")
    if before is None:
        return call._replace(answer="none")
    if call.kind == "get":
        return call._replace(answer="ok", seen=before)
    if call.version not in (-1, before[1]):
        return call._replace(answer="bad version")
    return call._replace(answer="ok", seen=(None, after[1]) if after is not None else None)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 80), st.integers(1, 8))
def test_whatever_took_place_in_some_order_is_ok(seed: int, count: int, clients: int) -> None:
    calls = legal(Random(seed), count, clients=clients, unknown=0.1)
    verdict = check_znode(calls)
    assert verdict.outcome == "ok"
    assert explains(calls, verdict)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 2**32))
def test_small_histories_with_a_fault_are_judged_as_brute_force_does(seed: int) -> None:
    rng = Random(seed)
    calls = legal(rng, rng.randrange(2, 7), clients=3, unknown=0.2)
    assert brute(calls)
    for _ in range(rng.randrange(1, 3)):
        calls = spoilt(rng, calls)
    assert bool(check_znode(calls)) == brute(calls)


def spoilt(rng: Random, calls: list[Call]) -> list[Call]:
    """One answer, time or argument is another one."""
    at = rng.randrange(len(calls))
    one, other = calls[at], rng.choice(calls)
    if one.returned is None:
        made = one._replace(called=one.called + rng.randrange(60))
    else:
        made = rng.choice(
            (
                one._replace(answer=rng.choice(("ok", "none", "exists", "bad version"))),
                one._replace(seen=other.seen),
                one._replace(data=other.data),
                one._replace(version=rng.choice((-1, 0, 1, 2))),
                one._replace(called=0, returned=5),
                one._replace(called=one.returned + 50, returned=one.returned + 60),
            )
        )
    if made.kind == "get" and made.answer == "ok" and made.seen is None and made.returned is not None:
        made = made._replace(seen=("x", 0))
    return [*calls[:at], made, *calls[at + 1 :]]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32))
def test_planted_faults_that_nothing_can_explain_are_rejected(seed: int) -> None:
    """In long histories, where no brute force goes."""
    rng = Random(seed)
    calls = [Call("create", 0, 1, "ok", "first"), *legal_after(rng)]
    reads = [at for at, each in enumerate(calls) if each.kind == "get" and each.answer == "ok"]
    writes = [at for at, each in enumerate(calls) if each.kind == "set" and each.answer == "ok"]
    end = max(each.returned or each.called for each in calls)
    for at in reads[:3]:
        assert (
            check_znode([*calls[:at], calls[at]._replace(seen=("nobody's", 0)), *calls[at + 1 :]]).outcome
            == "violation"
        )
    for at in writes[:3]:
        number = calls[at].seen
        assert number is not None
        assert check_znode([*calls[:at], calls[at]._replace(seen=(None, 999)), *calls[at + 1 :]]).outcome == "violation"
    assert check_znode([*calls, Call("get", end + 1, end + 2, "ok", seen=("first", 0))]).outcome == "violation"


def legal_after(rng: Random) -> list[Call]:
    """Sets and gets on what is there, of version 0; the first of them a set that was answered."""
    made, version, data = [Call("set", 2, 3, "ok", "second", -1, (None, 1))], 1, "second"
    moment = 10
    for number in range(60):
        moment += 10
        called, returned = moment - rng.randrange(60), moment + rng.randrange(60)
        called = max(called, 4)
        if rng.random() < 0.5:
            made.append(Call("get", called, returned, "ok", seen=(data, version)))
        else:
            version, data = version + 1, f"d{number}"
            made.append(Call("set", called, returned, "ok", data, -1, (None, version)))
    return made


# Histories as files ---------------------------------------------------------------------------------------------------


def test_a_history_is_written_and_read_again(tmp_path: Path) -> None:
    operations = [
        Operation(1, 7, "create", "/a", 1, 2, 0, 0x100000001, data="x"),
        Operation(1, 7, "get", "/a", 3, 4, 0, 0x100000001, seen=Seen(0, 5, 5, "x"), synced=True, watch=True),
        Operation(2, 8, "set", "/a", 3, None, data="y", version=0),
        Operation(2, 8, "delete", "/b", 5, 6, NO_NODE, 9, version=-1),
        Operation(0, 0, "create", "/s-", 0, 0, data="", made="/s-0000000001"),
    ]
    history = History([*operations, Event(1, 7, "/a", 0)], {"seed": "s", "number": 3})
    history.write(tmp_path / "h.jsonl")
    assert read(tmp_path / "h.jsonl") == history
    assert all(linearizable(history).values())
    (tmp_path / "none.jsonl").write_text("{}\n")
    with pytest.raises(ValueError, match=r"none.jsonl: expected a history of format 1"):
        read(tmp_path / "none.jsonl")


def test_a_violation_is_told_so_that_a_reader_can_see_it() -> None:
    history = History(
        [
            Operation(1, 7, "create", "/a", 1_000_000, 2_000_000, 0, 1, data="x"),
            Operation(1, 7, "set", "/a", 3_000_000, 4_000_000, 0, 2, data="y", seen=Seen(1, 1, 2)),
            Operation(2, 8, "get", "/a", 5_000_000, 6_000_000, 0, 1, seen=Seen(0, 1, 1, "x"), synced=True),
        ]
    )
    (verdict,) = linearizable(history).values()
    text = told(history, "/a", verdict)
    assert "/a: violation" in text
    assert (
        text.index("set /a 'y'")
        < text.index("none of these can be next")
        < text.index("client 2 session 0x8: synced get")
    )


def test_only_what_a_linearizability_checker_may_see_is_seen() -> None:
    """Plain reads, znodes of sessions and numbered ones are for other checks; stamps are for none of it."""
    old = Operation(2, 8, "get", "/a", 5, 6, 0, 1, seen=Seen(0, 1, 1, "x"))
    history = History(
        [
            Operation(1, 7, "create", "/a", 1, 2, 0, 999, data="x"),
            Operation(1, 7, "set", "/a", 3, 4, 0, 2, data="y", seen=Seen(1, 1, 2)),
            old,
            Operation(1, 7, "create", "/e", 1, 2, ephemeral=True),
            Operation(1, 7, "get", "/e", 3, 4, NO_NODE, synced=True),
            Operation(1, 7, "create", "/s", 5, 6, made="/s1"),
        ]
    )
    assert list(linearizable(history)) == ["/a"]
    assert all(linearizable(history).values())
    history.records.append(replace(old, synced=True))
    assert not all(linearizable(history).values())
    history.records[-1] = replace(old, synced=True, error=-4)
    with pytest.raises(ValueError, match="no answer of the model is -4"):
        linearizable(history)
    assert {BAD_VERSION, NODE_EXISTS} == {-103, -110}
