"""Values that the servers, their disks and whoever may read the tree cannot read: encrypted before they leave us.

    keys = Keyring.load("file:/etc/app/keys")
    secrets = Secrets(keys, "/config/app")
    text = secrets.conceal("default", "db.password", "hunter2")     # "!enc 1:k1:..."
    Config.open(zk, "/config/app", reveal=secrets.reveal)

**How.** Each value has a data key of its own, made by chance, and is encrypted with it (AES-256-GCM). The data key is
encrypted with a key-encryption key, which has an id and never is in the store, and stands beside the value:

    !enc 1:<id of the key>:<base64url of: nonce, data key + tag, nonce, value + tag>

**Bound to its place.** Namespace, layer and key of the value are authenticated with it, and the id of the key is with
the data key: who may write to the tree can change a value or delete it, but cannot have one read at another place.
That is a place by name: the namespace's path as it is without a chroot. An encrypted value that is moved, or renamed,
has to be encrypted anew. Within one document it can be moved, for a document is one key. An older value of the same
place can be put back: what guards against that is who may write.

**Rotation.** `Secrets.rotated` wraps the data keys of all values anew, with the current key; what the values are is not
looked at. It is a commit as any other; after it, and when no older revision is of interest, the older key may go.

**Where keys come from**: ``file:PATH`` (of ours or root's, mode 0600 or less), ``env:NAME``, ``command:LINE`` (what it
prints). In each the same text: a line a key, its id and 32 bytes in base64; the first one is the current one.
"""

import base64
import binascii
import os
import re
import shlex
import stat
import subprocess
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from .errors import ConfigError
from .values import ENCRYPTED

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES: Final = 32
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
#: A command that prints keys is given so long.
COMMAND_TIMEOUT_S: Final = 30
#: Of a keyring: more than anybody has.
SOURCE_BYTES_MAX: Final = 64 * 1024

KEY_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TEXT: Final = re.compile(r"!enc 1:([A-Za-z0-9][A-Za-z0-9._-]{0,63}):([A-Za-z0-9_-]+)")
#: Within a document, where YAML may have it with a tag of its own.
_WITHIN: Final = re.compile(r"(!enc[ \t]+[\"']?)(1:[A-Za-z0-9][A-Za-z0-9._-]{0,63}:[A-Za-z0-9_-]+)")


class SecretError(ConfigError, ValueError):
    """A value cannot be encrypted or decrypted. No message of these says what it is, or a key."""


class UnknownKeyError(SecretError):
    """It was encrypted with a key that is not at hand: ``key_id``."""

    def __init__(self, key_id: str, known: tuple[str, ...]) -> None:
        self.key_id, self.known = key_id, known
        super().__init__(f"it is encrypted with the key {key_id!r}, and at hand are only: {', '.join(known)}")

    def __reduce__(self) -> tuple[Any, ...]:
        return (type(self), (self.key_id, self.known))


class KeySourceError(ConfigError):
    """The keys themselves are not to be had, or are not fit to be used."""


class Keyring:
    """Key-encryption keys by id; ``current`` encrypts, all decrypt. Its ``repr`` has the ids only."""

    def __init__(self, keys: Mapping[str, bytes], current: str) -> None:
        for key_id, key in keys.items():
            if not KEY_ID.fullmatch(key_id):
                raise KeySourceError(f"{key_id!r} is no id of a key: letters, digits, dots, - and _, 64 at most")
            if len(key) != KEY_BYTES:
                raise KeySourceError(f"the key {key_id!r} has {len(key)} bytes, where {KEY_BYTES} are needed")
        if current not in keys:
            raise KeySourceError(f"the current key {current!r} is not among the keys")
        self._keys, self.current = dict(keys), current

    def __repr__(self) -> str:
        return f"<Keyring {', '.join(self.ids)}>"

    @property
    def ids(self) -> tuple[str, ...]:
        """The current one first."""
        return (self.current, *(each for each in self._keys if each != self.current))

    def key(self, key_id: str) -> bytes:
        """Raises `UnknownKeyError`."""
        if key_id not in self._keys:
            raise UnknownKeyError(key_id, self.ids)
        return self._keys[key_id]

    @classmethod
    def load(cls, source: str) -> "Keyring":
        """The keys of ``file:PATH``, ``env:NAME`` or ``command:LINE``. Blocks.

        Raises:
            KeySourceError: why they are not to be had, and which line is wrong. It shows nothing of a key.
        """
        kind, _, what = source.partition(":")
        if kind not in SOURCES or not what:
            raise KeySourceError(f"keys from {kind!r}: expected file:PATH, env:NAME or command:LINE")
        where = f"command:{shlex.split(what)[0]}" if kind == "command" and what.split() else source
        return cls.parse(SOURCES[kind](what), where)

    @classmethod
    def parse(cls, text: str, where: str) -> "Keyring":
        """Lines of an id and 32 bytes in base64; empty ones, and what begins with #, say nothing."""
        keys: dict[str, bytes] = {}
        for number, line in enumerate(text.splitlines(), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if len(words) != 2 or not KEY_ID.fullmatch(words[0]):
                raise KeySourceError(f"{where}: line {number}: expected the id of a key, and the key in base64")
            try:
                key = base64.b64decode(words[1], altchars=b"-_" if set(words[1]) & set("-_") else None, validate=True)
            except binascii.Error:
                raise KeySourceError(f"{where}: line {number}: the key {words[0]!r} is no base64") from None
            if len(key) != KEY_BYTES:
                reason = f"the key {words[0]!r} has {len(key)} bytes, where {KEY_BYTES} are needed"
                raise KeySourceError(f"{where}: line {number}: {reason}")
            if words[0] in keys:
                raise KeySourceError(f"{where}: line {number}: the key {words[0]!r} stands there twice")
            keys[words[0]] = key
        if not keys:
            raise KeySourceError(f"{where}: there is no key in it")
        return cls(keys, next(iter(keys)))


class Secrets:
    """Encrypts and decrypts the values of one namespace."""

    def __init__(self, keys: Keyring, namespace: str) -> None:
        self.keys, self.namespace = keys, namespace

    def conceal(self, layer: str, key: str, text: str) -> str:
        """The text, encrypted for this place and no other. Raises `SecretError` for what is no Unicode."""
        try:
            data = text.encode()
        except UnicodeEncodeError:
            raise SecretError("it is no Unicode text") from None
        place, key_id = self._place(layer, key), self.keys.current
        data_key, nonce = os.urandom(KEY_BYTES), os.urandom(NONCE_BYTES)
        sealed = nonce + _aes(data_key).encrypt(nonce, data, place)
        return _text(key_id, self._wrapped(key_id, data_key, place) + sealed)

    def reveal(self, layer: str, key: str, text: str) -> str:
        """What was encrypted for this place. A `zabpy.config.layers.Reveal`.

        Raises:
            UnknownKeyError: with a key that is not at hand.
            SecretError: it was changed, or is for another place.
        """
        data_key, sealed, place = self._opened(layer, key, text)
        try:
            return _aes(data_key).decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], place).decode()
        except (_invalid_tag(), UnicodeDecodeError):
            raise SecretError(
                f"it was changed since it was encrypted, or was not for {self._spelt(layer, key)}"
            ) from None

    def rewrapped(self, layer: str, key: str, text: str) -> str:
        """The same value, its data key encrypted with the current key. As it is, if it is so already."""
        if _parts(text)[0] == self.keys.current:
            return text
        data_key, sealed, place = self._opened(layer, key, text)
        return _text(self.keys.current, self._wrapped(self.keys.current, data_key, place) + sealed)

    def rotated(self, entries: Mapping[tuple[str, str], bytes]) -> dict[tuple[str, str], bytes]:
        """Those entries, (layer, key) → value, that are others with the current key; in documents, too.

        Raises:
            SecretError: one cannot be unwrapped; layer and key are named. Nothing is to be changed then.
        """
        found = {}
        for (layer, key), data in entries.items():
            text = data.decode("utf-8", "surrogateescape")

            def again(match: re.Match[str], layer: str = layer, key: str = key) -> str:
                return match[1] + self.rewrapped(layer, key, ENCRYPTED + match[2]).removeprefix(ENCRYPTED)

            try:
                renewed = _WITHIN.sub(again, text)
            except SecretError as error:
                raise SecretError(f"{key} (layer {layer}): {error}") from None
            if renewed != text:
                found[layer, key] = renewed.encode("utf-8", "surrogateescape")
        return found

    def _opened(self, layer: str, key: str, text: str) -> tuple[bytes, bytes, bytes]:
        """The data key, what it encrypts, and the place."""
        key_id, data = _parts(text)
        place, end = self._place(layer, key), NONCE_BYTES + KEY_BYTES + TAG_BYTES
        wrapping = _aes(self.keys.key(key_id))
        try:
            data_key = wrapping.decrypt(data[:NONCE_BYTES], data[NONCE_BYTES:end], _bound(place, key_id))
        except _invalid_tag():
            reason = f"the key {key_id!r} does not open it: it is another key of that id, or the value was changed"
            raise SecretError(f"{reason}, or was not for {self._spelt(layer, key)}") from None
        return data_key, data[end:], place

    def _wrapped(self, key_id: str, data_key: bytes, place: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + _aes(self.keys.key(key_id)).encrypt(nonce, data_key, _bound(place, key_id))

    def _place(self, layer: str, key: str) -> bytes:
        parts = [b"zabpy.config 1", self.namespace.encode(), layer.encode(), key.encode()]
        return b"".join(len(part).to_bytes(4, "big") + part for part in parts)

    def _spelt(self, layer: str, key: str) -> str:
        return f"{self.namespace} {key} (layer {layer})"


def key_line(key_id: str) -> str:
    """A new key, as a line for a keyring."""
    if not KEY_ID.fullmatch(key_id):
        raise KeySourceError(f"{key_id!r} is no id of a key: letters, digits, dots, - and _, 64 at most")
    return f"{key_id} {base64.b64encode(os.urandom(KEY_BYTES)).decode()}\n"


def key_ids(data: bytes) -> Iterator[str]:
    """The ids of the keys that a value, or a document, needs."""
    for match in _WITHIN.finditer(data.decode("utf-8", "replace")):
        yield match[2].split(":")[1]


def _parts(text: str) -> tuple[str, bytes]:
    found = _TEXT.fullmatch(text)
    if found is None:
        raise SecretError("it is marked as encrypted, and is not: expected !enc 1:KEY-ID:BASE64")
    try:
        data = base64.urlsafe_b64decode(found[2] + "=" * (-len(found[2]) % 4))
    except binascii.Error:
        data = b""
    if len(data) < NONCE_BYTES + KEY_BYTES + TAG_BYTES + NONCE_BYTES + TAG_BYTES:
        raise SecretError("it is marked as encrypted, and is cut short")
    return found[1], data


def _text(key_id: str, data: bytes) -> str:
    return f"{ENCRYPTED}1:{key_id}:{base64.urlsafe_b64encode(data).decode().rstrip('=')}"


def _bound(place: bytes, key_id: str) -> bytes:
    return place + key_id.encode()


def _aes(key: bytes) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def _invalid_tag() -> type[Exception]:
    from cryptography.exceptions import InvalidTag

    return InvalidTag


# Where keys come from -------------------------------------------------------------------------------------------------


def _of_file(name: str) -> str:
    path = os.path.expanduser(name)
    try:
        # One file from here on: what is looked at is what is read. Not for ever, should it be a pipe.
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            found = os.fstat(file.fileno())
            if not stat.S_ISREG(found.st_mode):
                raise KeySourceError(f"{path}: it is no file")
            if found.st_mode & 0o077:
                mode = stat.S_IMODE(found.st_mode)
                raise KeySourceError(f"{path}: others may read or change it (mode {mode:04o}): chmod 600 it")
            if found.st_uid not in (0, os.geteuid()):
                raise KeySourceError(f"{path}: it belongs to somebody else (uid {found.st_uid})")
            return _decoded(file.read(SOURCE_BYTES_MAX + 1), path)
    except OSError as error:
        raise KeySourceError(f"{path}: {error.strerror}") from None


def _of_environment(name: str) -> str:
    if name not in os.environ:
        raise KeySourceError(f"env:{name}: there is no such variable")
    return os.environ[name].replace(";", "\n")


def _of_command(line: str) -> str:
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise KeySourceError(f"command: {error}") from None
    where = f"command:{words[0]}" if words else "command"
    try:
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=COMMAND_TIMEOUT_S, check=False
        )
    except (OSError, IndexError) as error:
        raise KeySourceError(f"{where}: {getattr(error, 'strerror', None) or 'no command'}") from None
    except subprocess.TimeoutExpired:
        raise KeySourceError(f"{where}: not done within {COMMAND_TIMEOUT_S} s") from None
    if done.returncode:
        raise KeySourceError(f"{where}: it failed with status {done.returncode}")
    return _decoded(done.stdout, where)


def _decoded(data: bytes, where: str) -> str:
    if len(data) > SOURCE_BYTES_MAX:
        raise KeySourceError(f"{where}: more than {SOURCE_BYTES_MAX:,} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise KeySourceError(f"{where}: it is no text") from None


SOURCES: Final = {"file": _of_file, "env": _of_environment, "command": _of_command}
