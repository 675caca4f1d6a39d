"""examples/config_*.py change what they do on a commit, without a restart, and on no bad one."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.config.test_blocking import committed_to, eventually

EXAMPLES = Path(__file__).parent.parent.parent / "examples"
Start = Callable[..., "Service"]


class Service:
    """A process of an example, and where it answers."""

    def __init__(self, directory: Path, name: str, *args: str) -> None:
        self._printed = directory / f"{name}.out"
        command = [sys.executable, str(EXAMPLES / f"{name}.py"), *args]
        environment = {**os.environ, "PYTHONPATH": str(EXAMPLES.parent)}
        with self._printed.open("wb") as out:
            self.process = subprocess.Popen(command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env=environment)
        self.address = ""

    def wait(self) -> "Service":
        deadline = time.monotonic() + 30
        while not (found := re.search(r"running on (http://127\.0\.0\.1:\d+)", self.printed)):
            assert time.monotonic() < deadline and self.process.poll() is None, self.printed
            time.sleep(0.02)
        self.address = found[1]
        return self

    @property
    def printed(self) -> str:
        return self._printed.read_text("utf-8")

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.address + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    @property
    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.get("/health")[1])
        return found

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        assert self.process.wait(20) in (0, 130, -signal.SIGINT), self.printed


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Service] = []

    def run(name: str, *args: str) -> Service:
        started.append(Service(tmp_path, name, *args))
        return started[-1]

    yield run
    for service in started:
        service.process.kill()
        service.process.wait()


def test_fastapi_under_uvicorn(hosts: str, start: Start, tmp_path: Path) -> None:
    committed_to(hosts, "/config/greeter", {"greeting": "hello"})
    service = start("config_fastapi", hosts, "0", str(tmp_path / "cache")).wait()
    assert service.get("/greet/Ada") == (200, '"hello, Ada"')
    committed_to(hosts, "/config/greeter", {"greeting": "good day", "name_chars_max": "4"})
    eventually(lambda: service.health["revision"] == 2)
    assert service.get("/greet/Ada") == (200, '"good day, Ada"') and service.get("/greet/Augusta")[0] == 422
    committed_to(hosts, "/config/greeter", {"greeting": "never seen", "name_chars_max": "0"})
    eventually(lambda: service.health["error"])
    assert "name_chars_max (layer default) = '0': Input should be greater than or equal to 1" in service.health["error"]
    assert service.get("/greet/Ada") == (200, '"good day, Ada"') and service.health["revision"] == 2
    committed_to(hosts, "/config/greeter", {"name_chars_max": "9"})
    eventually(lambda: service.health == {"revision": 4, "stale": False, "error": None})
    assert service.get("/greet/Ada") == (200, '"never seen, Ada"')
    service.end()


def test_django(hosts: str, start: Start, tmp_path: Path) -> None:
    document = {"secret_key": "x" * 50, "allowed_hosts": ["127.0.0.1", "site"]}
    committed_to(hosts, "/config/site", {"django.json": json.dumps(document), "site.banner": "!"})
    service = start("config_django", hosts, "0", str(tmp_path / "cache")).wait()
    assert service.get("/") == (200, "welcome!")
    committed_to(hosts, "/config/site", {"site.banner": ", all", "site.open": "yes"})
    eventually(lambda: service.get("/") == (200, "welcome, all"))
    committed_to(hosts, "/config/site", {"site.open": "no"})
    eventually(lambda: service.get("/") == (503, "closed"))
    committed_to(hosts, "/config/site", {"site.open": "perhaps"})
    eventually(lambda: service.health["error"])
    assert service.get("/") == (503, "closed") and service.health["revision"] == 3
    service.end()
