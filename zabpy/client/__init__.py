"""The client. Works on zabpy and on Apache ZooKeeper; driven by anyio, so under trio and asyncio alike.

May import: zabpy.model, zabpy.wire; anyio. No trio or asyncio type stands in a public signature.
Imported by: users through `zabpy`, zabpy.recipes, zabpy.blocking, zabpy.bench, the shell.
Empty so far; session.py (without I/O) will be the file to read first.
"""
