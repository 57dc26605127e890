"""Ctrl-C and SIGTERM, taken at a moment that suits: the step is finished and saved first. Chapter 07."""

import signal
import threading


class StopSignals:
    """Inside `with`, the first Ctrl-C or SIGTERM is only noted, in `number`; a second Ctrl-C stops at once.

    Outside the main thread Python allows no handlers: there nothing changes.
    """

    def __init__(self):
        self.number = 0
        self._before = {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_):
        for number, handler in self._before.items():
            signal.signal(number, handler or signal.SIG_DFL)  # None: a handler that is not Python's

    def _note(self, number, frame):
        if self.number and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.number = number  # and no word: the main program may be in the middle of printing


def leave(number):
    """Leave the way that signal asks for: KeyboardInterrupt, or exit status 143. 0 is no signal, and goes on."""
    if number == signal.SIGINT:
        raise KeyboardInterrupt
    if number:
        raise SystemExit(128 + number)
