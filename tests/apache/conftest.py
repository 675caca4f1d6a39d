"""One pair of servers for all tests of this folder, and more where a setting matters."""

from collections.abc import Iterator

import pytest

from zabpy.bench.systems import APACHE_JARS, apache_is_here

from .pair import Pair


def _pair(settings: str) -> Iterator[Pair]:
    if not apache_is_here():
        pytest.skip(f"no java, or no Apache ZooKeeper in {APACHE_JARS} (Debian: libzookeeper-java)")
    pair = Pair(settings)
    try:
        yield pair
    finally:
        pair.stop()


@pytest.fixture(scope="session")
def pair() -> Iterator[Pair]:
    """With TTL znodes."""
    yield from _pair("extendedTypesEnabled=true\n")


@pytest.fixture(scope="module")
def pair_with_quotas() -> Iterator[Pair]:
    yield from _pair("enforceQuota=true\n")


@pytest.fixture(scope="module")
def pair_without_ttl() -> Iterator[Pair]:
    yield from _pair("")
