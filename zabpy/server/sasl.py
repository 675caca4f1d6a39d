"""One connection's SASL exchange: which mechanism, which step, and whether it is over. Plain.

There is no negotiation of mechanisms in ZooKeeper's protocol. Its server knows DIGEST-MD5, which it begins whatever the
first token is (it is empty); here a first token that is one of SCRAM begins SCRAM-SHA-256. As in ZooKeeper, a
connection logs in once: a step that is wrong, too early or too late ends the exchange for good.
"""

import base64
from collections.abc import Callable
from typing import NamedTuple

from . import digest_md5, scram
from .accounts import Accounts

NONCE_BYTES = 30


class SaslError(Exception):
    """The client has not logged in. One line that shows nothing of what it sent."""


class Step(NamedTuple):
    """``token`` is the answer. ``name``: whose account it is, once the client has proved it."""

    token: bytes
    name: str | None = None


class Exchange:
    """From the first token to the last. Goes by the accounts as they were at its start."""

    __slots__ = ("_accounts", "_next", "_nonce", "_scram")

    def __init__(self, accounts: Accounts, random_bytes: Callable[[int], bytes]) -> None:
        self._accounts = accounts
        self._nonce = base64.b64encode(random_bytes(NONCE_BYTES)).decode("ascii")
        self._next: Callable[[bytes], Step] = self._begin
        self._scram: scram.ScramExchange | None = None

    def step(self, token: bytes) -> Step:
        """Raises: SaslError, and the exchange is over."""
        call, self._next = self._next, _over
        try:
            return call(token)
        except (digest_md5.DigestError, scram.ScramError) as error:
            raise SaslError(str(error)) from None

    def _begin(self, token: bytes) -> Step:
        if scram.is_first(token):
            self._scram = scram.ScramExchange(self._nonce, self._accounts.find_verifier)
            first = self._scram.first(token)
            self._next = self._end_scram
            return Step(first)
        self._next = self._end_digest
        return Step(digest_md5.challenge(self._nonce))

    def _end_digest(self, token: bytes) -> Step:
        name, last = digest_md5.check(token, self._nonce, self._accounts.digest.get)
        return Step(last, name)

    def _end_scram(self, token: bytes) -> Step:
        assert self._scram is not None
        name, last = self._scram.final(token)
        self._scram = None
        return Step(last, name)


def _over(token: bytes) -> Step:
    raise SaslError("a token behind the end of the exchange")
