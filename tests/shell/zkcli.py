"""zkCli.sh's commands, a line or more for each, as they are typed there and here: the table.

``tests/shell/test_zkcli.py`` types them into our shell; ``tests/interop/test_zkcli_lines.py`` into Apache's and ours,
and compares what both say and leave behind.
"""

from typing import NamedTuple

#: What `help` of zkCli.sh 3.8 lists, and what it knows besides from earlier days (the last two).
COMMANDS = (
    "addWatch addauth close config connect create delete deleteall delquota get getAcl getAllChildrenNumber "
    "getEphemerals history listquota ls printwatches quit reconfig redo removewatches set setAcl setquota stat sync "
    "version whoami"
).split()

#: The stat of a znode, whose names are in other cases here and there.
STAT = ("czxid", "mzxid", "pzxid", "ephemeral.?owner", "data.?length")


class Case(NamedTuple):
    """``line`` is typed; ``says`` are patterns of which each is found in what is then printed, there and here.
    ``fails``: here with that status."""

    line: str
    says: tuple[str, ...] = ()
    fails: int = 0


#: They run in this order, in one session, in an empty tree.
CASES = [
    Case("create /a one", (r"/a\b",)),
    Case("create /a one", ("exists",), 3),
    Case("create /a/b", (r"/a/b\b",)),
    Case("create -s /a/s- x", (r"/a/s-0000000001",)),
    Case("create -e /a/e x", (r"/a/e\b",)),
    Case("create -s -e /a/se- x", (r"/a/se-0000000003",)),
    Case("create -c /c", (r"/c\b",)),
    Case("create /acl x world:anyone:cdrwa,ip:127.0.0.1:r", (r"/acl\b",)),
    Case("create /quoted 'two words'", (r"/quoted\b",)),
    Case("create /none/x", ("/none",), 1),
    Case("ls /", (r"\ba\b", r"\bc\b", r"\bacl\b", r"\bquoted\b")),
    Case("ls -s /a", (r"\bb\b", *STAT)),
    Case("ls -R /a", (r"/a\n", r"/a/b\n", r"/a/se-0000000003\n")),
    Case("ls /none", ("/none",), 1),
    Case("get /a", (r"\bone\b",)),
    Case("get -s /a", (r"\bone\b", *STAT)),
    Case("get /quoted", ("two words",)),
    Case("get /none", ("/none",), 1),
    Case("get -w /a", (r"\bone\b",)),
    Case("set /a two"),
    Case("stat /a", (*STAT, r"version *=? *1\b")),
    Case("stat -w /a", STAT),
    Case("stat /none", ("/none",), 1),
    Case("set -s /a three", STAT),
    Case("set -v 2 /a four"),
    Case("set -v 2 /a five", ("version",), 3),
    Case("set /none x", ("/none",), 1),
    Case("ls -w /a", (r"\bb\b",)),
    Case("sync /a", ("ok|zxid",)),
    Case("getAcl /acl", ("world", "anyone", r"cdrwa", "ip", r"127\.0\.0\.1", r"\br\b")),
    Case("getAcl -s /acl", ("world", *STAT)),
    Case("setAcl /acl world:anyone:cdra"),
    Case("getAcl /acl", (r"cdra\b",)),
    Case("setAcl -s -v 1 /acl world:anyone:rwa", STAT),
    Case("setAcl -v 1 /acl world:anyone:r", ("version",), 3),
    Case("setAcl -R /a world:anyone:cdrwa"),
    Case("addauth digest ann:secret"),
    Case("create /mine x auth::cdrwa", (r"/mine\b",)),
    Case("getAcl /mine", ("digest", "ann")),
    Case("whoami", ("ip", r"127\.0\.0\.1", "digest", "ann")),
    Case("getAllChildrenNumber /a", (r"\b4\b",)),
    Case("getEphemerals", (r"/a/e\b", r"/a/se-0000000003")),
    Case("getEphemerals /a/s"),  # under a chroot zkCli.sh forgets to put it before the prefix, and finds nothing
    Case("setquota -n 10 /a"),
    Case("setquota -B 2000 /a"),
    Case("listquota /a", (r"\b10\b", r"\b2000\b")),
    Case("setquota -n 10 /a/b", ("/a",), 3),
    Case("delquota -n /a"),
    Case("listquota /a", (r"\b2000\b",)),
    Case("delquota /a"),
    Case("addWatch /a"),
    Case("addWatch -m PERSISTENT /c"),
    Case("create /a/w", (r"/a/w\b",)),
    Case("removewatches /a"),
    Case("removewatches /nowhere", (r"/nowhere|watch",), 1),
    Case("printwatches off"),
    Case("printwatches", ("printwatches is off",)),
    Case("printwatches on"),
    Case("delete /a", ("not empty|has children",), 3),
    Case("delete -v 7 /a/w", ("version",), 3),
    Case("delete -v 0 /a/w"),
    Case("delete /none", ("/none",), 1),
    Case("create /d", (r"/d\b",)),
    Case("create /d/e", (r"/d/e\b",)),
    Case("create /d/e/f", (r"/d/e/f\b",)),
    Case("deleteall /d"),
    Case("deleteall /none", ("/none",), 1),
    Case("config"),
    Case("config -c"),
    Case("reconfig -remove 9", ("reconfig",), 2),
    Case("version", (r"\d+\.\d+",)),
    Case("history", (r"version",)),
    Case("redo 10", (r"\ba\b", r"\bc\b")),
    Case("close"),
    Case("quit"),
]
