"""Port: a number that a server may listen on, and nobody else."""

import socket
import sys

LOOPBACK = "127.0.0.1"


class Port:
    """A port of 127.0.0.1 that nobody else gets, whether a server listens on it or not, until `close`.

    On Linux a socket that is bound and does not listen keeps it: another one that allows it (SO_REUSEADDR) may listen
    there, and nobody is given the port who asks for any. Elsewhere it is only known to have been free.
    """

    def __init__(self) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((LOOPBACK, 0))
        self.number: int = self._socket.getsockname()[1]
        if sys.platform != "linux":
            self.close()

    def close(self) -> None:
        self._socket.close()
