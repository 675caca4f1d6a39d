"""zabpy: a coordination service that any ZooKeeper client works on, in Python.

    async with zabpy.connect("127.0.0.1:2181") as zk:
        await zk.create("/greeting", b"hello")

May import: zabpy.recipes, zabpy.client and zabpy.model, and those only once a name of theirs is asked for: for ``zabpy
serve`` needs none of them and is to start at once.
Imported by: users, who need nothing below this folder but `zabpy.recipes`, `zabpy.blocking` and `zabpy.testing`.
Read README.md first: its tour names the files in the order to read them.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zabpy.client import (
        TLS as TLS,
        Changed as Changed,
        ChildrenChanged as ChildrenChanged,
        ClientError as ClientError,
        ClosedClientError as ClosedClientError,
        ConnectionLossError as ConnectionLossError,
        Created as Created,
        Deleted as Deleted,
        Digest as Digest,
        Event as Event,
        ForkedClientError as ForkedClientError,
        NameLostError as NameLostError,
        NoServerError as NoServerError,
        ProtocolError as ProtocolError,
        RequestTooLargeError as RequestTooLargeError,
        Resynced as Resynced,
        Scram as Scram,
        Session as Session,
        SessionLostError as SessionLostError,
        State as State,
        Transaction as Transaction,
        TransactionFailedError as TransactionFailedError,
        WrongLoopError as WrongLoopError,
    )
    from zabpy.model import (
        CREATOR_ALL_ACL as CREATOR_ALL_ACL,
        OPEN_ACL as OPEN_ACL,
        READ_ACL as READ_ACL,
        Acl as Acl,
        AuthFailedError as AuthFailedError,
        BadArgumentsError as BadArgumentsError,
        BadVersionError as BadVersionError,
        InvalidAclError as InvalidAclError,
        NoAuthError as NoAuthError,
        NoChildrenForEphemeralsError as NoChildrenForEphemeralsError,
        NodeExistsError as NodeExistsError,
        NoNodeError as NoNodeError,
        NotEmptyError as NotEmptyError,
        NotReadOnlyError as NotReadOnlyError,
        QuotaExceededError as QuotaExceededError,
        ReconfigDisabledError as ReconfigDisabledError,
        Stat as Stat,
        UnimplementedError as UnimplementedError,
        ZabpyError as ZabpyError,
        creator_acl as creator_acl,
        digest_acl as digest_acl,
        ip_acl as ip_acl,
        sasl_acl as sasl_acl,
        world_acl as world_acl,
        x509_acl as x509_acl,
    )
    from zabpy.recipes import (
        AcquireTimeoutError as AcquireTimeoutError,
        Client as Client,
        LeadershipLost as LeadershipLost,
        LockLost as LockLost,
        LostError as LostError,
        NotReentrantError as NotReentrantError,
        RecipeError as RecipeError,
        connect as connect,
    )

__version__ = "0.1.0"


#: What users find here. Where each one stands, the imports above tell type checkers, and `__getattr__` whoever asks.
__all__ = [
    "Acl",
    "AcquireTimeoutError",
    "AuthFailedError",
    "BadArgumentsError",
    "BadVersionError",
    "CREATOR_ALL_ACL",
    "Changed",
    "ChildrenChanged",
    "Client",
    "ClientError",
    "ClosedClientError",
    "ConnectionLossError",
    "Created",
    "Deleted",
    "Digest",
    "Event",
    "ForkedClientError",
    "InvalidAclError",
    "LeadershipLost",
    "LockLost",
    "LostError",
    "NameLostError",
    "NoAuthError",
    "NoChildrenForEphemeralsError",
    "NoNodeError",
    "NoServerError",
    "NodeExistsError",
    "NotEmptyError",
    "NotReadOnlyError",
    "NotReentrantError",
    "OPEN_ACL",
    "ProtocolError",
    "QuotaExceededError",
    "READ_ACL",
    "RecipeError",
    "ReconfigDisabledError",
    "RequestTooLargeError",
    "Resynced",
    "Scram",
    "Session",
    "SessionLostError",
    "Stat",
    "State",
    "TLS",
    "Transaction",
    "TransactionFailedError",
    "UnimplementedError",
    "WrongLoopError",
    "ZabpyError",
    "connect",
    "creator_acl",
    "digest_acl",
    "ip_acl",
    "sasl_acl",
    "world_acl",
    "x509_acl",
]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'zabpy' has no attribute {name!r}")
    import zabpy.client
    import zabpy.model

    # Client and connect are those of the recipes, which have a method for each recipe. Who asks for none of theirs, and
    # uses zabpy.client's, does not load them.
    folders = [zabpy.client, zabpy.model]
    if name in ("Client", "connect") or not any(hasattr(folder, name) for folder in folders):
        import zabpy.recipes

        folders = [zabpy.recipes]
    globals()[name] = found = next(getattr(folder, name) for folder in folders if hasattr(folder, name))
    return found
