"""The command line: the same operations as the API, for people at a terminal and for cron."""

from service.cli.main import main

__all__ = ["main"]
