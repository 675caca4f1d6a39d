"""Run the workloads and probes against each system, in turns within one run, and print them side by side.

Systems never run at the same time, and each workload is measured on all of them in turn before the next, in several
rounds of which the median counts: what the machine does besides touches both alike. Figures from different runs, or
of different machines, are not comparable; ratios within one run are.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from statistics import median

from . import probes
from .report import Row, table
from .systems import SYSTEMS, Servers, apache_is_here
from .workloads import WORKLOADS, Workload


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
    options = parser.parse_args(list(arguments))
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
    for workload in WORKLOADS:
        if options.only in workload.name:
            values = _under_load(options, systems, workload, generator)
            rows.append(Row(workload.name, "/s", values, higher_is_better=True, wanted=workload.wanted))
    if options.only in (name := "next write after kill -9 of the leader"):
        values = {}
        for system in systems:
            with Servers(system, 3) as servers:
                probes.first_accepted_write(servers.client_ports.values())
                values |= _rounds(options, name, {system: partial(probes.failover, servers)}, times=3)
        rows.append(Row(name, "s", values, higher_is_better=False, wanted_at_most=0.2))
    return rows


def _under_load(
    options: argparse.Namespace, systems: Sequence[str], workload: Workload, generator: str
) -> dict[str, float]:
    def once(system: str) -> float:
        with Servers(system, 3) as servers:
            for port in servers.client_ports.values():
                probes.first_accepted_write([port])
            where = ",".join(f"127.0.0.1:{port}" for port in servers.client_ports.values())
            command = [
                generator,
                "-s",
                where,
                "-w",
                workload.operation,
                "-t",
                str(options.seconds),
                "-W",
                str(options.warm_up),
            ]
            command += ["-c", str(workload.connections), "-d", str(workload.in_flight)]
            command += ["-z", str(workload.value_bytes), "-r", str(workload.reads_percent), "-K"]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                logs = "\n".join(servers.log_of(i)[-2000:] for i in servers.client_ports)
                sys.exit(f"zabpy bench: {workload.name} on {system}: {done.stdout}{done.stderr}\n{logs}")
            return float(json.loads(done.stdout)["ops_per_s"])

    return _rounds(options, workload.name, {s: partial(once, s) for s in systems})


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
