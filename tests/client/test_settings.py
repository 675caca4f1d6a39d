import inspect

import zabpy
from zabpy.client import Client, Settings


def test_the_type_of_the_settings_names_what_a_client_takes() -> None:
    taken = inspect.signature(Client.__init__).parameters
    assert list(Settings.__annotations__) == list(taken)[2:]
    assert all(taken[name].default is not inspect.Parameter.empty for name in Settings.__annotations__)


def test_secrets_are_not_shown() -> None:
    settings: Settings = {
        "tls": zabpy.TLS(password=None),
        "sasl": zabpy.Digest("bob", "hunter2"),
        "auth": [("digest", "bob:hunter2")],
    }
    zk = zabpy.connect("h", **settings)
    shown = repr(zk) + repr(vars(zk)) + repr(vars(zk.core)) + repr(zk.core.login.credentials)
    shown += repr(zabpy.Scram("bob", "hunter2")) + repr(zabpy.Digest("bob", "hunter2").begin())
    shown += repr(zabpy.TLS(password="hunter2")) + repr(zabpy.Scram("bob", "hunter2").begin())
    assert "hunter2" not in shown
