"""Every setting of a training run, in one frozen, JSON-able place."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from recommender.errors import InvalidConfig
from recommender.models.als import AlsConfig
from recommender.models.item_to_item import ItemToItemConfig
from recommender.models.personal_frequency import PersonalFrequencyConfig
from recommender.models.popularity import PopularityConfig


@dataclass(frozen=True, slots=True)
class BlendConfig:
    """Weigh the parts of a discovery, each scaled to its own best, and the two arms of a mixed list.

    `discover` is the score the best possible discovery has in a mixed list, where something taken once
    today scores about 0.5 and scores approach 1 with frequency.
    """

    als: float = 0.5
    item_to_item: float = 0.25
    popularity: float = 0.25
    discover: float = 0.4

    def __post_init__(self) -> None:
        if min(self.als, self.item_to_item, self.popularity, self.discover) < 0:
            raise InvalidConfig("blend weights are not negative")
        if self.als + self.item_to_item + self.popularity <= 0:
            raise InvalidConfig("blend weights are not all zero")


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Hold the settings of each model and of the blend."""

    popularity: PopularityConfig = field(default_factory=PopularityConfig)
    personal_frequency: PersonalFrequencyConfig = field(default_factory=PersonalFrequencyConfig)
    item_to_item: ItemToItemConfig = field(default_factory=ItemToItemConfig)
    als: AlsConfig = field(default_factory=AlsConfig)
    blend: BlendConfig = field(default_factory=BlendConfig)

    def as_dict(self) -> dict[str, Any]:
        """Give the JSON form, tuples as lists."""
        return {
            section.name: {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in dataclasses.asdict(getattr(self, section.name)).items()
            }
            for section in dataclasses.fields(self)
        }

    @classmethod
    def from_dict(cls, sections: Mapping[str, Mapping[str, Any]]) -> Self:
        """Read back what `as_dict` gave; what is left out takes its default, what is unknown is refused."""
        kinds: dict[str, Any] = {
            "popularity": PopularityConfig,
            "personal_frequency": PersonalFrequencyConfig,
            "item_to_item": ItemToItemConfig,
            "als": AlsConfig,
            "blend": BlendConfig,
        }
        try:
            return cls(
                **{
                    name: kinds[name](
                        **{
                            key: tuple(value) if isinstance(value, list) else value
                            for key, value in keys.items()
                        }
                    )
                    for name, keys in sections.items()
                }
            )
        except (KeyError, TypeError, AttributeError) as unknown:
            raise InvalidConfig(f"unknown or malformed setting: {unknown}") from unknown
