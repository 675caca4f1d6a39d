"""Who of several gets which of many things: the same answer everywhere, loads as equal as can be, few things moved.

Rendezvous hashing (Thaler and Ravishankar, 1998) with a bound on the load: of all pairs of member and item the one with
the highest score is matched first, as long as the member has room. That is the one stable matching of the pairs (Gale
and Shapley), so an item is moved only if a member came or went with whom it scores higher, or a place that it was
crowded out of became free.
"""

from collections.abc import Iterable
from hashlib import blake2b


def share_out(members: Iterable[str], items: Iterable[str]) -> dict[str, str]:
    """Each item's member; empty without members. Nobody has more than one item more than another.

    The order and the repetitions of what is given do not matter. Takes a hash a pair: 100 members and 1,000 items are
    100,000 hashes, a fifth of a second. When a member more comes to ``m``, ``n / (m + 1)`` of ``n`` items have to move;
    this moves, on average, at most 1.7 times as many.
    """
    members, items = sorted(set(members)), sorted(set(items))
    if not members:
        return {}
    least, extra = divmod(len(items), len(members))
    pairs = sorted(((_score(member, item), item, member) for member in members for item in items), reverse=True)
    load = dict.fromkeys(members, 0)
    owners: dict[str, str] = {}
    for _, item, member in pairs:
        if item in owners or load[member] > least or (load[member] == least and not extra):
            continue
        extra -= load[member] == least  # one of the few that have one more
        load[member] += 1
        owners[item] = member
    return owners


def _score(member: str, item: str) -> bytes:
    # The length keeps ("ab", "c") and ("a", "bc") apart.
    return blake2b(f"{len(member)} {member}{item}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
