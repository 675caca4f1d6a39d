"""Lines that show how a command is used, for its help. Each can be typed as it stands."""

EXAMPLES: dict[str, tuple[str, ...]] = {
    "cd": ("cd /app", "cd ..", "cd -"),
    "exit": ("exit", "exit 1"),
    "help": ("help ls",),
    "option": ("option output json", "option read_only on"),
    "repeat": ("repeat --every 1s 10 ls /app",),
    "time": ("time ls /app",),
}
