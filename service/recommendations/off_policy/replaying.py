"""Ask a model, long after, which of the candidates of then it would have shown."""

from __future__ import annotations

from collections.abc import Sequence

from recommender.serving import Mode, Policy, ServedModel
from service.recommendations.rules import Purchase


def pick(
    model: ServedModel,
    *,
    candidates: Sequence[str],
    purchases: Sequence[Purchase],
    today: int,
    mode: Mode,
    steered_by: Sequence[str],
    policy: Policy,
) -> int | None:
    """Return the index of the candidate that a model puts first, None where it would show none of them.

    What could be had then is what the log says: masks of today take no part, and neither do variety and
    caps, which the log has already been through. Equal scores go to the item that the model numbers lower.
    """
    answer = model.recommend(
        purchases,
        today=today,
        limit=1,
        mode=mode,
        allowed=model.mask(candidates),
        context_items=steered_by,
        policy=policy,
    )
    return candidates.index(answer.items[0].item_id) if answer.items else None
