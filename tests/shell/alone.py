"""What runs under a lock in tests, and finds out whether it is alone: python -I -S alone.py FILE MS

It holds FILE by a lock of the kernel's, which ends with it however it ends, and adds a line to FILE.log.
"""

import fcntl
import os
import sys
import time

if __name__ == "__main__":
    file, ms = sys.argv[1], int(sys.argv[2])
    with open(file, "a") as held:
        try:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            word = "begin"
        except BlockingIOError:
            word = "TWO"
        with open(f"{file}.log", "a") as log:
            log.write(f"{word} {os.environ['ZABPY_TOKEN']} {os.getpid()}\n")
        time.sleep(ms / 1000)
