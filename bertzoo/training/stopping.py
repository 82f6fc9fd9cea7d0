"""How a run ends before its time: by a signal, which saves, or by numbers that are none."""

from __future__ import annotations

import contextlib
import signal
import threading


class Stopped(Exception):
    """A run was told to stop, and has saved where it stands; the same command goes on."""


class NotFinite(ValueError):
    """A step's gradients were no numbers, more often than the recipe allows."""


@contextlib.contextmanager
def signals_noticed():
    """Yield an object whose `signal` is the name of the SIGTERM or SIGINT that arrived, or None.

    The first signal lets the run save and end; a second SIGINT interrupts at once. Handlers are
    what they were afterwards. Outside of the main thread nothing can be noticed.
    """
    noticed = Noticed()
    if threading.current_thread() is not threading.main_thread():
        yield noticed
        return

    def notice(number, frame):
        if noticed.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt
        noticed.signal = signal.Signals(number).name

    before = {number: signal.signal(number, notice) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield noticed
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Noticed:
    """Which signal arrived, if any."""

    signal: str | None = None
