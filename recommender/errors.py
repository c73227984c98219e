"""What can go wrong here, as one tree.

RecommenderError
├── InvalidInteractions
│   ├── EmptyInteractions
│   └── HistoryTooShort
├── InvalidConfig
├── InvalidRequest
├── UnfinishedFit
└── ArtifactError
    ├── ArtifactMissing
    ├── ArtifactExists
    ├── ArtifactIncomplete
    ├── ArtifactCorrupt
    └── ArtifactForeign
        └── UnsupportedArtifactFormat

Each docstring is the title of the problem, each `code` is public and does not change.
"""

from __future__ import annotations


class RecommenderError(Exception):
    """The recommender could not do what was asked."""

    code = "recommender_error"


class InvalidInteractions(RecommenderError, ValueError):
    """The interactions cannot be used."""

    code = "invalid_interactions"


class EmptyInteractions(InvalidInteractions):
    """There are no interactions to learn from."""

    code = "empty_interactions"


class HistoryTooShort(InvalidInteractions):
    """The interactions do not span enough days to hold some back for evaluation."""

    code = "history_too_short"


class InvalidConfig(RecommenderError, ValueError):
    """A training setting is out of range."""

    code = "invalid_config"


class InvalidRequest(RecommenderError, ValueError):
    """A ranking was asked for with arguments that make no sense."""

    code = "invalid_request"


class UnfinishedFit(RecommenderError):
    """A model did not come out of training with finite numbers."""

    code = "unfinished_fit"


class ArtifactError(RecommenderError):
    """The model artefact cannot be used."""

    code = "artifact_error"


class ArtifactMissing(ArtifactError):
    """There is no model artefact at this place."""

    code = "artifact_missing"


class EngineMissing(RecommenderError):
    """What this training engine needs is not installed."""

    code = "engine_missing"


class ArtifactExists(ArtifactError):
    """There is already something at the place where the artefact should go."""

    code = "artifact_exists"


class ArtifactIncomplete(ArtifactError):
    """The model artefact was not written to its end."""

    code = "artifact_incomplete"


class ArtifactCorrupt(ArtifactError):
    """The model artefact does not hold what its manifest says."""

    code = "artifact_corrupt"


class ArtifactForeign(ArtifactError):
    """This is not a model artefact of the recommender."""

    code = "artifact_foreign"


class UnsupportedArtifactFormat(ArtifactForeign):
    """The model artefact has a format version that this release does not read."""

    code = "artifact_format_unsupported"


class StatisticsBroken(RecommenderError):
    """The statistics do not hold what they should."""

    code = "statistics_broken"
