"""A leader election that survives the death of the leader's process.

Three processes stand for election. The one that leads says so in a znode; it is killed without a word, and as soon as
its session ends another one leads.
"""

import argparse
import multiprocessing
import os
import sys
import threading
import time

from kazoo.client import KazooClient

HOSTS = "127.0.0.1:2181,127.0.0.1:2182,127.0.0.1:2183"
ELECTION, LEADER = "/examples/election/candidates", "/examples/election/leader"


def stand(hosts: str) -> None:
    client = KazooClient(hosts=hosts, timeout=4.0)
    client.start(timeout=30)

    def lead() -> None:
        client.retry(client.set, LEADER, b"%d" % os.getpid())
        print(f"process {os.getpid()} leads", flush=True)
        threading.Event().wait()

    client.Election(ELECTION, f"process {os.getpid()}").run(lead)


def wait_for_leader(client: KazooClient, among: set[int], seconds: float) -> int:
    """The process that leads, once it is one of these."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        leader = int(client.retry(client.get, LEADER)[0])
        if leader in among:
            return leader
        time.sleep(0.05)
    raise TimeoutError(f"none of {sorted(among)} leads after {seconds} s")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hosts", default=HOSTS)
    options = parser.parse_args()
    client = KazooClient(hosts=options.hosts, timeout=10.0)
    client.start(timeout=30)
    client.ensure_path(LEADER)
    client.set(LEADER, b"0")
    spawn = multiprocessing.get_context("spawn")
    candidates = [spawn.Process(target=stand, args=(options.hosts,)) for _ in range(3)]
    for candidate in candidates:
        candidate.start()
    by_pid = {candidate.pid or 0: candidate for candidate in candidates}
    try:
        first = wait_for_leader(client, set(by_pid), 30)
        by_pid.pop(first).kill()
        killed = time.monotonic()
        print(f"killed process {first}")
        second = wait_for_leader(client, set(by_pid), 30)
        print(f"process {second} leads {time.monotonic() - killed:.1f} s later")
    finally:
        for candidate in candidates:
            candidate.kill()
        client.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
