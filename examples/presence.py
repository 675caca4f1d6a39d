"""An ephemeral znode goes when its owner dies.

A process says that it is here by an ephemeral znode and is then killed without a word. Its session is not renewed any
more, ends after its timeout, and the znode with it: who watches is told.
"""

import argparse
import multiprocessing
import sys
import threading
import time

from kazoo.client import KazooClient

HOSTS = "127.0.0.1:2181,127.0.0.1:2182,127.0.0.1:2183"
HERE = "/examples/presence"


def be_here(hosts: str, name: str) -> None:
    client = KazooClient(hosts=hosts, timeout=4.0)
    client.start(timeout=30)
    client.create(f"{HERE}/{name}", b"alive", ephemeral=True)
    threading.Event().wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", default=HOSTS)
    options = parser.parse_args()
    client = KazooClient(hosts=options.hosts, timeout=10.0)
    client.start(timeout=30)
    client.ensure_path(HERE)
    name = f"worker-{time.time_ns()}"
    came, went = threading.Event(), threading.Event()

    @client.ChildrenWatch(HERE)  # type: ignore[untyped-decorator]
    def changed(present: list[str]) -> None:
        print(f"present: {sorted(present)}", flush=True)
        if name in present:
            came.set()
        elif came.is_set():
            went.set()

    worker = multiprocessing.get_context("spawn").Process(target=be_here, args=(options.hosts, name))
    worker.start()
    try:
        if not came.wait(30):
            print(f"{name} did not come")
            return 1
    finally:
        worker.kill()
    killed = time.monotonic()
    print(f"killed {name}")
    if not went.wait(30):
        print(f"{name} did not go")
        return 1
    print(f"{name} is gone {time.monotonic() - killed:.1f} s later")
    client.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
