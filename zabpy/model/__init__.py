"""The words. Frozen values that every folder speaks in.

May import: nothing of ours.
Imported by: everybody, through the names below.
"""

from .acl import (
    ADMIN as ADMIN,
    ALL as ALL,
    CREATE as CREATE,
    CREATOR_ALL_ACL as CREATOR_ALL_ACL,
    DELETE as DELETE,
    OPEN_ACL as OPEN_ACL,
    READ as READ,
    READ_ACL as READ_ACL,
    WRITE as WRITE,
    Acl as Acl,
    Acls as Acls,
    Identity as Identity,
    creator_acl as creator_acl,
    digest_acl as digest_acl,
    digest_id as digest_id,
    ip_acl as ip_acl,
    perms_of as perms_of,
    sasl_acl as sasl_acl,
    world_acl as world_acl,
    x509_acl as x509_acl,
)
from .entry import (
    NO_CHAIN as NO_CHAIN,
    NO_TIP as NO_TIP,
    Entry as Entry,
    Tip as Tip,
    chain_of as chain_of,
    entry_after as entry_after,
)
from .errors import (
    ERRORS as ERRORS,
    AuthFailedError as AuthFailedError,
    BadArgumentsError as BadArgumentsError,
    BadVersionError as BadVersionError,
    CodeError as CodeError,
    EphemeralOnLocalSessionError as EphemeralOnLocalSessionError,
    InvalidAclError as InvalidAclError,
    MarshallingError as MarshallingError,
    NewConfigNoQuorumError as NewConfigNoQuorumError,
    NoAuthError as NoAuthError,
    NoChildrenForEphemeralsError as NoChildrenForEphemeralsError,
    NodeExistsError as NodeExistsError,
    NoNodeError as NoNodeError,
    NotEmptyError as NotEmptyError,
    NotReadOnlyError as NotReadOnlyError,
    NoWatcherError as NoWatcherError,
    QuotaExceededError as QuotaExceededError,
    ReconfigDisabledError as ReconfigDisabledError,
    RuntimeInconsistencyError as RuntimeInconsistencyError,
    SessionExpiredError as SessionExpiredError,
    SessionMovedError as SessionMovedError,
    ThrottledError as ThrottledError,
    UnimplementedError as UnimplementedError,
    UnknownSessionError as UnknownSessionError,
    ZabpyError as ZabpyError,
)
from .members import (
    LOOPBACK as LOOPBACK,
    Member as Member,
    Members as Members,
    host_of as host_of,
    is_loopback as is_loopback,
    members_text as members_text,
    parse_member as parse_member,
    parse_members as parse_members,
    whole as whole,
)
from .paths import join as join, name_of as name_of, parent_of as parent_of, validate as validate
from .request import (
    LOCAL_SESSION as LOCAL_SESSION,
    Request as Request,
    make_request_id as make_request_id,
    origin_of as origin_of,
)
from .stat import STAT_STRUCT as STAT_STRUCT, Stat as Stat
from .txns import (
    CONTAINER as CONTAINER,
    EPHEMERAL as EPHEMERAL,
    PERSISTENT as PERSISTENT,
    TTL as TTL,
    Body as Body,
    CheckTxn as CheckTxn,
    CloseSessionTxn as CloseSessionTxn,
    CreateSessionTxn as CreateSessionTxn,
    CreateTxn as CreateTxn,
    DeleteTxn as DeleteTxn,
    ErrorTxn as ErrorTxn,
    FailedMultiTxn as FailedMultiTxn,
    MultiTxn as MultiTxn,
    ReconfigTxn as ReconfigTxn,
    SetAclTxn as SetAclTxn,
    SetDataTxn as SetDataTxn,
    Txn as Txn,
)
from .zxid import (
    COUNTER_HANDOVER as COUNTER_HANDOVER,
    COUNTER_MAX as COUNTER_MAX,
    EPOCH_MAX as EPOCH_MAX,
    NO_ZXID as NO_ZXID,
    Zxid as Zxid,
    counter_of as counter_of,
    epoch_of as epoch_of,
    make_zxid as make_zxid,
    succeeds as succeeds,
    zxid_text as zxid_text,
)
