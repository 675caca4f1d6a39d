"""Status to text: what may be seen of a server, and the words and pages that show it. The server owns the sockets.

May import: zabpy.model, zabpy.metrics; starlette and prometheus-client when there are pages.
Imported by: zabpy.server, through the names below.
Read status.py first, then four_letter.py.
"""

from .four_letter import TRACE_MASK as TRACE_MASK, WORDS as WORDS, Answer as Answer, Word as Word, answer as answer
from .status import (
    READ_ONLY as READ_ONLY,
    ConnectionStatus as ConnectionStatus,
    Deadlines as Deadlines,
    Status as Status,
)
