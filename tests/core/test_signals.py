"""Signals in this process: whose handlers stay, and that none is lost. `test_terminal.py` has those to the program."""

from __future__ import annotations

import signal
import time
from contextlib import suppress

import pytest

from samclip_edge.cli.terminal import Stopped, signals


def test_handlers_of_others_stay_and_ours_go() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as `nohup` does
    try:
        with signals():
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            assert callable(signal.getsignal(signal.SIGTERM))
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGHUP, before)


class Tidied:
    """A signal comes while Python tidies it up."""

    def __del__(self) -> None:
        signal.raise_signal(signal.SIGTERM)


def test_a_signal_that_python_drops_comes_again() -> None:
    def train() -> None:
        with signals():
            Tidied()
            for _ in range(3000):
                time.sleep(0.01)
            pytest.fail("training went on to its end")

    with pytest.raises(Stopped) as stopped:
        train()
    assert stopped.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_a_signal_that_others_catch_is_told_at_the_end() -> None:
    with pytest.raises(Stopped), signals(), suppress(BaseException):
        signal.raise_signal(signal.SIGTERM)
