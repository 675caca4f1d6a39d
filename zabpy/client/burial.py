"""Ends a session that is lost here but may live on at the servers, so that its ephemeral znodes go now and not later.

It was lost by our clock while no server could be asked. Nobody here may take it for alive again, so the client opens a
new one at once, and this asks on a connection of its own that the old one be closed.
"""

import anyio
from anyio.abc import ByteStream

from zabpy.wire import FrameBuffer, FrameError, JuteError, Op, Reader, frame, packed, records as r

from .login import GREETING_BYTES_MAX
from .session import Undead

RECEIVE_BYTES_MAX = 4096


async def end_session(stream: ByteStream, session: Undead, last_zxid: int, timeout_ms: int) -> bool:
    """Resume it and close it in one go. Whether it is gone now, or had been before; False: this server did not say.

    Raises what the stream does. Whoever calls bounds the time.
    """
    greeting = r.ConnectRequest(0, last_zxid, timeout_ms, session.id, session.password, False)
    await stream.send(frame(packed(greeting)) + frame(packed(r.RequestHeader(1, Op.CLOSE_SESSION))))
    frames = FrameBuffer(GREETING_BYTES_MAX)
    answers: list[bytes] = []
    try:
        while len(answers) < 2:
            frames.feed(await stream.receive(RECEIVE_BYTES_MAX))
            answers += frames.frames()
            if answers and r.ConnectResponse.read(Reader(answers[0])).timeout_ms <= 0:
                return True
        return r.ReplyHeader.read(Reader(answers[1])).err == 0
    except anyio.EndOfStream:
        return False
    except (FrameError, JuteError):
        return False
