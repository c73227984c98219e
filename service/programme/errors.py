"""What the programme refuses."""

from service.kit.errors import Unavailable


class ProgrammeMismatch(Exception):
    """The environment's currency or zone is not the one this database was started with."""


class ProgrammeNotFixed(Unavailable):
    """This database has not been started yet."""

    code = "programme-not-fixed"
