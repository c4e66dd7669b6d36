"""The errors that a user can mend. ``cli.py`` alone turns them into sentences and exit statuses."""

from __future__ import annotations

import signal


class DataError(ValueError):
    """Something in the user's files is wrong; the message names file, row and the way out. Exit status 1."""


class ConfigError(ValueError):
    """The call or the settings are wrong. Exit status 2.

    ``problems`` has one sentence for each mistake; the message is all of them, a line each.
    """

    def __init__(self, *problems: str) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class WorkError(RuntimeError):
    """Another program or process, which the work needs, has failed; the message says which. Exit status 1."""


class Stopped(KeyboardInterrupt):
    """The work was asked to stop, by Ctrl-C or SIGTERM; the message says what is kept and how to go on."""

    def __init__(self, sentence: str, signal_number: int = signal.SIGINT) -> None:
        self.signal_number = int(signal_number)
        super().__init__(sentence)

    @property
    def exit_status(self) -> int:
        """130 for Ctrl-C, 143 for SIGTERM, as shells have it."""
        return 128 + self.signal_number
