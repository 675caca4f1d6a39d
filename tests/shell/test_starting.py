"""What a command loads before it does anything: a start is to be felt by nobody, and every module costs some of it."""

import subprocess
import sys

#: What is large, and what few commands need. Whoever needs one of them loads it within a function.
LATE = (
    "zabpy.recipes zabpy.server zabpy.wire.zab zabpy.testing trio prompt_toolkit pygments rich yaml cbor2 scramp "
    "tarfile gzip tempfile pickle email http.client tomllib getpass multiprocessing zabpy_shell.interactive"
).split()
RUN = """\
import atexit, sys
atexit.register(lambda: print(*sorted(sys.modules), file=sys.stderr))
from zabpy_shell.main import main
main(sys.argv[1:])
"""


def loaded(*arguments: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", RUN, *arguments], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_a_frequent_command_loads_none_of_what_few_need(hosts: str) -> None:
    found = loaded("-s", hosts, "ls", "/")
    assert "zabpy.client" in found and [module for module in LATE if module in found] == []


def test_all_commands_are_loaded_without_what_few_of_them_need() -> None:
    code = "import sys, zabpy_shell.commands as c; c.load(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    late = {"zabpy.recipes", "zabpy.server", "trio", "prompt_toolkit", "rich", "yaml", "cbor2", "scramp", "pygments"}
    assert set(done.stdout.split()) & late == set()
