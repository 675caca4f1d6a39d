"""Secrets that the servers of an ensemble share, by which they know each other: the file and the proof.

The proof is HMAC-SHA256 under the secret over everything that both sides have said (`greeting.py` says when it is
asked for and what that is), so it is of no use on another connection, in the other direction, or between two others.

The file has a secret a line. We prove that we know the first, and believe whoever knows any: so a new one is brought
in line by line, while the ensemble runs.
"""

import hmac
import os
import stat
from collections.abc import Awaitable, Callable
from typing import Any

import trio

from zabpy.model import ZabpyError

from .log import Log

#: A secret that can be guessed is none, and whoever has seen one proof may guess at leisure.
SECRET_CHARS_MIN = 32
SECRETS_MAX = 16
FILE_BYTES_MAX = 64 * 1024
#: How often the file is looked at.
LOOK_SECONDS = 5
PROOF_BYTES = 32
#: Nobody but the owner may write the file, and others may not read it. A group may: so it is done with containers.
_MODES_REFUSED = stat.S_IWGRP | stat.S_IRWXO
_HOW_TO_MAKE = "openssl rand -base64 32 makes one"


class PeerSecretError(ZabpyError):
    """One line: the file, and what is wrong with it."""


class Secrets:
    """What proves a server to another."""

    def __init__(self, secrets: tuple[bytes, ...]) -> None:
        assert secrets
        self._secrets = secrets

    def __repr__(self) -> str:
        return f"<{len(self._secrets)} secrets>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secrets) and self._secrets == other._secrets

    def __hash__(self) -> int:
        return hash(self._secrets)

    @property
    def first(self) -> bytes:
        """By which we prove ourselves."""
        return self._secrets[0]

    def shown_by(self, proof: bytes, said: bytes) -> bytes | None:
        """The secret that this is a proof with; None: it is none of ours. Takes as long for each."""
        found = None
        for secret in self._secrets:
            if hmac.compare_digest(proof_of(secret, said), proof):
                found = secret
        return found


def proof_of(secret: bytes, said: bytes) -> bytes:
    """That whoever said this knows the secret."""
    return hmac.digest(secret, said, "sha256")


def parse_secrets(raw: bytes, path: str) -> Secrets:
    """Raises PeerSecretError."""
    secrets: list[bytes] = []
    for number, line in enumerate(raw.splitlines(), start=1):
        secret = line.strip()
        if not secret or secret.startswith(b"#"):
            continue
        if len(secret) < SECRET_CHARS_MIN:
            raise PeerSecretError(
                f"{path}:{number}: a secret of {len(secret)} characters: expected {SECRET_CHARS_MIN} or more; "
                f"{_HOW_TO_MAKE}"
            )
        if secret not in secrets:
            secrets.append(secret)
    if not secrets or len(secrets) > SECRETS_MAX:
        raise PeerSecretError(
            f"{path}: {len(secrets)} secrets: expected 1 to {SECRETS_MAX}, a line each, lines that begin with # left "
            f"out; {_HOW_TO_MAKE}"
        )
    return Secrets(tuple(secrets))


class SecretsFile:
    """The secrets in force: read at the start, and again when the file has changed."""

    def __init__(self, path: str, log: Log) -> None:
        self.now: Secrets
        self._path, self._log = path, log
        self._stamp: object = None

    def open_blocking(self) -> None:
        """Read the file for the first time.

        Raises:
            PeerSecretError: it cannot be read, others can read it, or there is no secret in it.
        """
        self.now = self._read_blocking()

    async def watch(self, aside: Callable[[Callable[[], Any]], Awaitable[Any]]) -> None:
        """Read the file again whenever it has changed. What is wrong then is said, and changes nothing. Links that
        stand are not asked again."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            stamp = await aside(self._stamp_blocking)
            if stamp == self._stamp:
                continue
            try:
                found = await aside(self._read_blocking)
            except PeerSecretError as error:
                self._stamp = stamp  # said once, until it changes again
                self._log("peer_secrets_kept", why=str(error))
                continue
            if found != self.now:
                self.now = found
                self._log("peer_secrets", file=self._path, count=len(found._secrets))

    def _stamp_blocking(self) -> object:
        try:
            return _stamp(os.stat(self._path))
        except OSError as error:
            return error.errno

    def _read_blocking(self) -> Secrets:
        try:
            # What is no file (a pipe nobody writes to) must not keep us waiting here.
            with open(self._path, "rb", opener=_open_at_once) as file:
                found = os.fstat(file.fileno())
                raw = file.read(FILE_BYTES_MAX + 1) if stat.S_ISREG(found.st_mode) else b""
        except OSError as error:
            raise PeerSecretError(
                f"{self._path}: {error.strerror}: expected a file with the secret of zabpy.peerSecretFile"
            ) from None
        if not stat.S_ISREG(found.st_mode):
            raise PeerSecretError(
                f"{self._path}: no regular file: expected one with the secret of zabpy.peerSecretFile"
            )
        if found.st_mode & _MODES_REFUSED:
            raise PeerSecretError(
                f"{self._path}: its mode is {stat.S_IMODE(found.st_mode):04o}: expected a file that others can neither "
                "read nor write, nor a group write; chmod 600 does it"
            )
        if len(raw) > FILE_BYTES_MAX:
            raise PeerSecretError(f"{self._path}: expected at most {FILE_BYTES_MAX} bytes of secrets")
        secrets = parse_secrets(raw, self._path)
        self._stamp = _stamp(found)
        return secrets


def _open_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _stamp(found: os.stat_result) -> object:
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino
