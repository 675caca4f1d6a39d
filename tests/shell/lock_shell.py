"""A shell whose sessions have another timeout: python -m tests.shell.lock_shell SERVERS TIMEOUT_MS LINE..."""

import sys

from shell.commands import load
from shell.oneshot import run
from shell.settings import Settings

if __name__ == "__main__":
    load()
    servers, timeout_ms, *lines = sys.argv[1:]
    sys.exit(run(Settings(servers, client={"session_timeout_ms": int(timeout_ms)}), lines))
