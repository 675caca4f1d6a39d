"""What is measured under load, a workload a row."""

from typing import NamedTuple


class Workload(NamedTuple):
    """Options of the load generator: what each of ``connections`` asks, with ``in_flight`` requests at a time.

    ``wanted`` is the ratio to Apache's that we have set ourselves, 0 where there is none.
    """

    name: str
    operation: str
    connections: int
    in_flight: int
    value_bytes: int = 100
    reads_percent: int = 90
    wanted: float = 0.0


WORKLOADS: tuple[Workload, ...] = (
    Workload("getData 1 x 1", "get", 1, 1),
    Workload("getData 50 x 1", "get", 50, 1),
    Workload("getData 50 x 20", "get", 50, 20, wanted=2.5),
    Workload("setData 1 x 1", "set", 1, 1),
    Workload("setData 50 x 1", "set", 50, 1),
    Workload("setData 50 x 20", "set", 50, 20, wanted=1.2),
    Workload("90 % getData 50 x 20", "mixed", 50, 20),
)

#: What every system is warmed up with, once as reads and once as writes.
WARMING = Workload("warming up", "set", 50, 20)
