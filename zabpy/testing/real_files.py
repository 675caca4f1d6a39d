"""Files of this machine for a server that can be killed without its process: what it had open is closed for it."""

from zabpy.storage import OsFiles
from zabpy.storage.files import OsFile, OsLock


class RealFiles(OsFiles):
    """The file system, and what one server has open in it."""

    def __init__(self) -> None:
        self._open: list[OsFile | OsLock] = []

    def lock(self, path: str) -> OsLock:
        lock = super().lock(path)
        self._open.append(lock)
        return lock

    def open(self, path: str, *, create: bool = False) -> OsFile:
        self._open = [each for each in self._open if not each.closed]
        file = super().open(path, create=create)
        self._open.append(file)
        return file

    def kill(self) -> None:
        """To be called when the server that used these is gone. What it had written stays, synced or not."""
        for each in self._open:
            if not each.closed:
                each.close()
        self._open.clear()
