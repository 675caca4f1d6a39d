"""zabpy: a coordination service that any ZooKeeper client works on, in Python.

May import: nothing of ours when it is itself imported, so that ``zabpy serve`` starts at once.
Imported by: users, who need nothing below this folder but `zabpy.recipes`, `zabpy.blocking` and `zabpy.testing`.
Read README.md first: its tour names the files in the order to read them.
"""

__version__ = "0.1.0"
