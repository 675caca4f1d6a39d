"""Who hears of the signals that this process is sent: whoever asked last."""

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def heard_by(hear: Callable[[int], None], signals: Sequence[int]) -> Iterator[None]:
    """While the block runs, these signals go to ``hear(number)`` and do nothing else; then to whom they went before.

    It runs between two steps of the main thread, also where that is waiting. In another thread, where no signal can be
    heard, nothing is changed. One that is ignored, as by nohup, stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    # Handlers of asyncio's are called by what comes out of a descriptor, whatever handlers Python has.
    wakeup = signal.set_wakeup_fd(-1)
    before = {each: signal.getsignal(each) for each in signals}
    for each, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(each, lambda number, _: hear(number))
    try:
        yield
    finally:
        for each, handler in before.items():
            if handler is not None:
                signal.signal(each, handler)
        signal.set_wakeup_fd(wakeup)


@contextmanager
def default_of(number: int) -> Iterator[None]:
    """While the block runs, this signal does what it does to a program that knows nothing of it."""
    before = signal.signal(number, signal.SIG_DFL)
    try:
        yield
    finally:
        signal.signal(number, before)
