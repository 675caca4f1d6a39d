"""The names of all commands, for what must know them before any is loaded: a profile that forbids some.

tests/shell/test_guard_rails.py holds this to be what the commands say of themselves.
"""

#: Commands that have other names, or spellings with a page of their own; to forbid one is to forbid all.
SPELLINGS = {
    "acl": "getAcl setAcl",
    "auth": "addauth",
    "count": "getAllChildrenNumber",
    "exit": "quit",
    "get": "cat",
    "help": "?",
    "ls": "ls2",
    "quota": "listquota setquota delquota",
    "rm": "delete deleteall rmr",
    "watch": "follow addWatch",
    "whoami": "whoAmI",
}
#: All others.
PLAIN = """
4lw abort barrier begin cd cfg check close commit conf config connect cons cp create crst diff dirs doctor du dump
echo edit elect elections envi ephemerals exists export find getEphemerals grep gtmk hash history import isro lock
locks mntr mv option printwatches profiles pwd reconfig redo removewatches repeat ruok semaphore sessions set sleep
srst srvr stat status sync tail time top touch tree txn version watches wchc wchp wchs
"""
#: Every name, and the command that it stands for.
COMMANDS = {
    **{name: name for name in PLAIN.split()},
    **{each: name for name, others in SPELLINGS.items() for each in (name, *others.split())},
}
_BY_LOWER = {each.lower(): name for each, name in COMMANDS.items()}


def command_named(name: str) -> str:
    """The command that a name stands for, in whatever capitals; one that is not known stands for itself."""
    return _BY_LOWER.get(name.lower(), name.lower())


def is_known(name: str) -> bool:
    return name.lower() in _BY_LOWER
