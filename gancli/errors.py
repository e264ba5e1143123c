"""The errors that gancli raises on purpose, each with the exit code the command line gives it.

Library code raises these; `gancli.cli.errors` turns them into one message on stderr. The message names the
file or key and what is wrong with it, the hint says what to do.
"""

from __future__ import annotations


class GancliError(Exception):
    """Base of every error meant for the user.

    Args:
        message: What is wrong, naming the file or key.
        hint: What to do about it, as one sentence or command.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class RunError(GancliError):
    """A run that was well asked for failed (a NaN loss, a broken checkpoint): exit code 1."""


class UsageError(GancliError):
    """The request itself is wrong (arguments, an output folder that exists): exit code 2."""

    exit_code = 2


class ConfigError(UsageError):
    """A recipe or an override is wrong: exit code 2."""


class DataError(GancliError):
    """The data are missing or broken: exit code 3."""

    exit_code = 3
