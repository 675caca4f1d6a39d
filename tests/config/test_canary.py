"""Who of the readers is one of the first."""

import pytest

from zabpy.config.canary import Canary, decoded


def canary(**found: object) -> Canary:
    made = decoded({"revision": 7, "changes": [], **found})
    assert made is not None
    return made


def test_by_host_and_by_label() -> None:
    made = canary(hosts=["web1", "eu-*"], labels={"zone": "a", "tier": "web"})
    assert [made.takes(host, {}) for host in ("web1", "eu-7", "web2", "us-1")] == [True, True, False, False]
    assert made.takes("x", {"zone": "a", "tier": "web", "more": "1"}) and not made.takes("x", {"zone": "a"})
    assert not canary().takes("x", {})


def test_by_percentage() -> None:
    hosts = [f"web{number}" for number in range(2_000)]

    def taken(percent: float, salt: str = "7") -> set[str]:
        made = canary(percent=percent, salt=salt)
        return {host for host in hosts if made.takes(host, {})}

    assert taken(0) == set() and taken(100) == set(hosts)
    assert 150 < len(taken(10)) < 250 and taken(10) < taken(20) and taken(0.5) < taken(10)
    assert taken(10) != taken(10, salt="8")


def test_its_changes() -> None:
    made = canary(changes=[["default", "a", "2"], ["prod", "b", None], ["prod", "c", "3"]])
    before = {("default", "a"): b"1", ("prod", "b"): b"1", ("default", "d"): b"1"}
    assert made.applied(before) == {("default", "a"): b"2", ("prod", "c"): b"3", ("default", "d"): b"1"}
    assert before["default", "a"] == b"1"


@pytest.mark.parametrize(
    "found",
    [
        [],
        "x",
        {},
        {"revision": "7", "changes": []},
        {"revision": 7, "changes": [["a", "b"]]},
        {"revision": 7, "changes": [["a", "b", 1]]},
        {"revision": 7, "changes": [], "percent": 101},
        {"revision": 7, "changes": [], "percent": "10"},
        {"revision": 7, "changes": [], "percent": True},
        {"revision": 7, "changes": [], "hosts": [1]},
        {"revision": 7, "changes": [], "hosts": 1},
        {"revision": 7, "changes": [], "labels": ["a"]},
    ],
)
def test_what_cannot_be(found: object) -> None:
    with pytest.raises(ValueError):
        decoded(found)
    assert decoded(None) is None
