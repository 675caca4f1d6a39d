"""Debian's nginx on a file that is rendered: it serves what was committed, and what would break it never reaches it."""

import http.client
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from zabpy.config.layers import Layer, merge
from zabpy.config.render import CheckFailedError, Given, Plan, Renderer, Template

NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
TEMPLATE = """\
pid FOLDER/pid;
error_log FOLDER/error.log;
daemon off;
worker_processes 1;
events { worker_connections 64; }
http {
    access_log off;
    client_body_temp_path FOLDER/body; proxy_temp_path FOLDER/proxy; fastcgi_temp_path FOLDER/fastcgi;
    uwsgi_temp_path FOLDER/uwsgi; scgi_temp_path FOLDER/scgi;
    server {
        listen 127.0.0.1:PORT;
        location / { return 200 "{{ greeting }}"; }
    }
}
"""


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: nginx-light)")
async def test_nginx_serves_what_was_committed_and_stays_with_it_when_a_broken_value_is(tmp_path: Path) -> None:
    assert NGINX is not None
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    text = TEMPLATE.replace("FOLDER", str(tmp_path)).replace("PORT", str(port))
    (tmp_path / "nginx.conf.j2").write_text(text)
    told = []

    async def tell(text: str) -> None:
        told.append(text)

    file = tmp_path / "nginx.conf"
    template = Template(
        tmp_path / "nginx.conf.j2", file, check=f"{NGINX} -t -q -c {{file}}", reload=f"{NGINX} -c {file} -s reload"
    )
    renderer = Renderer(Plan((template,)), tell)

    def given(revision: int, greeting: str) -> Given:
        return Given("/config/app", revision, merge([Layer("default", {"greeting": greeting.encode()})]))

    # Not yet running, so nobody can be told to reload.
    [first] = await renderer.once(given(1, "one"))
    assert first.changed and "the reload has failed" in str(first.problem)
    process = _started(NGINX, file)
    try:
        await _until(lambda: _said(port) == "one")
        await renderer.once(given(2, "two"))
        await _until(lambda: _said(port) == "two")
        before = file.read_bytes()

        [broken] = await renderer.once(given(3, 'two"; nonsense "'))

        assert isinstance(broken.problem, CheckFailedError) and not broken.changed
        assert "nonsense" in str(broken.problem) or "unexpected" in str(broken.problem)
        assert file.read_bytes() == before
        await _until(lambda: _said(port) == "two")  # a worker on its way out may still say "one" for a moment
        [mended] = await renderer.once(given(4, "four"))
        assert mended.changed and mended.problem is None
        await _until(lambda: _said(port) == "four")
    finally:
        process.send_signal(signal.SIGQUIT)
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _started(nginx: str, file: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([nginx, "-c", str(file)], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _said(port: int) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", "/")
        return connection.getresponse().read().decode()
    except OSError:
        return ""
    finally:
        connection.close()


async def _until(condition: Callable[[], bool]) -> None:
    for _ in range(500):
        if await anyio.to_thread.run_sync(condition):
            return
        await anyio.sleep(0.02)
    pytest.fail("not within 10 s")
