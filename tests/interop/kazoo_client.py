"""kazoo as a program. A command a line on standard input, a line for an answer: ``ok …`` or ``error CODE``.

    connect HOSTS MILLISECONDS         start a session
    session                            its id in hexadecimal
    auth USER:PASSWORD                 scheme digest
    create PATH DATA MODE ACL          → the path; MODE is p, e, s or es, ACL open or creator (who is authenticated)
    get PATH                           → data and version
    set PATH DATA VERSION, delete PATH
    children PATH                      → the names, sorted
    watch PATH                         ``event PATH`` is said when its data has changed
    multi PATH                         create PATH/a and PATH/b and set PATH/a to two, in one transaction
    badmulti PATH                      create PATH/c and delete PATH/none, which is not there
    lock PATH, unlock PATH             with the client's own recipe, if it has one
    quit                               close the session, end

ERROR is ZooKeeper's code; -4 also where the client says in its own words that it is not connected. What is not said is
that of the client: no retries are added, no watch is set again that it does not set again itself.
"""

import sys
import threading
from typing import Any

from kazoo.client import KazooClient
from kazoo.exceptions import ConnectionClosedError, ConnectionLoss, KazooException, SessionExpiredError
from kazoo.handlers.threading import KazooTimeoutError
from kazoo.recipe.watchers import DataWatch
from kazoo.security import CREATOR_ALL_ACL, OPEN_ACL_UNSAFE

SAYING = threading.Lock()


def say(line: str) -> None:
    with SAYING:
        print(line, flush=True)


class Commands:
    def __init__(self) -> None:
        self.client: Any = None
        self.locks: dict[str, Any] = {}

    def connect(self, hosts: str, milliseconds: str) -> None:
        self.client = KazooClient(hosts, timeout=int(milliseconds) / 1000)
        self.client.start(30)

    def session(self) -> str:
        if not self.client.connected:
            raise ConnectionLoss
        return f"{self.client.client_id[0] & (1 << 64) - 1:x}"

    def auth(self, credentials: str) -> None:
        self.client.add_auth("digest", credentials)

    def create(self, path: str, data: str, mode: str, acl: str) -> Any:
        whose = CREATOR_ALL_ACL if acl == "creator" else OPEN_ACL_UNSAFE
        return self.client.create(path, data.encode(), whose, ephemeral="e" in mode, sequence="s" in mode)

    def get(self, path: str) -> str:
        data, stat = self.client.get(path)
        return f"{data.decode()} {stat.version}"

    def set(self, path: str, data: str, version: str) -> None:
        self.client.set(path, data.encode(), int(version))

    def delete(self, path: str) -> None:
        self.client.delete(path)

    def children(self, path: str) -> str:
        return " ".join(sorted(self.client.get_children(path)))

    def watch(self, path: str) -> None:
        """By the recipe: a plain watch of kazoo's is gone with its connection."""
        seen: list[bytes] = []

        def changed(data: bytes | None, _: object) -> None:
            if data is not None and data not in seen:
                if seen:
                    say(f"event {path}")
                seen.append(data)

        DataWatch(self.client, path, changed)

    def multi(self, path: str) -> None:
        self._commit(
            ("create", f"{path}/a", b"one"), ("create", f"{path}/b", b"one"), ("set_data", f"{path}/a", b"two")
        )

    def badmulti(self, path: str) -> None:
        self._commit(("create", f"{path}/c", b"one"), ("delete", f"{path}/none"))

    def _commit(self, *operations: tuple[Any, ...]) -> None:
        transaction = self.client.transaction()
        for name, *arguments in operations:
            getattr(transaction, name)(*arguments)
        for result in transaction.commit():
            if isinstance(result, KazooException) and result.code not in (0, -2):
                raise result

    def lock(self, path: str) -> None:
        self.locks[path] = self.client.Lock(path, "me")
        self.locks[path].acquire()

    def unlock(self, path: str) -> None:
        self.locks[path].release()

    def quit(self) -> None:
        self.client.stop()
        self.client.close()


def main() -> None:
    commands = Commands()
    for line in sys.stdin:
        name, *words = line.split()
        try:
            answer = getattr(commands, name)(*words)
        except (ConnectionLoss, ConnectionClosedError, SessionExpiredError, KazooTimeoutError) as lost:
            say(f"error {-112 if isinstance(lost, SessionExpiredError) else -4}")
        except KazooException as error:
            say(f"error {error.code}")
        else:
            say(f"ok {answer or ''}".rstrip())
        if name == "quit":
            return


main()
