"""What the ledger refuses."""

from service.kit.errors import Conflict


class InsufficientPoints(Conflict):
    """The member does not have that many points available."""

    code = "insufficient-points"
