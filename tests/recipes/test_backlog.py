"""Which entry comes next, as far as events have told."""

from random import Random

from zabpy.recipes.backlog import Backlog, in_order, rank_of

RNG = Random(1)


def name(rank: int, number: int) -> str:
    return f"entry-{rank:03d}-{number:010d}"


def test_what_is_no_entry_has_no_rank() -> None:
    assert rank_of("entry-100-0000000042") == 100 and rank_of("entry-007--2147483648") == 7
    for other in ("entry-0000000042", "entry-100-42", "entry-100-0000000042x", "x", "entry-1-0000000001"):
        assert rank_of(other) is None


def test_the_lowest_rank_first_and_then_the_eldest() -> None:
    backlog = Backlog()
    backlog.reset([name(100, 2), name(50, 3), name(100, 1), "foreign"], [])
    backlog.add(name(50, 4))
    taken = []
    while (found := backlog.pick(RNG, 1)) is not None:
        taken.append(found)
        backlog.take(found)
    assert taken == [name(50, 3), name(50, 4), name(100, 1), name(100, 2)]
    backlog.untake(name(100, 1))
    backlog.untake(name(50, 4))
    assert backlog.pick(RNG, 1) == name(50, 4), "what is given back has its old place"
    backlog.remove(name(50, 4))
    assert backlog.pick(RNG, 1) == name(100, 1)
    assert backlog.pick(RNG, 1, rank_max=99) is None


def test_numbers_that_wrap_keep_their_order() -> None:
    assert in_order([name(1, -(2**31)), name(1, 2**31 - 1), name(1, -(2**31) + 1)]) == [
        name(1, 2**31 - 1),
        name(1, -(2**31)),
        name(1, -(2**31) + 1),
    ]
    assert in_order([name(1, -1), name(1, 0), name(1, -2)]) == [name(1, -2), name(1, -1), name(1, 0)]


def test_it_stays_right_whatever_is_told() -> None:
    rng = Random(7)
    for _ in range(200):
        backlog, entries, taken, reserved = Backlog(), dict[str, int](), set[str](), set[str]()
        arrivals = 0
        for _ in range(rng.randrange(60)):
            each = name(rng.randrange(3), rng.randrange(5))
            match rng.randrange(7):
                case 0:
                    backlog.add(each)
                    if each not in entries:
                        entries[each] = arrivals = arrivals + 1
                case 1:
                    backlog.remove(each)
                    entries.pop(each, None)
                case 2:
                    backlog.take(each)
                    taken.add(each)
                case 3:
                    backlog.untake(each)
                    taken.discard(each)
                case 4:
                    backlog.reserve(each)
                    reserved.add(each)
                case 5:
                    backlog.unreserve(each)
                    reserved.discard(each)
                case 6:
                    listed = [name(rng.randrange(3), rng.randrange(5)) for _ in range(4)]
                    backlog.reset(listed, taken := {each for each in listed if rng.randrange(2)})
                    for gone in entries.keys() - set(listed):
                        del entries[gone]
                    for new in in_order(set(listed) - entries.keys()):
                        entries[new] = arrivals = arrivals + 1
            free = sorted((rank_of(each) or 0, place, each) for each, place in entries.items()
                          if each not in taken and each not in reserved)  # fmt: skip
            assert backlog.pick(rng, 1) == (free[0][2] if free else None)
            best = {each for rank, _, each in free[:3] if rank == free[0][0]}
            found = backlog.pick(rng, 3)
            assert found in best if best else found is None
            assert len(backlog) == len(entries)
