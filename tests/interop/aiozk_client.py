"""aiozk as a program; the commands stand at the head of kazoo_client.py. It has no call for `auth`."""

import asyncio
import sys
from typing import Any

from aiozk import ZKClient, exc
from aiozk.protocol import AUTHED_UNRESTRICTED, UNRESTRICTED_ACCESS
from aiozk.states import States


def say(line: str) -> None:
    print(line, flush=True)


class Commands:
    def __init__(self) -> None:
        self.client: Any = None
        self.watchers: list[tuple[Any, ...]] = []

    async def connect(self, hosts: str, milliseconds: str) -> None:
        self.client = ZKClient(hosts, session_timeout=int(milliseconds) / 1000)
        await asyncio.wait_for(self.client.start(), 30)

    async def session(self) -> str:
        if self.client.session.state != States.CONNECTED:
            raise exc.ConnectionLoss
        return f"{self.client.session.session_id & (1 << 64) - 1:x}"

    async def create(self, path: str, data: str, mode: str, acl: str) -> Any:
        whose = AUTHED_UNRESTRICTED if acl == "creator" else UNRESTRICTED_ACCESS
        return await self.client.create(path, data, [whose], ephemeral="e" in mode, sequential="s" in mode)

    async def get(self, path: str) -> str:
        data, stat = await self.client.get(path)
        return f"{data.decode()} {stat.version}"

    async def set(self, path: str, data: str, version: str) -> None:
        await self.client.set(path, data, int(version))

    async def delete(self, path: str) -> None:
        await self.client.delete(path, force=True)

    async def children(self, path: str) -> str:
        return " ".join(sorted(await self.client.get_children(path)))

    async def watch(self, path: str) -> None:
        """By the recipe, which also calls back when it has only looked again."""
        armed = asyncio.get_running_loop().create_future()

        def changed(data: bytes) -> None:
            if not armed.done():
                armed.set_result(data)
            elif data != armed.result():
                say(f"event {path}")

        watcher = self.client.recipes.DataWatcher()
        watcher.add_callback(path, changed)
        self.watchers.append((watcher, path, changed))
        await armed

    async def multi(self, path: str) -> None:
        transaction = self.client.begin_transaction()
        transaction.create(f"{path}/a", b"one")
        transaction.create(f"{path}/b", b"one")
        transaction.set_data(f"{path}/a", b"two")
        result = await transaction.commit()
        assert (result.created, result.updated) == ({f"{path}/a", f"{path}/b"}, {f"{path}/a"})

    async def badmulti(self, path: str) -> None:
        transaction = self.client.begin_transaction()
        transaction.create(f"{path}/c", b"one")
        transaction.delete(f"{path}/none")
        if not await transaction.commit():  # all that aiozk tells
            raise exc.NoNode

    async def lock(self, path: str) -> None:
        self.held = self.client.recipes.Lock(path)
        await self.held.acquire()

    async def unlock(self, _: str) -> None:
        await self.held.release()

    async def quit(self) -> None:
        for watcher, path, changed in self.watchers:
            watcher.remove_callback(path, changed)  # its task hides a cancellation and would look on for ever
        await self.client.close()


async def main() -> None:
    commands = Commands()
    while line := await asyncio.to_thread(sys.stdin.readline):
        name, *words = line.split()
        try:
            answer = await getattr(commands, name)(*words)
        except exc.ResponseError as error:
            say(f"error {error.error_code}")
        except (exc.TimeoutError, exc.ConnectError, exc.SessionLost):
            say("error -4")
        else:
            say(f"ok {answer or ''}".rstrip())
        if name == "quit":
            return


asyncio.run(main())
