"""Two processes contend for a lock.

Each adds one to a counter in a znode, many times: it reads, thinks for a moment, and writes back without asking whether
somebody else wrote meanwhile. Only the lock keeps the two from losing each other's additions.
"""

import argparse
import multiprocessing
import os
import sys
import time

from kazoo.client import KazooClient

HOSTS = "127.0.0.1:2181,127.0.0.1:2182,127.0.0.1:2183"
LOCK, COUNTER = "/examples/lock/turn", "/examples/lock/counter"


def add(hosts: str, times: int) -> None:
    client = KazooClient(hosts=hosts, timeout=10.0)
    client.start(timeout=30)
    for _ in range(times):
        with client.Lock(LOCK, f"process {os.getpid()}"):
            # A retry is safe: the value we write does not depend on whether an earlier try arrived.
            value = int(client.retry(client.get, COUNTER)[0])
            time.sleep(0.01)
            client.retry(client.set, COUNTER, b"%d" % (value + 1))
            print(f"process {os.getpid()}: {value} -> {value + 1}", flush=True)
    client.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", default=HOSTS)
    parser.add_argument("--times", type=int, default=20, help="additions by each process")
    options = parser.parse_args()
    client = KazooClient(hosts=options.hosts, timeout=10.0)
    client.start(timeout=30)
    client.ensure_path(COUNTER)
    client.set(COUNTER, b"0")
    spawn = multiprocessing.get_context("spawn")
    workers = [spawn.Process(target=add, args=(options.hosts, options.times)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    counted = int(client.retry(client.get, COUNTER)[0])
    client.stop()
    expected = 2 * options.times
    print(f"counter: {counted}, expected: {expected}")
    return 0 if counted == expected and not any(worker.exitcode for worker in workers) else 1


if __name__ == "__main__":
    sys.exit(main())
