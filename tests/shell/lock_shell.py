"""A shell whose sessions have another timeout: python -m tests.shell.lock_shell SERVERS TIMEOUT_MS LINE..."""

import sys

from shell.oneshot import Script, Work, run
from shell.settings import Settings

if __name__ == "__main__":
    servers, timeout_ms, *lines = sys.argv[1:]
    settings = Settings(servers, client={"session_timeout_ms": int(timeout_ms)})
    sys.exit(run(settings, Work(scripts=tuple(Script("", line) for line in lines))))
