"""Errors for the user, each with the exit code of the command line.

The message names the file or key and the problem, the hint says what to do. `gancli.cli.errors` writes both to stderr.
"""

from __future__ import annotations


class GancliError(Exception):
    """Base class of the errors for the user.

    Args:
        message: Problem, with the name of the file or key.
        hint: Remedy, as one sentence or command.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class RunError(GancliError):
    """Failure of a valid request (a NaN loss, a broken checkpoint). Exit code 1."""


class UsageError(GancliError):
    """Mistake in the request (wrong arguments, an output folder that exists). Exit code 2."""

    exit_code = 2


class ConfigError(UsageError):
    """Mistake in a recipe or an override. Exit code 2."""


class DataError(GancliError):
    """Missing or broken data. Exit code 3."""

    exit_code = 3


class CheckError(GancliError):
    """Score beyond the bound that the user set. Exit code 4."""

    exit_code = 4


def check_least(**numbers: tuple[int | None, int]) -> None:
    """Refuse numbers below the least value that is given with each.

    Raises:
        UsageError: A number is too small.
    """
    for name, (number, least) in numbers.items():
        if number is not None and number < least:
            raise UsageError(f"{name} has to be at least {least}. Received: {number}")
