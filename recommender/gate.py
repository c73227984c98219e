"""What may go into force: a model that beats the plain baselines, or the baseline that beats it.

A baseline is a legitimate model: where it found more, it is what the new version serves, under its own name.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from recommender.arms import DISCOVER_AS, SERVED_AS
from recommender.blending import BlendConfig
from recommender.evaluation import DISCOVER, Evaluation

_Arm = TypeVar("_Arm", bound=str)


class Decision(NamedTuple):
    """Say whether to promote, why, and which rival was the strongest."""

    promote: bool
    reason: str
    best_other: str | None


def settle(table: Evaluation, blend: BlendConfig) -> BlendConfig:
    """Put the best baseline that can be served where the learned ranking did not find more. Pure."""
    rivals = _recalls(table, table.methods, SERVED_AS)
    best = max(rivals, key=lambda arm: rivals[arm])
    if not float(table.candidate["recall"]) > rivals[best]:
        blend = replace(blend, mixed=best)
    finders = _recalls(table, table.discover, DISCOVER_AS)
    if DISCOVER in table.discover and finders:
        finder = max(finders, key=lambda arm: finders[arm])
        if not table.discover[DISCOVER]["recall"] > finders[finder]:
            blend = replace(blend, discover=finder)
    return blend


def _recalls(
    table: Evaluation, methods: Mapping[str, Mapping[str, Any]], arms: Mapping[_Arm, str]
) -> dict[_Arm, float]:
    """Give the recall of each baseline that was measured and that the model can serve, by arm."""
    return {
        arm: float(methods[name]["recall"])
        for arm, name in arms.items()
        if name in methods and name not in table.unserved
    }


def figures_of(table: Evaluation, blend: BlendConfig) -> Mapping[str, Any] | None:
    """Give the figures of the mixed list that a blend serves, among those of its own evaluation.

    None where that baseline can no longer be measured.
    """
    return table.candidate if blend.mixed == "learned" else table.methods.get(SERVED_AS[blend.mixed])


def decide(table: Evaluation, blend: BlendConfig, in_force: Mapping[str, Any] | None) -> Decision:
    """Decide whether what a settled blend serves may replace the model in force."""
    if blend.mixed == "learned":
        return beats(table.candidate, table.baselines, in_force)
    own = SERVED_AS[blend.mixed]
    rivals = {name: one for name, one in table.baselines.items() if name != own}
    decision = beats(table.methods[own], rivals, in_force, or_equals=True)
    told = f"{own} found more than the learned list ({table.candidate['recall']:.4f}) and is served: "
    return decision._replace(reason=told + decision.reason)


def beats(
    candidate: Mapping[str, Any],
    baselines: Mapping[str, Mapping[str, Any]],
    in_force: Mapping[str, Any] | None,
    *,
    metric: str = "recall",
    or_equals: bool = False,
) -> Decision:
    """Decide whether a candidate may replace the model in force, all measured on the same origins.

    It must be above every baseline (with `or_equals`, being one itself: below none), and not below the
    model in force: at equal quality the newer one knows more. Pure.
    """
    own = float(candidate[metric])
    if not np.isfinite(own):
        return Decision(False, f"{metric} of the candidate is not a number", None)
    best = min(baselines, key=lambda name: (-float(baselines[name][metric]), name), default=None)
    if best is not None:
        rival = float(baselines[best][metric])
        if own < rival or (own == rival and not or_equals):
            return Decision(False, f"{metric} {own:.4f} is not above {best} {rival:.4f}", best)
    if in_force is not None and own < float(in_force[metric]):
        return Decision(
            False,
            f"{metric} {own:.4f} is below {float(in_force[metric]):.4f} of the model in force",
            "in_force",
        )
    standing = "below no other baseline" if or_equals else "above every baseline"
    return Decision(True, f"{metric} {own:.4f} is {standing}", best)
