"""Every setting of a training run, in one frozen, JSON-able place."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from recommender.blending import BlendConfig
from recommender.errors import InvalidConfig
from recommender.models.als import AlsConfig
from recommender.models.ease import EaseConfig
from recommender.models.item_to_item import ItemToItemConfig
from recommender.models.personal_frequency import PersonalFrequencyConfig
from recommender.models.popularity import PopularityConfig


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """Hold the settings of each model and of the blend."""

    popularity: PopularityConfig = field(default_factory=PopularityConfig)
    personal_frequency: PersonalFrequencyConfig = field(default_factory=PersonalFrequencyConfig)
    item_to_item: ItemToItemConfig = field(default_factory=ItemToItemConfig)
    als: AlsConfig = field(default_factory=AlsConfig)
    ease: EaseConfig = field(default_factory=EaseConfig)
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
            "ease": EaseConfig,
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
