"""Deletes what is below a znode, as somebody might by hand: python -m tests.shell.delete_children PATH"""

import os
import sys

import anyio

import zabpy


async def main(path: str) -> None:
    async with zabpy.connect(os.environ["ZABPY_SERVERS"]) as zk:
        for name in await zk.children(path):
            await zk.delete(f"{path}/{name}")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
