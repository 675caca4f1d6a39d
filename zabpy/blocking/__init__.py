"""The same client and recipes for code that does not wait with ``await``: scripts, web workers, notebooks.

May import: zabpy.model, zabpy.client, zabpy.recipes; anyio. Threads only in portal.py.
Imported by: users.
Empty so far; portal.py (an event loop in one thread) will be the file to read first.
"""
