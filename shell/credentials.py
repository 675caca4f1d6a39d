"""Who we are to a cluster: identities, logins and the passwords that go with them, which are read when they are needed.

A password comes from a command, from the environment or from a person, and from a file or an option only with a remark:
the former is copied about, the latter is seen by everybody in the list of processes.
"""

import os
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .errors import ShellError, Status, UsageError

if TYPE_CHECKING:
    from .shell import Asker

#: The mechanisms, and what they are called in `zabpy`.
SASL = {"digest-md5": "Digest", "scram-sha-256": "Scram"}


@dataclass(frozen=True)
class Secret:
    """Where a password comes from: what the first line of ``command``'s output says, a variable, or the password itself
    in the clear; a person is asked if it is none of these. ``where``: what names the command in complaints, as it may
    have a secret in it itself: file, line and key."""

    command: str | None = field(default=None, repr=False)
    env: str | None = None
    clear: str | None = field(default=None, repr=False)
    where: str = field(default="its command", compare=False)

    async def read(self, whose: str, asker: "Asker") -> str:
        """Raises `ShellError` that says why it is not to be had."""
        return fit(await self._read(whose, asker), whose)

    async def _read(self, whose: str, asker: "Asker") -> str:
        if self.clear is not None:
            return self.clear
        if self.env is not None:
            if self.env not in os.environ:
                raise ShellError(f"password of {whose}: the variable {self.env} is not set", Status.DENIED)
            return os.environ[self.env]
        if self.command is None:
            return await asker.secret(f"Password of {whose}")
        import anyio

        # Its questions and complaints are for the person, so they go where ours go.
        done = await anyio.run_process(["sh", "-c", self.command], stderr=None, stdin=subprocess.DEVNULL, check=False)
        if done.returncode != 0:
            why = f"{self.where} ended with status {done.returncode}"
            raise ShellError(f"password of {whose}: {why}", Status.DENIED)
        return done.stdout.decode("utf-8", "surrogateescape").partition("\n")[0].rstrip("\r")


def fit(password: str, whose: str) -> str:
    """The password, if it can be sent. Raises `ShellError`; that of Python would show a piece of it."""
    try:
        password.encode()
    except UnicodeEncodeError:
        raise ShellError(f"password of {whose}: it is not in UTF-8", Status.USAGE) from None
    return password


@dataclass(frozen=True)
class Identity:
    """For `Client.add_auth`, or a login by SASL where ``scheme`` is a mechanism. Without ``user`` the secret is all."""

    scheme: str
    user: str | None
    secret: Secret

    @property
    def name(self) -> str:
        return f"{self.scheme}:{self.user}" if self.user is not None else self.scheme


@dataclass(frozen=True)
class Tls:
    """As `zabpy.TLS`, but for the password of the key, which may be anywhere; None: it has none."""

    settings: dict[str, Any] = field(default_factory=dict)
    password: Secret | None = None


def identity(text: str, *, sasl: bool = False) -> Identity:
    """``digest:ann:secret``, or ``digest:ann`` for a password that is asked for; ``scram-sha-256:ann`` for SASL.

    Raises:
        UsageError: it is neither.
    """
    scheme, colon, rest = text.partition(":")
    user, has_password, password = rest.partition(":")
    if not colon or not scheme or not user:
        raise UsageError("expected SCHEME:USER, or SCHEME:USER:PASSWORD")
    if sasl and scheme.lower() not in SASL:
        raise UsageError(f"{scheme}: no such mechanism; there are {', '.join(SASL)}")
    return Identity(scheme, user, Secret(clear=password if has_password else None))


async def client_settings(
    auth: list[Identity], sasl: Identity | None, tls: Tls | None, asker: "Asker"
) -> dict[str, Any]:
    """These as `zabpy.connect` wants them. Each password is read once.

    Raises:
        ShellError: one is not to be had.
    """
    import zabpy

    found: dict[str, Any] = {}
    if auth:
        found["auth"] = [await _credential(each, asker) for each in auth]
    try:
        if sasl is not None:
            kind = getattr(zabpy, SASL[sasl.scheme.lower()])
            found["sasl"] = kind(sasl.user or "", await sasl.secret.read(sasl.name, asker))
        if tls is not None:
            password = await tls.password.read("the key", asker) if tls.password is not None else None
            found["tls"] = zabpy.TLS(**tls.settings, password=password)
            found["tls"].context()  # so that a file which will not do is told of as such
    except zabpy.BadArgumentsError as error:
        raise UsageError(str(error)) from None
    return found


async def _credential(who: Identity, asker: "Asker") -> tuple[str, str]:
    password = await who.secret.read(who.name, asker)
    return who.scheme, f"{who.user}:{password}" if who.user is not None else password
