"""A service that is found by its clients wherever it runs, and a client of it. For plain code.

    python examples/discovery_blocking.py HOSTS serve     # several of these: each takes any free port
    python examples/discovery_blocking.py HOSTS ask       # and of these

Promised: an instance is found from its start to its end, and again after its session was lost. A client leaves one that
does not answer alone for a while, and forgets it once its session has timed out.
Not promised: that an instance which is found answers; so clients ask with a timeout, and then ask another one. Nor
that all clients see the same instances at one moment. While no server can be reached they go on with what they knew.
"""

import os
import socket
import socketserver
import sys
import time

import zabpy.blocking
from zabpy.recipes import NoInstanceError, ServiceInstance

ME = f"blocking-{os.getpid()}"


class Answer(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        self.request.sendall(f"{ME}\n".encode())


def serve(zk: zabpy.blocking.Client) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), Answer) as server:
        port = server.server_address[1]
        with zk.registered_service("/examples/services", ServiceInstance("hello", ME, "127.0.0.1", port)):
            print(f"{ME} serves on port {port}", flush=True)
            server.serve_forever()


def ask(zk: zabpy.blocking.Client) -> None:
    with zk.service("/examples/services", "hello") as service:
        while True:
            try:
                ask_one(service)
            except NoInstanceError:
                service.wait_instance()
            except OSError as error:  # a TimeoutError is one
                print(f"no answer: {error!r}", flush=True)
            time.sleep(0.1)


def ask_one(service: zabpy.blocking.ServiceView) -> None:
    with service.use() as instance:
        with socket.create_connection((instance.address, instance.port), timeout=1) as connection:
            answer = connection.recv(100).decode().strip()
        if not answer:
            raise ConnectionResetError(f"{instance.address}:{instance.port} hung up")
        print(f"{answer} answered", flush=True)


def main(hosts: str, role: str) -> None:
    with zabpy.blocking.connect(hosts, session_timeout_ms=4_000) as zk:
        {"serve": serve, "ask": ask}[role](zk)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
