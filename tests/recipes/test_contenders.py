"""Who is before whom, told by names only: at the wrap of the numbers, too, and as kazoo tells it everywhere else."""

import re
from typing import Any

import pytest
from hypothesis import given, strategies as st

from zabpy.recipes.contenders import LATECOMERS, before, contender, prefix

GUID = "0123456789abcdef0123456789abcdef"
UUID = "01234567-89ab-cdef-0123-456789abcdef"


def numbered(position: int) -> str:
    """What a server puts behind a name when so many children had been created before: a signed word of 32 bits."""
    return f"{(position + 2**31) % 2**32 - 2**31:010d}"


@pytest.mark.parametrize(
    ("name", "shared"),
    [
        (f"{GUID}__lock__0000000007", False),
        (f"{GUID}__rlock__0000000007", True),
        (f"_c_{UUID}-lock-0000000007", False),
        ("lock-0000000007", False),
        (f"_c_{UUID}-__WRIT__0000000007", False),
        (f"_c_{UUID}-__READ__0000000007", True),
        (f"lock-{GUID}-0000000007", False),
        (f"write-{GUID}-0000000007", False),
        (f"read-{GUID}-0000000007", True),
    ],
)
def test_names_of_contenders(name: str, shared: bool) -> None:
    assert contender(name) == (name, 7, shared)
    assert contender(name[:-10] + "-2147483648") == (name[:-10] + "-2147483648", -(2**31), shared)
    assert contender(name[:-10] + "-000000001") == (name[:-10] + "-000000001", -1, shared)


@pytest.mark.parametrize(
    "name", ["", "delay-" + GUID, f"{GUID}__lock__", f"{GUID}__lock__000000007", f"x-{GUID}-0000000007", GUID]
)
def test_names_of_others(name: str) -> None:
    assert contender(name) is None


def test_our_names_are_those_of_the_library_they_are_named_after() -> None:
    assert prefix("kazoo", GUID, shared=False, rw=False) == prefix("kazoo", GUID, shared=False, rw=True)
    assert prefix("kazoo", GUID, shared=False, rw=True) == f"{GUID}__lock__"
    assert prefix("kazoo", GUID, shared=True, rw=True) == f"{GUID}__rlock__"
    assert prefix("curator", GUID, shared=False, rw=False) == f"_c_{UUID}-lock-"
    assert prefix("curator", GUID, shared=False, rw=True) == f"_c_{UUID}-__WRIT__"
    assert prefix("curator", GUID, shared=True, rw=True) == f"_c_{UUID}-__READ__"


marks = st.sampled_from(["__lock__", "__rlock__"])


@given(
    own=st.one_of(st.integers(0, 2**34), st.sampled_from([2**31 - 1, 2**31, 2**31 + 1, 2**32 - 1, 2**32, 2**32 + 1])),
    ages=st.sets(
        st.one_of(st.integers(1, 40), st.integers(1, 2**32 - LATECOMERS), st.integers(-LATECOMERS + 1, -1)), max_size=20
    ),
    own_mark=marks,
    data=st.data(),
)
def test_the_order_is_that_of_creation_wherever_the_numbers_wrap(
    own: int, ages: set[int], own_mark: str, data: Any
) -> None:
    """Positions are how many children were created before; `before` knows their low 32 bits only."""
    us = GUID + own_mark + numbered(own)
    others = {own - age: f"{own - age & 0xFFFF:032x}{data.draw(marks)}{numbered(own - age)}" for age in ages}
    names = data.draw(st.permutations([us, "delay-" + GUID, *others.values()]))
    expected = [
        name
        for position, name in sorted(others.items())
        if position < own and ("__lock__" in name or own_mark == "__lock__")
    ]
    found = contender(us)
    assert found is not None
    assert before(found, names) == expected


@given(own=st.integers(0, 2**31 - 1), data=st.data(), own_mark=marks)
def test_kazoo_chooses_the_same_one_where_nothing_wraps(own: int, data: Any, own_mark: str) -> None:
    positions = data.draw(st.sets(st.integers(max(0, own - 1000), min(2**31 - 1, own + 1000)), max_size=20)) - {own}
    others = [f"{GUID}{data.draw(marks)}{numbered(position)}" for position in positions]
    us = contender(f"{GUID}{own_mark}{numbered(own)}")
    assert us is not None
    # Lock._get_predecessor of kazoo 2.11; there a Lock does not look at readers, and a WriteLock does.
    pattern = re.compile(r"(?:__lock__|__rlock__)(-?\d{10})$" if own_mark == "__lock__" else r"(?:__lock__)(-?\d{10})$")
    matches = [match for match in map(pattern.search, others) if match and match.group(1) < numbered(own)]
    kazoo = sorted(matches, key=lambda match: match.groups())[-1].string if matches else None
    ours = before(us, others)
    assert (ours[-1] if ours else None) == kazoo
