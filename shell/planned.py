"""One write as it was typed: what a transaction is made of, and what ``create``, ``set`` and ``rm`` do at once."""

from dataclasses import dataclass, field
from typing import TypedDict

from zabpy.client import Client, Transaction
from zabpy.model import Acls


class _Create(TypedDict):
    """What a create has besides path and data."""

    acl: Acls | None
    ephemeral: bool
    sequence: bool
    container: bool
    ttl_ms: int | None


@dataclass(frozen=True, slots=True)
class Planned:
    """``operation``: create, set, delete or check. ``version`` -1: any."""

    operation: str
    path: str
    data: bytes = b""
    version: int = -1
    acl: Acls | None = None
    ephemeral: bool = False
    sequence: bool = False
    container: bool = False
    ttl_ms: int | None = None

    def put_into(self, transaction: Transaction) -> None:
        match self.operation:
            case "create":
                transaction.create(self.path, self.data, **self._create)
            case "set":
                transaction.set(self.path, self.data, self.version)
            case "delete":
                transaction.delete(self.path, self.version)
            case _:
                transaction.check(self.path, self.version)

    async def create(self, zk: Client, *, parents: bool = False) -> str:
        """Do this create, exactly once; its path, with the sequence number."""
        made = await zk.create(self.path, self.data, parents=parents, **self._create)
        return made.path

    @property
    def _create(self) -> _Create:
        return _Create(
            acl=self.acl,
            ephemeral=self.ephemeral,
            sequence=self.sequence,
            container=self.container,
            ttl_ms=self.ttl_ms,
        )

    @property
    def kind(self) -> str:
        """``ephemeral sequence``, say; empty for a plain znode."""
        flags = {"ephemeral": self.ephemeral, "sequence": self.sequence, "container": self.container}
        words = [word for word, there in flags.items() if there]
        if self.ttl_ms is not None:
            words.append(f"ttl {self.ttl_ms} ms")
        return " ".join(words)

    def in_words(self) -> str:
        """``set /a at version 3``."""
        where = f"{self.operation} {self.path}"
        if self.kind:
            where += f" ({self.kind})"
        return where if self.version == -1 else f"{where} at version {self.version}"


@dataclass
class Draft:
    """A transaction that is being put together. ``quiet``: nothing is said of what is put in."""

    operations: list[Planned] = field(default_factory=list)
    quiet: bool = False
