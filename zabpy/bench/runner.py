"""Run the workloads and probes against each system, in turns within one run, and print them side by side.

All ensembles are up for the whole run and under load in turns, and each workload is measured on all of them before the
next, in several rounds of which the median counts: what the machine does besides touches both alike. Before the first
measurement each has had writes and reads for a while, because a JVM needs that. Figures from different runs, or of
different machines, are not comparable; ratios within one run are.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from statistics import median

from . import clients, probes
from .report import Row, table
from .systems import SYSTEMS, Servers, apache_is_here
from .workloads import WARMING, WORKLOADS, Workload


def main(arguments: Sequence[str] = ()) -> int:
    """Parse ``zabpy bench``'s own arguments, measure, print; the exit status."""
    parser = argparse.ArgumentParser(prog="zabpy bench", description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=4.0, help="a workload is measured for (default 4)")
    parser.add_argument(
        "--warm-up", type=float, default=10.0, help="seconds of load before (default 10: a JVM needs it)"
    )
    parser.add_argument("--rounds", type=int, default=3, help="the median counts (default 3)")
    parser.add_argument("--only", default="", help="only rows whose name contains this")
    parser.add_argument("--systems", default="", help="only these, e.g. zabpy or Apache or zabpy,Apache")
    parser.add_argument("--clients", action="store_true", help="compare our client with kazoo instead, on our server")
    options = parser.parse_args(list(arguments))
    if options.clients:
        return clients.main(min(options.seconds, 0.5), options.rounds, options.only)
    systems = [system for system in SYSTEMS if not options.systems or system in options.systems.split(",")]
    if "Apache" in systems and not apache_is_here():
        systems.remove("Apache")
        print("Apache ZooKeeper is not measured: it needs java and Debian's package libzookeeper-java.\n")
    directory = tempfile.mkdtemp(prefix="zabpy-bench-")
    try:
        rows = list(measure(options, systems, _generator(directory)))
    finally:
        shutil.rmtree(directory)
    print(f"\n{os.cpu_count()} cores, {options.rounds} rounds, medians; servers and load on the same machine\n")
    print(table(rows, systems))
    return 0


def measure(options: argparse.Namespace, systems: Sequence[str], generator: str) -> list[Row]:
    """Every row, each measured on all systems in turn."""
    rows: list[Row] = []
    if options.only in (name := "first write after the start of one server"):
        values = _rounds(options, name, {s: partial(probes.start_to_first_write, s) for s in systems})
        rows.append(Row(name, "s", values, higher_is_better=False, wanted_at_most=0.6))
    with ExitStack() as stack:
        ensembles = {system: stack.enter_context(Servers(system, 3)) for system in systems}
        for servers in ensembles.values():
            for port in servers.client_ports.values():
                probes.first_accepted_write([port])
        workloads = [workload for workload in WORKLOADS if options.only in workload.name]
        if workloads:
            for servers in ensembles.values():
                for warming in (WARMING._replace(operation="set"), WARMING._replace(operation="get")):
                    _load(servers, warming, generator, options.warm_up / 2)
        for workload in workloads:
            once = {
                s: partial(_load, servers, workload, generator, options.seconds) for s, servers in ensembles.items()
            }
            values = _rounds(options, workload.name, once)
            rows.append(Row(workload.name, "/s", values, higher_is_better=True, wanted=workload.wanted))
        if options.only in (name := "next write after kill -9 of the leader"):
            values = _rounds(options, name, {s: partial(probes.failover, ensembles[s]) for s in systems}, times=3)
            rows.append(Row(name, "s", values, higher_is_better=False, wanted_at_most=0.2))
    return rows


def _load(servers: Servers, workload: Workload, generator: str, seconds: float) -> float:
    """Operations a second, all servers together."""
    where = ",".join(f"127.0.0.1:{port}" for port in servers.client_ports.values())
    command = [generator, "-s", where, "-w", workload.operation, "-t", str(seconds), "-W", "1", "-K"]
    command += ["-c", str(workload.connections), "-d", str(workload.in_flight)]
    command += ["-z", str(workload.value_bytes), "-r", str(workload.reads_percent)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        logs = "\n".join(servers.log_of(i)[-2000:] for i in servers.client_ports)
        sys.exit(f"zabpy bench: {workload.name} on {servers.system}: {done.stdout}{done.stderr}\n{logs}")
    return float(json.loads(done.stdout)["ops_per_s"])


def _rounds(
    options: argparse.Namespace, name: str, once: Mapping[str, Callable[[], float]], times: int = 1
) -> dict[str, float]:
    """The median by system; systems take turns."""
    seen: dict[str, list[float]] = {system: [] for system in once}
    for number in range(options.rounds * times):
        for system, measured in once.items():
            seen[system].append(measured())
            print(f"{name}, {system}, round {number + 1}: {seen[system][-1]:,.3f}", file=sys.stderr, flush=True)
    return {system: median(values) for system, values in seen.items()}


def _generator(directory: str) -> str:
    """Compile the load generator."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        sys.exit("zabpy bench: the load generator needs a C compiler (cc, gcc or clang)")
    program = os.path.join(directory, "zkload")
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "zkload.c")
    subprocess.run([compiler, "-O2", "-w", "-o", program, source], check=True)
    return program
