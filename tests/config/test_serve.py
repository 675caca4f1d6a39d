"""``zabpy config serve``: what programs that know only HTTP are told, and when."""

import http.client
import json
import re
import signal
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
import trustme

from zabpy.config import key_line

from .test_tool import program, until
from .tool import Zabpy


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: str


class Served(NamedTuple):
    process: "subprocess.Popen[str]"
    port: int

    def get(
        self, path: str, tag: str = "", *, method: str = "GET", tls: ssl.SSLContext | None = None, **headers: str
    ) -> Answer:
        if tls is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        else:
            connection = http.client.HTTPSConnection("localhost", self.port, timeout=30, context=tls)
        try:
            connection.request(method, path, headers={**headers, **({"If-None-Match": tag} if tag else {})})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read().decode())
        finally:
            connection.close()

    def tag(self, path: str) -> str:
        return self.get(path).headers["etag"]


@contextmanager
def serve(hosts: str, *words: str, before: tuple[str, ...] = (), listen: str = "127.0.0.1:0") -> Iterator[Served]:
    process = program(hosts, *before, "serve", "--listen", listen, *words)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        match = re.search(r"revision \d+ of /config/app at https?://.*:(\d+)/settings", line)
        assert match, line + process.stderr.read()
        yield Served(process, int(match[1]))
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 128 + signal.SIGTERM
        assert process.stderr.read() == ""
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def settings(config: Zabpy) -> None:
    config("init")
    config("set", "db.host=db1", "db.port=5432", 'web.json={"tags": ["a", "b"], "on": true}')
    config("set", "db.host=db7", "--in", "env.prod")


@pytest.mark.usefixtures("settings")
def test_settings_are_told_whole_and_in_parts(hosts: str) -> None:
    with serve(hosts, before=("--layer", "env.prod")) as served:
        whole = served.get("/settings")
        assert json.loads(whole.body) == {
            "db": {"host": "db7", "port": "5432"},
            "web": {"tags": ["a", "b"], "on": True},
        }
        assert whole.headers["x-zabpy-revision"] == "2" and whole.headers["x-zabpy-stale"] == "false"
        assert whole.headers["content-type"] == "application/json"
        assert json.loads(served.get("/settings/db").body) == {"host": "db7", "port": "5432"}
        assert served.get("/settings/web.tags").body == '["a", "b"]'
        assert served.get("/settings/db.host?format=text").body == "db7"
        assert served.get("/settings?format=env").body.splitlines() == [
            "DB__HOST=db7",
            "DB__PORT=5432",
            "WEB__ON=true",
            'WEB__TAGS=\'["a", "b"]\'',
        ]
        assert served.get("/settings/db?format=env").body == "DB__HOST=db7\nDB__PORT=5432\n"
        head = served.get("/settings", method="HEAD")
        assert (head.status, head.body, head.headers["etag"]) == (200, "", whole.headers["etag"])
        assert json.loads(served.get("/healthz").body) == {"revision": 2, "stale": False, "error": None, "waiting": 0}

        unchanged = served.get("/settings", whole.headers["etag"])
        assert (unchanged.status, unchanged.body, unchanged.headers["etag"]) == (304, "", whole.headers["etag"])
        assert served.tag("/settings/db") != whole.headers["etag"] == served.tag("/settings")


@pytest.mark.usefixtures("settings")
def test_what_cannot_be_asked_is_said(hosts: str) -> None:
    with serve(hosts) as served:
        for path, status, why in (
            ("/settings/db.nothing", 404, "db.nothing: there is no such setting"),
            ("/settings/db.host.more", 404, "there is no such setting"),
            ("/settings/..%2F..%2Fetc", 404, ""),
            ("/settings/%ff", 404, ""),
            ("/", 404, "there are /settings"),
            ("/settings/db?format=text", 406, "no single value"),
            ("/settings?format=xml", 400, "expected json, text or env"),
            ("/settings?wait=x", 400, "expected a time"),
            ("/settings?wait=1s", 400, "needs If-None-Match"),
            ("/settings?weight=1s", 400, "weight: expected format= or wait="),
        ):
            told = served.get(path)
            assert told.status == status and why in json.loads(told.body)["error"], told
        for method in ("POST", "PUT", "DELETE"):
            assert served.get("/settings", method=method).status == 405
        with socket.create_connection(("127.0.0.1", served.port)) as stranger:
            stranger.sendall(b"GET /settings HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100_000)
            assert b" 4" in stranger.recv(100)[:16]
        with socket.create_connection(("127.0.0.1", served.port)) as stranger:
            stranger.sendall(b"\x16\x03\x01\x02\x00rubbish\r\n\r\n")
            stranger.recv(100)
        assert served.get("/settings").status == 200


@pytest.mark.usefixtures("settings")
def test_who_waits_is_answered_with_news_of_what_was_asked_and_no_sooner(hosts: str, config: Zabpy) -> None:
    with serve(hosts) as served:
        tag = served.tag("/settings/db.host")
        assert served.get("/settings/db.host?wait=200ms", tag).status == 304
        answers: list[Answer] = []

        def ask() -> None:
            answers.append(served.get("/settings/db.host?wait=60s", tag))

        threads = [threading.Thread(target=ask) for _ in range(30)]
        for each in threads:
            each.start()
        until(lambda: json.loads(served.get("/healthz").body)["waiting"] == 30)
        config("set", "other=1")
        until(lambda: json.loads(served.get("/healthz").body)["revision"] == 3)
        assert json.loads(served.get("/healthz").body)["waiting"] == 30 and not answers
        config("set", "db.host=db2")
        for each in threads:
            each.join(30)
        assert {(answer.status, answer.body) for answer in answers} == {(200, '"db2"')}
        assert {answer.headers["x-zabpy-revision"] for answer in answers} == {"4"}
        # A key that goes is news, too, and one that comes.
        tag = answers[0].headers["etag"]
        waiter = threading.Thread(target=lambda: answers.append(served.get("/settings/db.host?wait=60s", tag)))
        waiter.start()
        until(lambda: json.loads(served.get("/healthz").body)["waiting"] == 1)
        config("unset", "db.host")
        waiter.join(30)
        assert answers[-1].status == 404


@pytest.mark.usefixtures("settings")
def test_who_waits_and_goes_is_not_waited_for_and_who_waits_at_the_end_is_answered(hosts: str) -> None:
    with serve(hosts) as served:
        tag = served.tag("/settings")
        request = f"GET /settings?wait=60s HTTP/1.1\r\nHost: x\r\nIf-None-Match: {tag}\r\n\r\n".encode()
        gone = socket.create_connection(("127.0.0.1", served.port))
        gone.sendall(request)
        until(lambda: json.loads(served.get("/healthz").body)["waiting"] == 1)
        gone.close()
        until(lambda: json.loads(served.get("/healthz").body)["waiting"] == 0)
        answers: list[Answer] = []
        waiter = threading.Thread(target=lambda: answers.append(served.get("/settings?wait=60s", tag)))
        waiter.start()
        until(lambda: json.loads(served.get("/healthz").body)["waiting"] == 1)
        served.process.send_signal(signal.SIGTERM)
        waiter.join(10)
        assert [answer.status for answer in answers] == [304]


@pytest.mark.usefixtures("settings")
def test_others_than_this_machine_need_a_token(hosts: str, config: Zabpy, tmp_path: Path) -> None:
    token = tmp_path / "token"

    def refused(*words: str) -> str:
        told = config("serve", *words)
        assert told.status in (2, 8) and not told.out
        return told.err

    assert "others may ask there: expected --token-file, or --open" in refused("--listen", "0.0.0.0:0")
    assert "No such file" in refused("--token-file", str(token))
    token.write_text("short\n")
    token.chmod(0o600)
    assert "16 characters" in refused("--token-file", str(token))
    token.write_text("0123456789abcdef\n")
    token.chmod(0o644)
    assert "chmod 600" in refused("--token-file", str(token))
    token.chmod(0o600)
    assert "expected HOST:PORT" in refused("--listen", "nowhere")
    assert "--key needs --cert" in refused("--key", str(token))
    assert "no certificate and key" in refused("--cert", str(token))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert "already in use" in refused("--listen", f"127.0.0.1:{taken.getsockname()[1]}")
    with serve(hosts, "--token-file", str(token), listen="0.0.0.0:0") as served:
        for given in ("", "Bearer x", "Basic 0123456789abcdef", "Bearer 0123456789abcdefg"):
            told = served.get("/settings", Authorization=given)
            assert told.status == 401 and "db1" not in told.body and told.headers["www-authenticate"] == "Bearer"
        assert served.get("/settings", Authorization="Bearer 0123456789abcdef").status == 200
        assert served.get("/healthz").status == 200


@pytest.mark.usefixtures("settings")
def test_over_tls(hosts: str, tmp_path: Path) -> None:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with serve(hosts, "--cert", str(tmp_path / "both.pem")) as served:
        assert served.get("/settings/db.host", tls=trusting).body == '"db1"'


def test_secrets_stay_encrypted_unless_told_otherwise(hosts: str, config: Zabpy, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(key_line("k1"))
    (tmp_path / "keys").chmod(0o600)
    keys = f"file:{tmp_path / 'keys'}"
    config("init")
    # By the program, since it is one that is to read it: secrets are bound to their place by the servers' own names.
    assert program(hosts, "--keys", keys, "set", "db.url=hunter2", "--secret").wait(30) == 0
    for words in ((), ("--keys", keys)):
        with serve(hosts, before=words) as served:
            assert served.get("/settings/db.url").body.startswith('"!enc 1:k1:')
    with serve(hosts, "--reveal", before=("--keys", keys)) as served:
        assert served.get("/settings/db.url").body == '"hunter2"'


@pytest.mark.usefixtures("settings")
def test_without_the_servers_what_was_there_last_is_told_and_said_to_be_stale(hosts: str, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with serve(hosts, "--cache", str(cache)):
        until(cache.exists)
    with serve("127.0.0.1:1", "--cache", str(cache), before=("--timeout", "300ms")) as served:
        told = served.get("/settings/db.host")
        assert (told.body, told.headers["x-zabpy-stale"]) == ('"db1"', "true")
