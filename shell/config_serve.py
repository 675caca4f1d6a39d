"""Settings over HTTP, for programs of any language: ``zabpy config serve``.

    GET /settings                   all, as nested JSON; ?format=env: lines NAME='value' for a shell to read
    GET /settings/db.host           one value, or what is below: JSON; ?format=text: a bare value
    GET /settings?wait=30s          with If-None-Match: answers when that is another one, or after the time with 304
    GET /healthz                    revision, whether it may be stale, and what is wrong

``ETag`` says what the body is, so a commit that changes nothing of what was asked for is no news. One follower serves
all who ask, however many wait. When the servers cannot be reached, what was there last is served, and said to be stale
(``X-Zabpy-Stale``): a program that asks for its settings should start.
"""

import hashlib
import hmac
import json
import os
import shlex
import socket
import ssl
import stat
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import anyio
import click
from hypercorn.asyncio import serve as run_hypercorn
from hypercorn.config import Config as Hypercorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from zabpy.config import Config, as_text, env_form
from zabpy.model import whole

from .command import Duration
from .errors import ShellError, Status, UsageError

#: Nobody waits longer; then it is answered 304, and asks again.
WAIT_MS_MAX: Final = 300_000
#: So many may wait at once; who is one more is told to come again.
WAITING_MAX: Final = 10_000
#: What is under way may take so long when the server ends.
ENDING_S: Final = 3
TOKEN_CHARS_MIN: Final = 16

#: What is answered: status, type, body.
Answer = tuple[int, str, bytes]
JSON, TEXT = "application/json", "text/plain; charset=utf-8"


class Settings:
    """What `Config` holds, as bodies; each is made once for a revision. And who waits for another one."""

    def __init__(self, cfg: Config[Any]) -> None:
        self._cfg, self._changes = cfg, cfg.changes()
        self._merged = cfg.merged
        self._bodies: dict[tuple[str, str], Answer] = {}
        self._changed = anyio.Event()
        self.waiting = 0
        self.over = False

    async def keep_up(self) -> None:
        async for _ in self._changes:
            self._tell()

    def end(self) -> None:
        """Whoever waits is answered now."""
        self.over = True
        self._tell()

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    @property
    def headers(self) -> dict[str, str]:
        return {"X-Zabpy-Revision": str(self._cfg.revision), "X-Zabpy-Stale": "true" if self._cfg.stale else "false"}

    @property
    def health(self) -> dict[str, Any]:
        error = self._cfg.last_error
        return {
            "revision": self._cfg.revision,
            "stale": self._cfg.stale,
            "error": None if error is None else str(error),
            "waiting": self.waiting,
        }

    def answer(self, key: str, form: str) -> Answer:
        if self._merged is not self._cfg.merged:
            self._merged, self._bodies = self._cfg.merged, {}
        known = self._bodies.get((key, form))
        if known is None:
            known = self._made(key, form)
            if known[0] == 200:  # there are so many keys as there are; what is not there has no end of names
                self._bodies[key, form] = known
        return known

    def _made(self, key: str, form: str) -> Answer:
        merged = self._merged
        found: Any = merged.tree()
        for name in key.split(".") if key else ():
            if not isinstance(found, dict) or name not in found:
                return problem(404, f"{key}: there is no such setting")
            found = found[name]
        if form == "env":
            path = tuple(key.split(".")) if key else ()
            leaves = {at: each.value for at, each in merged.leaves.items() if at[: len(path)] == path}
            lines = (f"{name}={shlex.quote(value)}\n" for name, value in env_form(leaves).items())
            return 200, TEXT, "".join(lines).encode("utf-8", "surrogateescape")
        if form == "text":
            if isinstance(found, dict):
                return problem(406, f"{key or 'all of it'}: is no single value, which text would be")
            return 200, TEXT, as_text(found).encode("utf-8", "surrogateescape")
        return 200, JSON, json.dumps(found, ensure_ascii=False).encode("utf-8", "surrogateescape")

    async def other_than(self, tag: str, key: str, form: str, wait_ms: int, request: Request) -> Answer:
        """The answer as soon as its tag is another one, or after that time; or when who asks has gone."""
        answer = self.answer(key, form)
        if not wait_ms or tag_of(answer) != tag:
            return answer
        if self.waiting >= WAITING_MAX:
            return problem(503, f"{WAITING_MAX:,} wait already")
        self.waiting += 1
        try:
            with anyio.move_on_after(wait_ms / 1000) as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(_until_gone, request, scope)
                    while tag_of(answer) == tag and not self.over:
                        await self._changed.wait()
                        answer = self.answer(key, form)
                    tasks.cancel_scope.cancel()
        finally:
            self.waiting -= 1
        return answer


async def _until_gone(request: Request, scope: anyio.CancelScope) -> None:
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            scope.cancel()
            return


def tag_of(answer: Answer) -> str:
    """A strong ETag: of the body, not of the revision."""
    return f'"{hashlib.blake2b(answer[2], digest_size=12).hexdigest()}"'


def problem(status: int, text: str) -> Answer:
    return status, JSON, json.dumps({"error": text}, ensure_ascii=False).encode("utf-8", "backslashreplace")


def application(settings: Settings, token: str | None) -> Starlette:
    """The ASGI application; ``token``: who does not show it is told nothing but that."""

    async def told(request: Request) -> Response:
        try:
            form, wait_ms = _asked(request)
        except ValueError as error:
            return _response(problem(400, str(error)))
        tag = request.headers.get("if-none-match", "").removeprefix("W/")
        answer = await settings.other_than(tag, request.path_params.get("key", ""), form, wait_ms, request)
        if answer[0] != 200:
            return _response(answer, settings.headers)
        headers = {**settings.headers, "ETag": tag_of(answer), "Cache-Control": "no-cache"}
        if tag in ("*", headers["ETag"]):
            return Response(status_code=304, headers=headers)
        return _response(answer, headers)

    async def health(request: Request) -> Response:
        return JSONResponse(settings.health)

    def allowed(endpoint: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        async def checked(request: Request) -> Response:
            if token is not None and not _shows(request, token):
                return _response(
                    problem(401, "expected the header Authorization: Bearer, with the token"),
                    {"WWW-Authenticate": "Bearer"},
                )
            return await endpoint(request)

        return checked

    async def unknown(request: Request, error: Exception) -> Response:
        return _response(problem(404, "there are /settings, /settings/KEY and /healthz"))

    async def unfit(request: Request, error: Exception) -> Response:
        return _response(problem(405, f"{request.method}: settings are read here, and changed by commits"))

    return Starlette(
        routes=[
            Route("/settings", allowed(told)),
            Route("/settings/{key}", allowed(told)),
            Route("/healthz", health),
        ],
        exception_handlers={404: unknown, 405: unfit},
    )


def _asked(request: Request) -> tuple[str, int]:
    """Form, and ms to wait. Raises ValueError."""
    unknown = sorted(set(request.query_params) - {"format", "wait"})
    if unknown:
        raise ValueError(f"{unknown[0]}: expected format= or wait=")
    form = request.query_params.get("format", "json")
    if form not in ("json", "text", "env"):
        raise ValueError(f"format={form}: expected json, text or env")
    given = request.query_params.get("wait", "0")
    try:
        wait_ms: int = Duration().convert(given, None, None)
    except click.BadParameter:
        raise ValueError(f"wait={given}: expected a time such as 30s, {WAIT_MS_MAX // 1000}s at most") from None
    if wait_ms and "if-none-match" not in request.headers:
        raise ValueError("wait= needs If-None-Match, with the ETag of the last answer")
    return form, min(wait_ms, WAIT_MS_MAX)


def _shows(request: Request, token: str) -> bool:
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())


def _response(answer: Answer, headers: dict[str, str] | None = None) -> Response:
    status, kind, body = answer
    return Response(body, status, headers, kind)


def read_token(path: Path) -> str:
    """The first line of a file that others cannot read. Blocks. Raises `ShellError`."""
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            found = os.fstat(file.fileno())
            data = file.read(4096) if stat.S_ISREG(found.st_mode) else b""
    except OSError as error:
        raise ShellError(f"{path}: {error.strerror}") from None
    if not stat.S_ISREG(found.st_mode):
        raise ShellError(f"{path}: no regular file: expected one with the token")
    if found.st_mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise ShellError(f"{path}: others can read it; chmod 600 makes it right")
    token = data.split(b"\n")[0].strip().decode("ascii", "replace")
    if len(token) < TOKEN_CHARS_MIN or not token.isascii() or not token.isprintable():
        raise ShellError(f"{path}: expected a token of {TOKEN_CHARS_MIN} characters of ASCII or more in its first line")
    return token


def listening(where: str) -> socket.socket:
    """A socket at HOST:PORT, [IPV6]:PORT or PORT. Raises `ShellError`."""
    host, _, number = where.rpartition(":")
    host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
    try:
        port = whole(0, 65_535)(number)
    except ValueError:
        raise UsageError(f"--listen {where}: expected HOST:PORT, or a port of this machine") from None
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise ShellError(f"--listen {where}: {error.strerror}", Status.FAILED) from None


def is_loopback(listener: socket.socket) -> bool:
    host = str(listener.getsockname()[0])
    return host == "::1" or host.startswith("127.")


def check_certificate(certificate: Path, key: Path | None) -> None:
    """Blocks. Raises `ShellError` for what TLS could not begin with."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=_no_password)
    except (OSError, ValueError) as error:  # ssl's own is one
        raise ShellError(f"{certificate}: no certificate and key to be used: {error}") from None


def _no_password() -> str:
    raise ValueError("the key is encrypted")


@asynccontextmanager
async def served(
    cfg: Config[Any], listener: socket.socket, *, token: str | None, certificate: Path | None, key: Path | None
) -> AsyncIterator[Settings]:
    """Behind the block whoever waited was answered, and connections are closed."""
    settings = Settings(cfg)
    server = Hypercorn()
    server.bind = [f"fd://{listener.fileno()}"]
    server.loglevel = "WARNING"
    server.graceful_timeout = ENDING_S
    server.include_server_header = False
    if certificate is not None:
        server.certfile, server.keyfile = str(certificate), str(key or certificate)
    ending = anyio.Event()

    async def serving() -> None:
        with anyio.CancelScope(shield=True):  # it ends by itself, once it was told
            await run_hypercorn(application(settings, token), server, shutdown_trigger=ending.wait)  # type: ignore[arg-type]

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(serving)
        tasks.start_soon(settings.keep_up)
        try:
            yield settings
        finally:
            settings.end()
            ending.set()
            tasks.cancel_scope.cancel()
