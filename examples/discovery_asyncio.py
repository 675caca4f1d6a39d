"""A service that is found by its clients wherever it runs, and a client of it. For asyncio.

    python examples/discovery_asyncio.py HOSTS serve     # several of these: each takes any free port
    python examples/discovery_asyncio.py HOSTS ask       # and of these

Promised: an instance is found from its start to its end, and again after its session was lost. A client leaves one that
does not answer alone for a while, and forgets it once its session has timed out.
Not promised: that an instance which is found answers; so clients ask with a timeout, and then ask another one. Nor
that all clients see the same instances at one moment. While no server can be reached they go on with what they knew.
"""

import asyncio
import os
import sys

import zabpy
from zabpy.recipes import NoInstanceError, ServiceInstance, ServiceView

ME = f"asyncio-{os.getpid()}"


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(f"{ME}\n".encode())
    writer.close()


async def serve(zk: zabpy.Client) -> None:
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with zk.registered_service("/examples/services", ServiceInstance("hello", ME, "127.0.0.1", port)):
            print(f"{ME} serves on port {port}", flush=True)
            await server.serve_forever()


async def ask(zk: zabpy.Client) -> None:
    async with zk.service("/examples/services", "hello") as service:
        while True:
            try:
                await ask_one(service)
            except NoInstanceError:
                await service.wait_instance()
            except OSError as error:  # a TimeoutError is one
                print(f"no answer: {error!r}", flush=True)
            await asyncio.sleep(0.1)


async def ask_one(service: ServiceView) -> None:
    with service.use() as instance:
        async with asyncio.timeout(1):
            reader, writer = await asyncio.open_connection(instance.address, instance.port)
            try:
                answer = (await reader.readline()).decode().strip()
            finally:
                writer.close()
        if not answer:
            raise ConnectionResetError(f"{instance.address}:{instance.port} hung up")
        print(f"{answer} answered", flush=True)


async def main(hosts: str, role: str) -> None:
    async with zabpy.connect(hosts, session_timeout_ms=4_000) as zk:
        await {"serve": serve, "ask": ask}[role](zk)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
