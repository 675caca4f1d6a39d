"""A config value is watched: each change reaches a process that does nothing but wait.

A watch tells that something changed, not how often: a watcher that is slow may miss a value in between, never the last.
"""

import argparse
import multiprocessing
import sys
import threading
import time

from kazoo.client import KazooClient
from kazoo.protocol.states import ZnodeStat

HOSTS = "127.0.0.1:2181,127.0.0.1:2182,127.0.0.1:2183"
SETTING = "/examples/config/greeting"
LAST = "good bye"
VALUES = [*(f"hello number {n}" for n in range(1, 20)), LAST]


def watch(hosts: str) -> None:
    client = KazooClient(hosts=hosts, timeout=10.0)
    client.start(timeout=30)
    done = threading.Event()

    @client.DataWatch(SETTING)  # type: ignore[untyped-decorator]
    def changed(data: bytes | None, stat: ZnodeStat | None) -> None:
        if data is not None and stat is not None:
            print(f"version {stat.version}: {data.decode()}", flush=True)
            if data.decode() == LAST:
                done.set()

    sys.exit(0 if done.wait(60) else 1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", default=HOSTS)
    options = parser.parse_args()
    client = KazooClient(hosts=options.hosts, timeout=10.0)
    client.start(timeout=30)
    client.ensure_path(SETTING)
    client.set(SETTING, b"nothing yet")
    watcher = multiprocessing.get_context("spawn").Process(target=watch, args=(options.hosts,))
    watcher.start()
    time.sleep(1.0)  # so that the watcher sees more than the end of it
    for value in VALUES:
        client.retry(client.set, SETTING, value.encode())
        time.sleep(0.1)
    watcher.join()
    client.stop()
    return 0 if watcher.exitcode == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
