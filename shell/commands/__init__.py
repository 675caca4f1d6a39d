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
    "doctor",
    "top",
)


def load() -> None:
    """Have all commands registered."""
    for module in MODULES:
        import_module(f"{__name__}.{module}")
