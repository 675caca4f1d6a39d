"""A service that is found by its clients wherever it runs, and a client of it. For trio.

    python examples/discovery_trio.py HOSTS serve     # several of these: each takes any free port
    python examples/discovery_trio.py HOSTS ask       # and of these

Promised: an instance is found from its start to its end, and again after its session was lost. A client leaves one that
does not answer alone for a while, and forgets it once its session has timed out.
Not promised: that an instance which is found answers; so clients ask with a timeout, and then ask another one. Nor
that all clients see the same instances at one moment. While no server can be reached they go on with what they knew.
"""

import functools
import os
import sys

import trio

import zabpy
from zabpy.recipes import NoInstanceError, ServiceInstance, ServiceView

ME = f"trio-{os.getpid()}"
FAILURES = (OSError, trio.TooSlowError, trio.BrokenResourceError)


async def answer(stream: trio.SocketStream) -> None:
    async with stream:
        await stream.send_all(f"{ME}\n".encode())


async def serve(zk: zabpy.Client) -> None:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(functools.partial(trio.serve_tcp, answer, 0, host="127.0.0.1"))
        port = listeners[0].socket.getsockname()[1]
        async with zk.registered_service("/examples/services", ServiceInstance("hello", ME, "127.0.0.1", port)):
            print(f"{ME} serves on port {port}", flush=True)
            await trio.sleep_forever()


async def ask(zk: zabpy.Client) -> None:
    async with zk.service("/examples/services", "hello") as service:
        while True:
            try:
                await ask_one(service)
            except NoInstanceError:
                await service.wait_instance()
            except FAILURES as error:
                print(f"no answer: {error!r}", flush=True)
            await trio.sleep(0.1)


async def ask_one(service: ServiceView) -> None:
    with service.use(FAILURES) as instance, trio.fail_after(1):
        assert instance.address is not None and instance.port is not None
        async with await trio.open_tcp_stream(instance.address, instance.port) as stream:
            answer = (await stream.receive_some()).decode().strip()
            if not answer:
                raise ConnectionResetError(f"{instance.address}:{instance.port} hung up")
            print(f"{answer} answered", flush=True)


async def main(hosts: str, role: str) -> None:
    async with zabpy.connect(hosts, session_timeout_ms=4_000) as zk:
        await {"serve": serve, "ask": ask}[role](zk)


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2])
