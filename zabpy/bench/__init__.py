"""``zabpy bench``: how fast servers are, ours or others', with one table of workloads for all of them.

May import: zabpy.model, zabpy.client, zabpy.testing; anyio.
Imported by: zabpy.__main__, inside the subcommand.
Read workloads.py first (a workload a row), then runner.py and report.py.
"""
