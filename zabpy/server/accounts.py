"""Accounts: who may log in by SASL, read from a JAAS file, and read again when it changes.

Of a section (`Server`, unless the configuration names another) these options of any login module count, whatever the
module is, as in ZooKeeper:

    user_alice="password"                                for DIGEST-MD5 and SCRAM-SHA-256
    scram_alice="SCRAM-SHA-256$4096:salt$stored:server"  for SCRAM-SHA-256 only, and no password stands in the file

The second form is what PostgreSQL keeps of a password; whoever reads it cannot log in with it. Of both for one name,
SCRAM goes by the second. Here nothing keeps a password: of the first form its hashes stay in memory.
"""

import os
import stat
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple

import trio

from zabpy.wire import digest_md5

from . import scram
from .jaas import FILE_BYTES_MAX, JaasError, Section, parse
from .log import Log
from .scram import Verifier

#: How often the file is looked at.
LOOK_SECONDS = 1
USER, SCRAM_USER, SUPER_USER = "user_", "scram_", "super"


class Accounts:
    """All that may log in, as it was in one version of the file. Its repr shows no more than how many."""

    __slots__ = ("_secret", "digest", "find_verifier", "scram", "warnings")

    def __init__(
        self,
        digest: Mapping[str, tuple[bytes, ...]],
        scram_by_name: Mapping[str, tuple[str, Verifier]],
        secret: bytes,
        warnings: tuple[str, ...] = (),
    ) -> None:
        """``scram_by_name``: name as SASLprep makes it → name in the file, verifier."""
        self.digest, self.scram, self.warnings, self._secret = digest, scram_by_name, warnings, secret
        self.find_verifier = scram.find_in(scram_by_name, secret)

    def __len__(self) -> int:
        return len(self.digest.keys() | {name for name, _ in self.scram.values()})

    def __repr__(self) -> str:
        return f"<{len(self)} accounts>"

    @property
    def secret(self) -> bytes:
        """By which answers to unknown names are drawn; the next version of the file keeps it."""
        return self._secret


def accounts_of(
    section: Section,
    path: str,
    random_bytes: Callable[[int], bytes],
    *,
    super_password: str | None = None,
    before: Accounts | None = None,
) -> Accounts:
    """The accounts of one section. Takes milliseconds for each password that is not one of ``before``.

    Raises:
        JaasError: an account that cannot be; the file would not do what it says.
    """
    passwords: dict[str, tuple[str, int]] = {}
    verifiers: dict[str, Verifier] = {}
    warnings: list[str] = []
    for module in section.modules:
        if module.name.endswith("Krb5LoginModule"):
            warnings.append(f"{path}:{section.line}: {module.name}: Kerberos is not served")
        for option, (value, line) in module.options.items():
            if option.startswith(USER):
                passwords[option.removeprefix(USER)] = value, line
            elif option.startswith(SCRAM_USER):
                try:
                    verifiers[option.removeprefix(SCRAM_USER)] = scram.parse_verifier(value)
                except ValueError as error:
                    raise JaasError(f"{path}:{line}: expected a SCRAM verifier: {error}") from None
    if super_password is not None and SUPER_USER in passwords:  # as in ZooKeeper, it only replaces one that is there
        passwords[SUPER_USER] = super_password, passwords[SUPER_USER][1]
    digest = {name: digest_md5.secrets_of(name, password) for name, (password, _) in passwords.items()}
    by_prepared: dict[str, tuple[str, Verifier]] = {}
    taken: set[str] = set()
    for name in {**passwords, **verifiers}:
        prepared = scram.prepared(name)
        if prepared is None:
            warnings.append(f"{path}: {name!r}: SASLprep forbids this name, so it cannot log in by SCRAM")
            continue
        if prepared in taken:
            warnings.append(f"{path}: {name!r} and another name are one by SASLprep: SCRAM takes the other")
            continue
        taken.add(prepared)
        if name in verifiers:
            by_prepared[prepared] = name, verifiers[name]
        elif before is not None and before.digest.get(name) == digest[name] and prepared in before.scram:
            by_prepared[prepared] = before.scram[prepared]
        else:
            password, line = passwords[name]
            try:
                by_prepared[prepared] = name, scram.make_verifier(password, random_bytes(scram.SALT_BYTES))
            except ValueError as error:
                warnings.append(f"{path}:{line}: {USER}{name}: no login by SCRAM with this password: {error}")
    secret = before.secret if before is not None else random_bytes(32)
    return Accounts(digest, by_prepared, secret, tuple(warnings))


class _Stamp(NamedTuple):
    """What tells one version of a file from the next, or from one that we may read."""

    modified_ns: int
    changed_ns: int
    size: int
    inode: int


class AccountsFile:
    """The accounts in force. ``now`` is None as long as the file has no section of that name: then there is no SASL.

    Read by `open_blocking` at the start and by `watch` from then on. Whoever has logged in stays who it is.
    """

    def __init__(
        self,
        path: str,
        section: str,
        random_bytes: Callable[[int], bytes],
        log: Log,
        *,
        super_password: str | None = None,
    ) -> None:
        self.now: Accounts | None = None
        self._path, self._section, self._random_bytes, self._log = path, section, random_bytes, log
        self._super_password = super_password
        self._stamp: _Stamp | None = None

    def __repr__(self) -> str:
        return f"<{self._path}: {self.now}>"

    def open_blocking(self) -> None:
        """Read the file for the first time.

        Raises:
            JaasError: it cannot be read, or is not one.
        """
        try:
            self._stamp = self._look_blocking()
        except OSError as error:
            raise JaasError(f"{self._path}: {error.strerror}: expected a readable JAAS file") from None
        self.now = self._read_blocking()
        self._tell()

    async def watch(self, aside: Callable[[Callable[[], Any]], Awaitable[Any]]) -> None:
        """Read the file again whenever it has changed. What is wrong then is said, and changes nothing."""
        while True:
            await trio.sleep(LOOK_SECONDS)
            try:
                stamp = await aside(self._look_blocking)
            except OSError as error:
                if self._stamp is not None:
                    self._keep(f"{self._path}: {error.strerror}")
                self._stamp = None
                continue
            if stamp == self._stamp:
                continue
            self._stamp = stamp  # whatever comes of it: it is read once
            try:
                accounts = await aside(self._read_blocking)
                if accounts is None and self.now is not None:
                    # A file that is being written is empty for a moment.
                    raise JaasError(f"{self._path}: the section {self._section!r} is not there any more")
            except JaasError as error:
                self._keep(str(error))
                continue
            self.now = accounts
            self._tell()

    def _keep(self, why: str) -> None:
        self._log("accounts_kept", why=why)

    def _tell(self) -> None:
        if self.now is None:
            self._log("no_accounts", file=self._path, why=f"no section {self._section!r}, so no SASL")
            return
        self._log("accounts", file=self._path, section=self._section, count=len(self.now))
        for warning in self.now.warnings:
            self._log("config_warning", why=warning)

    def _look_blocking(self) -> _Stamp:
        return _stamp(os.stat(self._path))

    def _read_blocking(self) -> Accounts | None:
        try:
            with open(self._path, "rb") as file:
                mode = os.fstat(file.fileno()).st_mode
                raw = file.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            raise JaasError(f"{self._path}: {error.strerror}: expected a readable JAAS file") from None
        if len(raw) > FILE_BYTES_MAX:
            raise JaasError(f"{self._path}: expected a JAAS file of at most {FILE_BYTES_MAX} bytes")
        try:
            text = raw.decode()
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise JaasError(f"{self._path}:{line}: expected UTF-8") from None
        section = parse(text, self._path).get(self._section)
        if section is None:
            return None
        accounts = accounts_of(
            section, self._path, self._random_bytes, super_password=self._super_password, before=self.now
        )
        if mode & stat.S_IROTH:
            accounts.warnings += (
                f"{self._path}: everybody on this machine can read it; chmod o-r hides the passwords",
            )
        return accounts


def _stamp(found: os.stat_result) -> _Stamp:
    return _Stamp(found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino)
