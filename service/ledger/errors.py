"""What the ledger refuses."""

from service.kit.errors import Conflict, Invalid, NotFound


class InsufficientPoints(Conflict):
    """The member does not have that many points available."""

    code = "insufficient-points"


class ExpiryNotAcceptable(Invalid):
    """Points can be given until a day in the future, and only points that are given can expire."""

    code = "expiry-not-acceptable"


class LotNotFound(NotFound):
    """The member has no lot with this id."""

    code = "lot-not-found"


class LotNotOpen(Conflict):
    """Nothing is left of the lot."""

    code = "lot-not-open"


class MergeIntoSelf(Invalid):
    """An account cannot be merged into itself."""

    code = "merge-into-self"


class AlreadyMerged(Conflict):
    """One of the two accounts was merged into another before."""

    code = "already-merged"


class HoldNotFound(NotFound):
    """There is no hold with this id."""

    code = "hold-not-found"


class HoldEnded(Conflict):
    """The hold was captured or released, or its time is over."""

    code = "hold-ended"


class CaptureAboveHold(Invalid):
    """More points are to be captured than were set aside."""

    code = "capture-above-hold"


class HoldNotKnown(Invalid):
    """The order names a hold that its member does not have."""

    code = "hold-not-known"


class MergedPointsHeld(Conflict):
    """A merge cannot be undone while points of the member are on hold."""

    code = "merged-points-held"
