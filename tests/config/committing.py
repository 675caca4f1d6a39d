"""Commits to a namespace, for tests of those who read it."""

import json
from collections.abc import Mapping

from zabpy.client import Client
from zabpy.model import NodeExistsError

LAYERS = ".layers"


async def commit(zk: Client, path: str, values: Mapping[str, str | None], *, layer: str = "default") -> int:
    """One transaction; None deletes. Makes what is missing. Returns the revision."""
    try:
        await zk.create(path, json.dumps({"format": "zabpy.config", "version": 1}).encode(), parents=True)
        await zk.create(f"{path}/.head", b'{"revision": 0}')
    except NodeExistsError:
        pass
    place = path
    if layer != "default":
        place = f"{path}/{LAYERS}/{layer}"
        await zk.ensure(place)
    data, stat = await zk.get(f"{path}/.head")
    revision: int = json.loads(data)["revision"] + 1
    there = set(await zk.children(place))
    async with zk.transaction() as transaction:
        transaction.set(f"{path}/.head", json.dumps({"revision": revision}).encode(), stat.version)
        for key, value in values.items():
            if value is None:
                transaction.delete(f"{place}/{key}")
            elif key in there:
                transaction.set(f"{place}/{key}", value.encode())
            else:
                transaction.create(f"{place}/{key}", value.encode())
    return revision
