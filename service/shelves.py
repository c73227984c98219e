"""Every table of every room, loaded: for migrations and for the test that compares them."""

import service.activity.models
import service.catalogue.models
import service.earning.models
import service.experiments.models
import service.intake.models
import service.kit.models
import service.ledger.models
import service.members.models
import service.programme.models
import service.recommendations.models
import service.rewards.models
import service.tiers.models  # noqa: F401
from service.kit.db import metadata

__all__ = ["metadata"]
