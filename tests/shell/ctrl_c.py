"""What runs in tests until Ctrl-C: python -I -S ctrl_c.py STATUS

Not a line of sh, because dash may lose a Ctrl-C that comes while it starts a program.
"""

import signal
import sys

if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    print("ready", flush=True)
    signal.sigwait({signal.SIGINT})
    print("caught", flush=True)
    sys.exit(int(sys.argv[1]))
