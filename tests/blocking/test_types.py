"""What type checkers see of it: this file is checked by mypy with the others, and runs for what it says to be true."""

from typing import assert_type

import zabpy
import zabpy.blocking
from zabpy.blocking import Client


def test_types_are_those_of_the_async_client(zk: Client) -> None:
    assert_type(zk.create("/a").path, str)
    data, stat = zk.get("/a")
    assert_type(data, bytes)
    assert_type(stat, zabpy.Stat)
    assert_type(zk.with_timeout(10_000), Client)
    with zk.lock("/l", on_lost="flag") as held:
        assert_type(held, zabpy.blocking.HeldLock)
        assert_type(held.token, int)
        assert_type(held.run(divmod, 7, 2), tuple[int, int])
    with zk.watch("/a") as events:
        assert_type(next(events), zabpy.Event)
        assert_type(iter(events), zabpy.blocking.EventStream)
    with zk.election("/e") as election:
        for term in election.terms():
            with term as entered:
                assert_type(entered, zabpy.blocking.Term)
            election.withdraw()
    with zk.election("/e") as election:
        assert_type(election.run(lambda term: term.token), int)
