"""Clients that others wrote, as programs of their own, against real servers.

Each client is a program that takes a command a line on its standard input and answers with a line, ``ok …`` or
``error CODE``; in between it may say ``event PATH`` (programs.py). Debian's two command line clients are driven as they
are. What a client says is checked by a second client, kazoo, that looks at the same znodes.

A client that is not installed is skipped, with what to install: `make interop` runs these tests and those against
Apache's server alone.
"""
