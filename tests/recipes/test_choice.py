import json
from collections import Counter
from random import Random

import pytest

import zabpy
from zabpy.recipes.choice import STRATEGIES, DownPolicy, Health
from zabpy.recipes.instance import ServiceInstance


def some(*ids: str) -> list[ServiceInstance]:
    return [ServiceInstance("api", id) for id in ids]


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_chooses_of_what_is_there(name: str) -> None:
    strategy = STRATEGIES[name](Random(1))
    for ids in ("abc", "b", "bcd", "d", "ae"):
        assert strategy(some(*ids), {}).id in ids


def test_round_robin_goes_on_where_it_was_when_others_come_and_go() -> None:
    strategy = STRATEGIES["round_robin"](Random(1))
    first = strategy(some("a", "b", "c"), {}).id
    turns = "".join(strategy(some("a", "b", "c"), {}).id for _ in range(6))
    assert turns in ("abcabc", "bcabca", "cabcab") and turns[2] == first
    strategy(some("b"), {})
    assert [strategy(some("a", "b", "b2", "c"), {}).id for _ in range(4)] == ["b2", "c", "a", "b"]


def test_round_robin_begins_with_another_one_in_each_client() -> None:
    assert len({STRATEGIES["round_robin"](Random(seed))(some("a", "b", "c"), {}).id for seed in range(20)}) == 3


def test_random_takes_all() -> None:
    strategy = STRATEGIES["random"](Random(1))
    assert set(Counter(strategy(some("a", "b", "c"), {}).id for _ in range(100))) == set("abc")


def test_sticky_stays_until_its_one_is_gone_and_then_stays_with_another() -> None:
    strategy = STRATEGIES["sticky"](Random(1))
    first = strategy(some("a", "b", "c"), {}).id
    assert {strategy(some("a", "b", "c"), {}).id for _ in range(20)} == {first}
    rest = [each for each in some("a", "b", "c") if each.id != first]
    second = strategy(rest, {}).id
    assert {strategy(some("a", "b", "c"), {}).id for _ in range(20)} == {second}


def test_least_used_takes_one_that_is_least_in_use_each_in_its_turn() -> None:
    strategy = STRATEGIES["least_used"](Random(1))
    assert {strategy(some("a", "b", "c"), {"a": 2, "b": 1, "c": 1}).id for _ in range(4)} == {"b", "c"}
    assert strategy(some("a", "b", "c"), {"a": 2, "c": 1}).id == "b"


def test_an_instance_is_down_after_so_many_failures_and_twice_as_long_after_a_relapse() -> None:
    health = Health(DownPolicy(failures=2, within_ms=1000, down_ms=100, down_ms_max=350))
    health.failed(0)
    health.failed(2000)  # too long after the first
    assert not health.is_down(2000)
    health.failed(2100)
    assert health.is_down(2199) and not health.is_down(2200)
    health.failed(2150)  # somebody else's call that was under way
    assert not health.is_down(2200)
    health.failed(2300)  # one failure is enough now
    assert health.is_down(2499) and not health.is_down(2500)
    health.failed(2600)
    assert health.is_down(2949) and not health.is_down(2950), "350 ms and not 400"
    health.worked()
    health.failed(3000)
    assert not health.is_down(3000)
    health.failed(3001)
    assert health.is_down(3100) and not health.is_down(3101)


def test_a_policy_that_cannot_be_is_refused() -> None:
    with pytest.raises(zabpy.BadArgumentsError, match="failures=0"):
        DownPolicy(failures=0)
    with pytest.raises(zabpy.BadArgumentsError, match="down_ms=9"):
        DownPolicy(down_ms=9, down_ms_max=8)


def test_an_instance_is_written_as_curator_writes_it() -> None:
    instance = ServiceInstance("api", "1", "10.0.0.7", 80, payload={"zone": "b"}, registered_ms=5)
    assert json.loads(instance.to_json()) == {
        "name": "api",
        "id": "1",
        "address": "10.0.0.7",
        "port": 80,
        "sslPort": None,
        "payload": {"zone": "b"},
        "registrationTimeUTC": 5,
        "serviceType": "DYNAMIC",
        "uriSpec": None,
        "enabled": True,
    }
    assert ServiceInstance.from_json(instance.to_json()) == instance


def test_what_curator_wrote_is_read() -> None:
    """By ServiceInstance of Curator 2 (without enabled) and 5, with a payload and a uriSpec of Java's."""
    old = (
        b'{"name":"test","id":"ca2fff8e","address":"10.20.30.40","port":1234,"sslPort":null,"payload":"From Test",'
        b'"registrationTimeUTC":1325129459728,"serviceType":"STATIC","uriSpec":null}'
    )
    assert ServiceInstance.from_json(old) == ServiceInstance(
        "test", "ca2fff8e", "10.20.30.40", 1234, None, "From Test", 1325129459728, "STATIC"
    )
    new = (
        b'{"name":"n","id":"i","address":null,"port":null,"sslPort":443,"payload":{"@class":"a.B","v":1},'
        b'"registrationTimeUTC":7,"serviceType":"DYNAMIC","uriSpec":{"parts":[{"value":"scheme","variable":true}]},'
        b'"enabled":false}'
    )
    read = ServiceInstance.from_json(new)
    assert (read.ssl_port, read.enabled, read.payload["@class"]) == (443, False, "a.B")
    assert json.loads(read.to_json()) == json.loads(new)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff", "no JSON"),
        (b"{", "no JSON"),
        (b"[]", "no service instance"),
        (b'{"id": "1"}', "no name"),
        (b'{"name": "api", "id": "1", "port": "80"}', "port"),
        (b'{"name": "api", "id": "1", "port": true}', "port"),
        (b'{"name": "api", "id": "1", "port": 65536}', "65536"),
        (b'{"name": "api", "id": "a/b"}', "path"),
        (b'{"name": "api", "id": "1", "serviceType": "ODD"}', "ODD"),
    ],
)
def test_what_is_no_instance_is_refused_with_the_reason(data: bytes, why: str) -> None:
    with pytest.raises(zabpy.BadArgumentsError, match=why):
        ServiceInstance.from_json(data)


def test_an_instance_with_a_payload_can_be_put_into_a_set() -> None:
    assert len({ServiceInstance("api", "1", payload={}), ServiceInstance("api", "1", payload={})}) == 1
