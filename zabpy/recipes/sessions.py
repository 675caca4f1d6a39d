"""The session that something is to live in."""

from zabpy.client import Client, Session, SessionLostError


async def current_session(zk: Client) -> Session:
    """The one there is; after a loss the next one, waited for as long as the client waits for a connection.

    Raises:
        NoServerError: no server could be reached.
    """
    while True:
        try:
            return zk.session
        except SessionLostError:
            await zk.exists("/")  # waits for the next one, and says why there is none
