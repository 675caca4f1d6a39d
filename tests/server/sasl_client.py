"""The clients' side of DIGEST-MD5, with every directive in the test's hand, and of a whole login."""

from tests.server.raw_client import RawClient, Reply
from zabpy.wire import Op, records as r
from zabpy.wire.digest_md5 import directives, proof, secrets_of


def digest_response(challenge: bytes, name: str, password: str, **changes: str | None) -> tuple[bytes, bytes]:
    """The response, and what the server must say last. ``changes``: directives as they shall stand; None: left out."""
    given = directives(challenge)
    said: dict[str, str | None] = {
        "charset": "utf-8",
        "username": f'"{name}"',
        "realm": f'"{given["realm"].decode()}"',
        "nonce": f'"{given["nonce"].decode()}"',
        "nc": "00000001",
        "cnonce": '"0a4f113b"',
        "digest-uri": '"zookeeper/zk-sasl-md5"',
        "qop": "auth",
        **{name.replace("_", "-"): value for name, value in changes.items()},
    }
    values = {key: value.strip('"').encode() for key, value in said.items() if value is not None}
    realm = values.get("realm", b"").decode()
    needed = {"nonce": b"", "nc": b"", "cnonce": b"", "digest-uri": b"", **values}
    secret = secrets_of(name, password, realm)[0]
    said.setdefault("response", proof(secret, needed, b"AUTHENTICATE:").decode())
    response = ",".join(f"{key}={value}" for key, value in said.items() if value is not None)
    return response.encode(), b"rspauth=" + proof(secret, needed, b":")


def token_of(told: Reply) -> bytes | None:
    size = int.from_bytes(told.body[:4], "big", signed=True)
    return None if size < 0 else told.body[4 : 4 + size]


async def ask_sasl(client: RawClient, token: bytes | None) -> Reply:
    return await client.ask(Op.SASL, r.GetSASLRequest(token))


async def login(client: RawClient, name: str, password: str) -> Reply:
    """By DIGEST-MD5: the last reply, whose proof is looked at."""
    challenge = token_of(await ask_sasl(client, b""))
    assert challenge is not None
    response, last = digest_response(challenge, name, password)
    told = await ask_sasl(client, response)
    if told.err == 0:
        assert token_of(told) in (last, None)
    return told
