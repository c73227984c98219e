"""What the programme refuses."""

from service.kit.errors import Conflict, Invalid, NotFound, Unavailable


class ProgrammeMismatch(Exception):
    """The environment's currency or zone is not the one this database was started with."""


class ProgrammeNotFixed(Unavailable):
    """This database has not been started yet."""

    code = "programme-not-fixed"


class EffectiveInPast(Invalid):
    """Settings cannot come into force in the past."""

    code = "effective-in-past"


class UnknownStore(NotFound):
    """There is no such store."""

    code = "unknown-store"


class StoreZoneFixed(Conflict):
    """The zone of a store with orders or refunds cannot be changed."""

    code = "store-zone-fixed"
