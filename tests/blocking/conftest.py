"""What tests of `zabpy.blocking` are given: a real server, a client that is open, programs of their own."""

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import zabpy.blocking
from tests.client.conftest import hosts as hosts, one_server as one_server

#: Runs a program, given as text, with arguments.
Run = Callable[..., "subprocess.Popen[str]"]


def eventually(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    """The thread of a client ends with it."""
    yield
    assert [thread for thread in threading.enumerate() if thread.name == "zabpy"] == []


@pytest.fixture
def zk(hosts: str) -> Iterator[zabpy.blocking.Client]:
    with zabpy.blocking.connect(hosts) as client:
        yield client


@pytest.fixture
def program() -> Iterator[Run]:
    started: list[subprocess.Popen[str]] = []

    def run(code: str, *args: str) -> "subprocess.Popen[str]":
        command = [sys.executable, "-u", "-X", "dev", "-W", "ignore::ResourceWarning", "-c", code, *args]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield run
    for process in started:
        process.kill()
        process.communicate()
