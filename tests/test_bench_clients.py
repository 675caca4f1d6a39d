"""`zabpy bench --clients`: that it runs, and what it says where kazoo is missing. Its figures are for people."""

import sys

import pytest

from zabpy.bench import clients
from zabpy.bench.runner import main


def test_every_way_of_asking_is_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("kazoo")
    assert main(["--clients", "--seconds", "0.02", "--rounds", "1"]) == 0
    table = capsys.readouterr().out
    for kind in (clients.PIPELINED, clients.SINGLE, clients.SET, clients.CREATE, clients.LOCK):
        assert kind.name in table
    for who, times in (("trio", 5), ("asyncio", 5), ("blocking", 5), ("kazoo get_async", 1), ("kazoo 100 threads", 1)):
        assert table.count(f" {who} ") == times


def test_without_kazoo_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "kazoo.client", None)
    assert main(["--clients"]) == 1
    assert "kazoo, which is not installed" in capsys.readouterr().err


def test_a_ratio_that_is_missed_is_called_so() -> None:
    slow = {
        (clients.PIPELINED, "kazoo"): clients.Figures(100.0, 1.0),
        (clients.PIPELINED, "trio"): clients.Figures(499.0, 1.0),
    }
    assert "4.99x  MISSED" in clients._table(slow)
    fast = {
        (clients.SINGLE, "kazoo"): clients.Figures(100.0, 1.0),
        (clients.SINGLE, "trio"): clients.Figures(150.0, 1.0),
    }
    assert "1.50x  ok" in clients._table(fast)
