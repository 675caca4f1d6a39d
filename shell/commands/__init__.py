"""The commands, a file for each kind. A module of a list here registers what it has when it is loaded."""

from importlib import import_module

MODULES = (
    "general",
    "connecting",
    "walking",
    "reading",
    "finding",
    "comparing",
    "following",
    "writing",
    "removing",
    "access",
    "quota",
    "coordination",
    "txn",
    "zkcli",
    "ensemble",
    "holders",
    "dumping",
    "copying",
    "editing",
    "configuring",
    "doctor",
    "top",
)


def load() -> None:
    """Have all commands registered."""
    for module in MODULES:
        import_module(f"{__name__}.{module}")


#: Where those commands stand that scripts start a process for again and again.
FREQUENT = {
    "ls": "walking",
    "tree": "walking",
    "get": "reading",
    "stat": "reading",
    "exists": "reading",
    "create": "writing",
    "set": "writing",
    "touch": "writing",
    "rm": "removing",
    "find": "finding",
    "grep": "finding",
    "du": "finding",
    "count": "finding",
    "export": "dumping",
    "import": "dumping",
}


def load_for(name: str) -> None:
    """Have this command registered, with others or alone, which takes a tenth of the time."""
    if name in FREQUENT:
        import_module(f"{__name__}.{FREQUENT[name]}")
    else:
        load()
