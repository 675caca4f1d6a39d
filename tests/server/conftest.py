"""What tests of several files here are given."""

import select
from collections.abc import Callable

import pytest
import trio

from zabpy.server import EpollNetwork, Network, StreamNetwork


def epoll() -> Network:
    return EpollNetwork(lambda: int(trio.current_time() * 1000))


NETWORKS: list[Callable[[], Network]] = [StreamNetwork]
if hasattr(select, "epoll"):
    NETWORKS.append(epoll)


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> Network:
    made: Network = request.param()
    return made
