"""What the ledger refuses."""

from service.kit.errors import Conflict, Invalid


class InsufficientPoints(Conflict):
    """The member does not have that many points available."""

    code = "insufficient-points"


class ExpiryNotAcceptable(Invalid):
    """Points can be given until a day in the future, and only points that are given can expire."""

    code = "expiry-not-acceptable"
