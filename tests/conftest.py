"""What `ZABPY_TESTED_ON=Apache` leaves of the tests: those with a server of the kind it names (make test-apache)."""

import pytest

from tests.client.conftest import TESTED_ON
from zabpy.bench.systems import apache_is_here

#: The fixtures that start such servers; everything else would test the same as it does on ours.
SERVERS = {"one_server", "accounts", "open_to_all", "closed", "three_servers", "shell_servers"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if TESTED_ON == "zabpy":
        return
    rest = [item for item in items if not SERVERS.intersection(getattr(item, "fixturenames", ()))]
    config.hook.pytest_deselected(items=rest)
    items[:] = [item for item in items if item not in set(rest)]
    if not apache_is_here():
        reason = "no Java or no Apache ZooKeeper: Debian's default-jre-headless and libzookeeper-java"
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))
