"""``zabpy bench``: how fast servers are, ours and Apache's side by side, with one table of workloads for both.

May import: zabpy.model, zabpy.client, zabpy.recipes, zabpy.blocking, zabpy.testing; anyio; kazoo to compare with.
Imported by: zabpy.__main__, inside the subcommand.
Read workloads.py first (a workload a row), then systems.py (what is measured), probes.py (single writes with a clock),
runner.py and report.py. zkload.c is the load generator; it is compiled when it is first needed. clients.py is a bench
besides: our client and kazoo on one server.
"""
