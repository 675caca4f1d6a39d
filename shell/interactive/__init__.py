"""The shell at a terminal, on prompt_toolkit: loaded only there."""

from ..settings import Settings


def interact(settings: Settings) -> int:
    """Read lines and run them until the person leaves; what the process is to end with."""
    raise NotImplementedError
