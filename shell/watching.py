"""What one-shot watches tell, once they fire: on stderr, whatever is going on then."""

import zabpy
from zabpy.client import Changed, ChildrenChanged, Created, Deleted, Event, Fired, SessionLostError

from .shell import Shell

#: What happened, in words and in JSON.
WORDS: dict[type[Event], str] = {
    Created: "created",
    Changed: "changed",
    Deleted: "deleted",
    ChildrenChanged: "children changed",
}


def tell_of_one(shell: Shell, zk: zabpy.Client, fired: Fired) -> None:
    """Tell of a one-shot watch's event when it comes, though its command has long ended."""
    zk.background(_tell_of_one, shell, fired)


async def _tell_of_one(shell: Shell, fired: Fired) -> None:
    try:
        event = await fired.wait()
        text = f"watch: {event.path}: {WORDS[type(event)]}"
    except SessionLostError as error:
        text = f"watch: {error}"
    try:
        await shell.out.tell(text)
    except OSError:
        pass  # nobody reads what we say
