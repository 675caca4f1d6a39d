"""How a client says who it is: the greeting of each connection, SASL where it is wanted, then every identity it has.

Only when all of it is answered is anything else sent: what is asked is asked as who we are. An identity that is added
later is sent at once where there is a connection, and on every later one before anything else once a server took it.
"""

from collections import deque
from collections.abc import Callable
from struct import Struct
from typing import Protocol

from zabpy.model import AuthFailedError, ZabpyError
from zabpy.wire import Op, Reader, frame, packed, records as r

from .call import Call, Credential
from .errors import ConnectionLossError, NoServerError, ProtocolError
from .sasl import Exchange, Sasl

#: Xid of an auth packet, and of its answer.
AUTH = -4
#: What a server answers that enforces SASL, to whoever has not logged in.
SASL_REQUIRED = -124
#: A new credential on which so many connections have ended without an answer is not sent again.
CREDENTIAL_TRIES = 3
#: The first answer has 37 bytes; newer servers may append to it.
GREETING_BYTES_MAX = 1024

LENGTH = Struct(">i")


class Teller(Protocol):
    """What a login needs of the core."""

    server: str
    link_broken: str

    def put(self, data: bytes) -> None:
        """Send these bytes."""

    def send(self, call: Call) -> None:
        """Send this request now, whatever waits."""

    def settle(self, call: Call, error: ZabpyError | None) -> None:
        """Its outcome is known."""

    def identified(self) -> None:
        """The server knows all of who we are."""

    def shut_out(self, error: AuthFailedError) -> None:
        """It will not have us, and waiting does not cure it."""


class Login:
    """Of all connections of a client, one after the other."""

    def __init__(self, core: Teller, sasl: Sasl | None) -> None:
        self._core, self._sasl = core, sasl
        #: Sent on every connection. Those from the settings, and each that a server has accepted.
        self.credentials: list[Credential] = []
        self._new: list[Credential] = []  # not sent yet, or sent and not answered
        self._sent: deque[Credential] = deque()  # over this connection, not answered yet, in order
        self._came = b""  # of the answer to the greeting
        #: When this connection was greeted, and when it is of no use if all is not said by then.
        self.began_ms = self.until_ms = 0

    # A connection -----------------------------------------------------------------------------------------------------

    def begin(self, greeting: r.ConnectRequest, now_ms: int, until_ms: int) -> None:
        self.began_ms, self.until_ms, self._came = now_ms, until_ms, b""
        self._core.put(frame(packed(greeting)))

    def greeted(self, data: bytes) -> tuple[r.ConnectResponse | None, bytes]:
        """The server's answer to the greeting once it is whole, and what came behind it.

        Raises:
            ProtocolError, JuteError: it is none.
        """
        data = self._came + data
        if len(data) >= 4:
            (length,) = LENGTH.unpack_from(data)
            if not 0 <= length <= GREETING_BYTES_MAX:
                raise ProtocolError(f"no greeting of a ZooKeeper server: {_banner(data)}")
            if len(data) >= 4 + length:
                self._came = b""
                return r.ConnectResponse.read(Reader(data[4 : 4 + length])), data[4 + length :]
        self._came = data
        return None, b""

    def identify(self) -> None:
        """There is a session: say who we are."""
        if self._sasl is None:
            self._authenticate()
        else:
            exchange = self._sasl.begin()
            self._say(exchange, exchange.first)

    def over(self) -> None:
        """Nothing is under way any more."""
        self._sent.clear()

    def broke(self, why: str) -> None:
        """The connection is gone."""
        for credential in [each for each in self._new if each.sent_times >= CREDENTIAL_TRIES]:
            self._new.remove(credential)
            self._fail(credential, ConnectionLossError(f"{self._core.server} closed the connection on it: {why}"))

    @property
    def is_asking(self) -> bool:
        """Whether a credential waits for its answer."""
        return bool(self._sent)

    # SASL -------------------------------------------------------------------------------------------------------------

    def _say(self, exchange: Exchange, token: bytes) -> None:
        """One step."""
        call = Call(Op.SASL, packed(r.GetSASLRequest(token)), r.SetSASLResponse.read, "sasl", None, of_link=True)
        call.wake = lambda: self._told(exchange, call)
        self._core.send(call)

    def _told(self, exchange: Exchange, call: Call) -> None:
        if isinstance(call.error, AuthFailedError):
            self._core.shut_out(AuthFailedError("SASL: a wrong name or password"))
        elif call.error is None and not self._core.link_broken:
            try:
                token = exchange.answer(call.reply.token)
            except AuthFailedError as error:
                self._core.shut_out(error)
                return
            if token is None:
                self._authenticate()
            else:
                self._say(exchange, token)

    # Credentials ------------------------------------------------------------------------------------------------------

    def add(self, credential: Credential, *, at_once: bool) -> None:
        """One more; else it goes with the others, once the next login begins with them."""
        self._new.append(credential)
        if at_once:
            self._send(credential)

    def answered(self, err: int) -> None:
        """The oldest that waits for it. Raises `ProtocolError` if none does."""
        if not self._sent:
            raise ProtocolError("an auth answered that was not sent")
        credential = self._sent.popleft()
        is_new = credential in self._new
        if is_new:
            self._new.remove(credential)
        if err == 0:
            if is_new and not any(
                (each.scheme, each.secret) == (credential.scheme, credential.secret) for each in self.credentials
            ):
                self.credentials.append(credential)
            if credential.call is not None and not credential.call.done:
                self._core.settle(credential.call, None)
            if not self._sent:
                self._core.identified()
            return
        error = AuthFailedError(f"{self._core.server} refuses this credential of the scheme {credential.scheme!r}")
        if is_new:
            # The server closes the connection on it. The next one goes without.
            self._core.link_broken = "a credential was refused"
            self._fail(credential, error)
        else:
            self._core.shut_out(error)

    def give_up(self, call: Call) -> bool:
        """Nobody waits for it any more. Whether it was one of ours."""
        if not any(each.call is call for each in self._new):
            return False
        self._new = [each for each in self._new if each.call is not call or call.sent]
        return True

    def end(self) -> list[Call]:
        """No more will be sent; who waits for it."""
        waiting = [each.call for each in self._new if each.call is not None]
        self._new.clear()
        return waiting

    def expire(self, now_ms: int, timeout_ms: int, error: Callable[[], NoServerError]) -> None:
        """Fail those that have waited for a connection for so long."""
        for credential in [each for each in self._new if self._waits(each)]:
            if now_ms - _since_ms(credential) >= timeout_ms:
                self._new.remove(credential)
                self._fail(credential, error())

    def waiting_since_ms(self) -> list[int]:
        """Of each that waits for a connection."""
        return [_since_ms(each) for each in self._new if self._waits(each)]

    def _waits(self, credential: Credential) -> bool:
        return credential.call is not None and credential not in self._sent

    def _authenticate(self) -> None:
        for credential in (*self.credentials, *self._new):
            self._send(credential)
        if not self._sent:
            self._core.identified()

    def _send(self, credential: Credential) -> None:
        credential.sent_times += 1
        if credential.call is not None:
            credential.call.sent, credential.call.server = True, self._core.server
        self._sent.append(credential)
        packet = r.AuthPacket(0, credential.scheme, credential.secret)
        self._core.put(frame(packed(r.RequestHeader(AUTH, Op.AUTH)) + packed(packet)))

    def _fail(self, credential: Credential, error: ZabpyError) -> None:
        if credential.call is not None:
            self._core.settle(credential.call, error)


def _since_ms(credential: Credential) -> int:
    return (credential.call.since_ms or 0) if credential.call is not None else 0


def _banner(data: bytes) -> str:
    """Who it is that speaks so."""
    if data.startswith((b"HTTP/", b"<htm", b"<!DO")):
        who = "an HTTP server"
    elif data[:2] in (b"\x15\x03", b"\x16\x03"):
        who = "a server that wants TLS"
    else:
        who = "it begins with"
    return f"{who}: {data[:24]!r}"
