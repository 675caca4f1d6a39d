"""The settings of a client, as a type: so that whatever makes clients passes them on without naming each."""

from collections.abc import Sequence
from random import Random
from ssl import SSLContext
from typing import TypedDict

from .dialling import Dial
from .sasl import Sasl
from .tls import TLS


class Settings(TypedDict, total=False):
    """The keywords of `Client`, where they are explained and have their defaults."""

    session_timeout_ms: int
    connect_timeout_ms: int
    request_timeout_ms: int
    close_timeout_ms: int
    frame_bytes_max: int
    read_only: bool
    follow_ensemble: bool
    tls: TLS | SSLContext | bool
    sasl: Sasl | None
    auth: Sequence[tuple[str, str | bytes]]
    dial: Dial | None
    rng: Random | None
