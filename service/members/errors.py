"""What the members room refuses."""

from service.kit.errors import Invalid, NotFound


class UnknownMember(NotFound):
    """There is no member with this id."""

    code = "unknown-member"


class MemberNotEnrolled(Invalid):
    """The request names a member who is not enrolled."""

    code = "member-not-enrolled"


class JoinedInFuture(Invalid):
    """A member cannot have joined in the future."""

    code = "joined-in-future"
