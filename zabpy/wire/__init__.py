"""Bytes ↔ values: client records, peer messages, transactions, snapshots.

May import: zabpy.model, zabpy.zab.messages, cbor2; and it alone imports that. No I/O, no clock.
Imported by: zabpy.pipeline, zabpy.server, zabpy.client, zabpy.testing, through the names below; records by
``from zabpy.wire import records``.
What only servers need (cbor.py, txns.py, peer.py, image.py) is loaded once a name of it is asked for: without it, and
with it all of ZAB, a client starts in a third less time.
Every decoder is total: any bytes give a value or the file's one declared error, with memory in proportion to what
came in. Read jute.py, records.py, ops.py for the client's side, then cbor.py, txns.py, peer.py, image.py for ours.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from . import records as records
from .framing import (
    CLIENT_FRAME_BYTES_MAX as CLIENT_FRAME_BYTES_MAX,
    PEER_FRAME_BYTES_MAX as PEER_FRAME_BYTES_MAX,
    FrameBuffer as FrameBuffer,
    FrameError as FrameError,
    frame as frame,
)
from .jute import (
    UNDECODABLE as UNDECODABLE,
    JuteError as JuteError,
    NullPathError as NullPathError,
    Reader as Reader,
    Writer as Writer,
    bytes_of as bytes_of,
    text_of as text_of,
)
from .ops import OPS as OPS, Kind as Kind, Op as Op, OpRow as OpRow
from .records import Record as Record, packed as packed

if TYPE_CHECKING:
    from .cbor import Row as Row
    from .image import (
        IMAGE_VERSION as IMAGE_VERSION,
        ImageError as ImageError,
        ImageReader as ImageReader,
        ImageWriter as ImageWriter,
    )
    from .peer import (
        PEER_VERSION as PEER_VERSION,
        Challenge as Challenge,
        Hello as Hello,
        PeerDecodeError as PeerDecodeError,
        Proof as Proof,
        decode as decode,
        decode_greeting as decode_greeting,
        decode_hello as decode_hello,
        encode as encode,
        encode_greeting as encode_greeting,
        encode_hello as encode_hello,
        transcript as transcript,
    )
    from .txns import (
        TXN_VERSION as TXN_VERSION,
        TxnDecodeError as TxnDecodeError,
        decode_txn as decode_txn,
        encode_txn as encode_txn,
    )

#: Of the servers' half.
_LATER = {
    "cbor": ("Row",),
    "image": ("IMAGE_VERSION", "ImageError", "ImageReader", "ImageWriter"),
    "peer": (
        *("PEER_VERSION", "Challenge", "Hello", "PeerDecodeError", "Proof", "decode", "decode_greeting"),
        *("decode_hello", "encode", "encode_greeting", "encode_hello", "transcript"),
    ),
    "txns": ("TXN_VERSION", "TxnDecodeError", "decode_txn", "encode_txn"),
}


def __getattr__(name: str) -> object:
    for file, names in _LATER.items():
        if name in names:
            globals()[name] = found = getattr(import_module(f"{__name__}.{file}"), name)
            return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
