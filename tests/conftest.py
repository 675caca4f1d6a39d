"""What `ZABPY_TESTED_ON=Apache` leaves of the tests: those with a server of the kind it names (make test-apache). And
that no run of the tests ends in the middle as if all were well.
"""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

import pytest

from tests.client.conftest import TESTED_ON
from zabpy.bench.systems import apache_is_here

#: The fixtures that start such servers; everything else would test the same as it does on ours.
SERVERS = {"one_server", "accounts", "open_to_all", "closed", "three_servers", "shell_servers"}
#: Of tests/shell, files and single tests: they have a server, but are about terminals, other shells, files, programs.
ABOUT_US = {
    "test_completing.py",
    "test_coordination_terminal.py",
    "test_files.py",
    "test_oneshot.py",
    "test_terminal.py",
    "test_terminal_commands.py",
    "test_a_command_does_not_outlive_its_shell",
    "test_kill_at_once",
    "test_signals_to_the_shell_are_for_the_command",
    "test_what_a_command_leaves_behind_ends_before_the_lock_is_given_back",
}


ENDED_IN_THE_MIDDLE = 70


def pytest_configure(config: pytest.Config) -> None:
    """A program that is called in this very process may end it, with a status of its own: of 0 nobody would hear."""
    ours, really = os.getpid(), os._exit

    def ending(status: int) -> NoReturn:
        if os.getpid() == ours:
            print("\nthe tests were ended in the middle, by os._exit", file=sys.__stderr__, flush=True)
            status = ENDED_IN_THE_MIDDLE
        really(status)

    patch: Callable[[int], NoReturn] = ending
    os._exit = patch  # type: ignore[assignment]
    config.add_cleanup(lambda: setattr(os, "_exit", really))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if TESTED_ON == "zabpy":
        return
    rest = [
        item
        for item in items
        if not SERVERS.intersection(getattr(item, "fixturenames", ()))
        or ABOUT_US.intersection((item.path.name, getattr(item, "originalname", "")))
    ]
    config.hook.pytest_deselected(items=rest)
    items[:] = [item for item in items if item not in set(rest)]
    if not apache_is_here():
        reason = "no Java or no Apache ZooKeeper: Debian's default-jre-headless and libzookeeper-java"
        for item in items:
            item.add_marker(pytest.mark.skip(reason=reason))
