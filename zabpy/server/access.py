"""Access: who a client is, and whether it may ask anything yet; what the configuration says of it, for all connections.

A connection is its address from the start; auth packets and SASL make it more. It
hears of a failure, and ends. What is written to the log of it tells nothing that the client sent: people put passwords
into the wrong field.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

from zabpy.model import AuthFailedError, Identity
from zabpy.pipeline import SUPER, AuthRules, answer_auth, reply_frame
from zabpy.tree import ACLS_ARE_OFF, ANY_SASL_USER
from zabpy.wire import JuteError, Reader

from .config import Config
from .counts import Counts
from .log import Log, hex_text, remote_text
from .transport import Channel

if TYPE_CHECKING:
    from .accounts import Accounts, AccountsFile
    from .connection import Connection

#: SESSIONCLOSEDREQUIRESASLAUTH: this server wants to know who asks.
NOT_ADMITTED = -124
_NULL_TOKEN = b"\xff\xff\xff\xff"
Identities = tuple[Identity, ...]


class Access:
    """The doors of one server."""

    def __init__(self, config: Config, log: Log, random_bytes: Callable[[int], bytes], counts: Counts) -> None:
        self.accounts_file = _accounts_file(config, log, random_bytes)
        self.rules = AuthRules(config.auth_schemes, config.digest_algorithm, config.super_digest, config.ensemble_names)
        self._config, self._log, self._random_bytes, self._counts = config, log, random_bytes, counts
        self._required = config.required_schemes

    @property
    def accounts(self) -> "Accounts | None":
        """None: there is no SASL here."""
        return None if self.accounts_file is None else self.accounts_file.now

    def first_identities(self, channel: Channel) -> Identities:
        """What a connection is before it has said anything."""
        address = Identity("ip", channel.remote[0])
        return (address, ACLS_ARE_OFF) if self._config.acls_off else (address,)

    def admits(self, identities: Identities) -> bool:
        """Whether it may ask more than to be let in: True unless the configuration requires schemes."""
        return not self._required or any(scheme in self._required for scheme, _ in identities)

    def failed(self, connection: "Connection", why: str) -> None:
        """Count it and tell it. ``why`` has nothing in it that the client has sent."""
        self._counts.auth_failed.value += 1
        remote, session = remote_text(connection.channel), hex_text(connection.session_id)
        self._log("auth_failed", remote=remote, session=session, why=why)

    # What a connection asks: each gives its answer, and whether the connection ends behind it -------------------------

    def auth(self, connection: "Connection", xid: int, record: bytes) -> tuple[bytes, bool]:
        """An auth packet."""
        answer = answer_auth(xid, record, connection.identities, self.rules)
        if answer.why:
            self.failed(connection, answer.why)
        else:
            connection.become(answer.identities)
        return answer.frame, bool(answer.why)

    def sasl(self, connection: "Connection", xid: int, record: bytes) -> tuple[bytes, bool]:
        """A SASL token.

        Apache's server says "no error, null token" for ever when there is no SASL or when a failed client may stay, and
        there are clients that ask on for ever (kazoo): here it is said once a connection.
        """
        try:
            token = Reader(record).buffer()
        except JuteError:
            token = None
        if token is None:  # as in ZooKeeper: no answer
            self.failed(connection, "a SASL token that cannot be read")
            return b"", True
        accounts = self.accounts
        if connection.sasl is None and accounts is None and not connection.sasl_refused:
            connection.sasl_refused = True
            return reply_frame(xid, 0, 0, _NULL_TOKEN), False
        from .sasl import Exchange, SaslError  # few servers have accounts

        try:
            if connection.sasl_refused or accounts is None:
                raise SaslError("asks again where it was refused")
            if connection.sasl is None:
                connection.sasl = Exchange(accounts, self._random_bytes)
            step = connection.sasl.step(token)
        except SaslError as error:
            self.failed(connection, f"SASL: {error}")
            if "sasl" in self._required:
                return reply_frame(xid, 0, NOT_ADMITTED, _NULL_TOKEN), True
            if self._config.sasl_failed_may_stay and not connection.sasl_refused:
                connection.sasl_refused = True
                return reply_frame(xid, 0, 0, _NULL_TOKEN), False
            return reply_frame(xid, 0, AuthFailedError.code, _NULL_TOKEN), True
        if step.name is not None:
            connection.become(tuple(dict.fromkeys(connection.identities + self._sasl_identities(step.name))))
        return reply_frame(xid, 0, 0, len(step.token).to_bytes(4, "big") + step.token), False

    def refuse(self, connection: "Connection", xid: int) -> tuple[bytes, bool]:
        """It asked for something before it was let in."""
        self.failed(connection, f"has not logged in by {', '.join(sorted(self._required))}")
        return reply_frame(xid, 0, NOT_ADMITTED), True

    def _sasl_identities(self, name: str) -> Identities:
        config = self._config
        identities: Identities = ()
        if "sasl" in config.auth_schemes:  # unless the scheme is on, a login by SASL is worth nothing in a list
            identities += (Identity("sasl", name),)
            if config.sasl_any_user is not None:
                identities += (Identity(ANY_SASL_USER, config.sasl_any_user),)
        return (*identities, SUPER) if name in config.sasl_super_users else identities


def _accounts_file(config: Config, log: Log, random_bytes: Callable[[int], bytes]) -> "AccountsFile | None":
    if config.jaas_path is None:
        return None
    from .accounts import AccountsFile  # with the syntax of JAAS it takes longer to load than all else of ours

    return AccountsFile(
        config.jaas_path, config.jaas_section, random_bytes, log, super_password=config.sasl_super_password
    )
