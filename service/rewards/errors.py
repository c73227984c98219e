"""What the rewards refuse."""

from service.kit.errors import Conflict, Invalid, NotFound


class UnknownReward(NotFound):
    """There is no reward with this code."""

    code = "unknown-reward"


class RewardNotKnown(Invalid):
    """The request names a reward that does not exist."""

    code = "reward-not-known"


class RewardOutOfStock(Conflict):
    """Nothing is left of the reward."""

    code = "reward-out-of-stock"


class RewardNotOffered(Conflict):
    """The reward is not offered at this time."""

    code = "reward-not-offered"


class RewardLimitReached(Conflict):
    """The member has taken this reward as often as one may."""

    code = "reward-limit-reached"


class RewardNotForTier(Conflict):
    """The reward is for members of other tiers."""

    code = "reward-not-for-tier"


class StockBelowTaken(Conflict):
    """The stock would be less than what has been taken already."""

    code = "stock-below-taken"


class RewardKindFixed(Conflict):
    """A reward that has been taken stays of its kind."""

    code = "reward-kind-fixed"


class CodesUsedUp(Conflict):
    """No code is left in the reward's pool."""

    code = "codes-used-up"


class UnknownCodePool(NotFound):
    """There is no pool of codes with this name."""

    code = "unknown-code-pool"


class CodePoolNotKnown(Invalid):
    """The reward names a pool of codes that does not exist."""

    code = "code-pool-not-known"


class UnknownRedemption(NotFound):
    """There is no redemption with this id."""

    code = "unknown-redemption"


class RedemptionEnded(Conflict):
    """The redemption was used, in part or whole, or cancelled, or has expired."""

    code = "redemption-ended"


class UnknownVoucher(NotFound):
    """No voucher has this code."""

    code = "unknown-voucher"


class VoucherNotKnown(Invalid):
    """The order names a voucher that does not exist."""

    code = "voucher-not-known"


class VoucherMistyped(Invalid):
    """The voucher's code was mistyped: its check character does not fit."""

    code = "voucher-mistyped"


class VoucherUsed(Conflict):
    """The voucher was used before."""

    code = "voucher-used"


class VoucherReserved(Conflict):
    """The voucher is reserved for another order."""

    code = "voucher-reserved"


class VoucherNotReserved(Conflict):
    """The voucher is not reserved for that order."""

    code = "voucher-not-reserved"


class VoucherExpired(Conflict):
    """The voucher has expired."""

    code = "voucher-expired"


class VoucherCancelled(Conflict):
    """The voucher was cancelled."""

    code = "voucher-cancelled"


class VoucherOfOtherMember(Conflict):
    """The voucher is another member's and cannot be transferred."""

    code = "voucher-of-other-member"


class VoucherBelowMinimum(Conflict):
    """The goods that the voucher is for come to less than its minimum spend."""

    code = "voucher-below-minimum"


class VoucherNotApplicable(Conflict):
    """The voucher is for other goods than those of the order."""

    code = "voucher-not-applicable"


class VoucherNotCombinable(Conflict):
    """The voucher cannot be used with another one."""

    code = "voucher-not-combinable"


class BalanceTooLow(Conflict):
    """Less is left on the gift certificate than it is to pay."""

    code = "balance-too-low"


class UnknownReviewEntry(NotFound):
    """There is no such entry in the review queue."""

    code = "unknown-review-entry"


class ReviewEntryResolved(Conflict):
    """The entry was resolved before, otherwise."""

    code = "review-entry-resolved"


VOUCHER_FAULTS = (
    VoucherMistyped,
    VoucherUsed,
    VoucherExpired,
    VoucherCancelled,
    VoucherOfOtherMember,
    VoucherBelowMinimum,
    VoucherNotApplicable,
    VoucherNotCombinable,
)
"""Why a voucher that is known does not pay for an order."""
