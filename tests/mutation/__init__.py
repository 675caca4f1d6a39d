"""``python -m tests.mutation``: one line of the core changed at a time; whether anything notices. See __main__.py."""
