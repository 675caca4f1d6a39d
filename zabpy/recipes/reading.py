"""Many reads in one go."""

import anyio

from zabpy.client import Client, Znode
from zabpy.model import NoNodeError, ZabpyError


async def read_all(zk: Client, paths: list[str]) -> list[Znode | None]:
    """All at once; None for what is not there any more."""
    found: list[Znode | None] = [None] * len(paths)
    failed: list[ZabpyError] = []

    async def read(index: int, path: str) -> None:
        try:
            found[index] = await zk.get(path)
        except NoNodeError:
            pass
        except ZabpyError as error:
            failed.append(error)

    async with anyio.create_task_group() as tasks:
        for index, path in enumerate(paths):
            tasks.start_soon(read, index, path)
    if failed:
        raise failed[0]
    return found
