"""Errors a user can cause, each with the exit code it ends in.

Every message is one line: what is wrong, where, and the way out. The command line
prints it and exits; nothing else catches these.
"""

from enum import IntEnum


class Exit(IntEnum):
    """Exit codes of the command line; the highest-ranking cause wins (see `worst`)."""

    DONE = 0
    GATE_FAILED = 1
    USAGE = 2
    RUN_INVALID = 3
    TARGET = 4
    OUTPUT = 5
    INTERRUPTED = 130


_RANK = (
    Exit.DONE,
    Exit.GATE_FAILED,
    Exit.RUN_INVALID,
    Exit.USAGE,
    Exit.TARGET,
    Exit.OUTPUT,
    Exit.INTERRUPTED,
)


def worst(*codes: Exit) -> Exit:
    """The exit code that wins when a run ended for several reasons."""
    return max(codes, key=_RANK.index, default=Exit.DONE)


class BenchError(Exception):
    """A failure that the user can act on; `str()` of it is the line to print."""

    exit_code = Exit.USAGE

    def lines(self) -> list[str]:
        """Every line there is to say; most failures are one."""
        return [str(self)]


class UsageError(BenchError):
    """Bad usage or a rejected profile."""


class TargetError(BenchError):
    """The target could not be deployed, started, reached or used."""

    exit_code = Exit.TARGET


class OutputError(BenchError):
    """Results could not be written."""

    exit_code = Exit.OUTPUT
