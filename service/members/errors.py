"""What the members room refuses."""

from service.kit.errors import Conflict, Invalid, NotFound


class UnknownMember(NotFound):
    """There is no member with this id."""

    code = "unknown-member"


class MemberNotEnrolled(Invalid):
    """The request names a member who is not enrolled."""

    code = "member-not-enrolled"


class JoinedInFuture(Invalid):
    """A member cannot have joined in the future."""

    code = "joined-in-future"


class MemberMerged(Conflict):
    """This member was merged into another, which goes by its own id."""

    code = "member-merged"


class SurvivorMerged(Conflict):
    """Nobody can be merged into a member that was itself merged into another."""

    code = "survivor-merged"


class MemberErased(Conflict):
    """A person whose data was erased cannot be merged."""

    code = "member-erased"


class NotMerged(Conflict):
    """This member is not merged into another."""

    code = "not-merged"


class UndoTooLate(Conflict):
    """A merge can be undone for thirty days."""

    code = "undo-too-late"
