"""What activity refuses."""

from service.kit.errors import Conflict, Invalid, NotFound


class UnknownOrder(NotFound):
    """There is no order with this id."""

    code = "unknown-order"


class OrderNotKnown(Invalid):
    """The refund names an order that is not recorded."""

    code = "order-not-known"


class OrderConflict(Conflict):
    """This id is already recorded with other content."""

    code = "order-conflict"


class RefundAboveLeft(Invalid):
    """The refund is larger than what is left of its order."""

    code = "refund-above-left"


class RefundOfOtherMember(Invalid):
    """The refund names a member who did not place its order."""

    code = "refund-of-other-member"


class RefundBeforeOrder(Invalid):
    """The refund, cancellation or shipment is dated before its order."""

    code = "before-order"
