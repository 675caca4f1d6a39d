"""Recipes: locks, elections, queues, barriers and the like, made of a client's public methods and nothing else.

May import: zabpy.model, zabpy.client; anyio.
Imported by: users, zabpy.blocking, the shell.
Empty so far; lock.py will be the file to read first.
"""
