"""The register of trained models: which there are, which one is in force, and how it got there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from recommender.artifact import Manifest
from recommender.card import as_markdown, card_of, findings, to_svg
from recommender.errors import ArtifactError
from service.kit import audit
from service.kit.clock import format_time
from service.kit.outbox import emit
from service.recommendations import artefacts, store
from service.recommendations.artefacts import ModelsFolder
from service.recommendations.errors import ModelUnusable, UnknownModel
from service.recommendations.serving import open_model


@dataclass(frozen=True, slots=True)
class Registered:
    """A trained model as the register has it; `manifest` holds its figures against the baselines."""

    version: str
    status: str
    content_hash: str
    manifest: Mapping[str, Any]
    trained_through: date | None
    created_at: datetime
    promoted_at: datetime | None
    decision: str | None

    def summary(self) -> dict[str, Any]:
        """Return one line of a list, JSON-able."""
        return {
            "version": self.version,
            "status": self.status,
            "content_hash": self.content_hash,
            "trained_through": None if self.trained_through is None else self.trained_through.isoformat(),
            "created_at": format_time(self.created_at),
            "promoted_at": None if self.promoted_at is None else format_time(self.promoted_at),
            "decision": self.decision,
        }

    def to_json(self) -> dict[str, Any]:
        """Return everything known of the model, JSON-able: data span, counts, settings and figures."""
        first_day = self.manifest.get("trained_from")
        since = None if first_day is None else date(1970, 1, 1) + timedelta(days=first_day)
        return {
            **self.summary(),
            "trained_from": None if since is None else since.isoformat(),
            "seed": self.manifest.get("seed"),
            "counts": self.manifest.get("counts", {}),
            "parameters": self.manifest.get("parameters", {}),
            "metrics": self.manifest.get("metrics", {}),
            "findings": findings(self.manifest.get("metrics", {})),
            "libraries": self.manifest.get("libraries", {}),
        }

    def card(self) -> dict[str, Any]:
        """Return the model's card as data, Markdown and plot, as it lies beside its artefact."""
        manifest = Manifest(**{one.name: self.manifest[one.name] for one in fields(Manifest)})
        card = card_of(manifest, manifest.metrics)
        plot = to_svg([("this model", manifest.metrics)]) if manifest.metrics else None
        return {
            "version": self.version,
            "data": card["data"],
            "findings": card["findings"],
            "decision": self.decision,
            "evaluation": card["evaluation"],
            "markdown": as_markdown(card),
            "plot": plot,
        }


def list_models(
    conn: Connection, *, before: tuple[datetime, str] | None = None, limit: int | None = None
) -> list[Registered]:
    """Return the registered models, the newest first; `before` is (creation, version) of the last seen."""
    return [_read(row) for row in store.list_models(conn, before=before, limit=limit)]


def get_model(conn: Connection, *, version: str) -> Registered:
    """Return one registered model.

    Raises:
        UnknownModel: there is none of this version.
    """
    return _read(_get_row(conn, version))


def promote_model(
    conn: Connection,
    *,
    version: str,
    models_folder: ModelsFolder,
    actor: str,
    now: datetime,
    reason: str | None = None,
    request_id: str | None = None,
) -> Registered:
    """Put a model in force, also to go back to an older one; nothing happens when it is already.

    Raises:
        UnknownModel: there is none of this version.
        ModelUnusable: its artefact is missing, damaged or not the one registered.
    """
    row = _get_row(conn, version)
    if row.status == "active":
        return _read(row)
    try:
        open_model(models_folder, row)
    except ArtifactError as error:
        raise ModelUnusable(f"{version} stays out of force: {type(error).__doc__} ({error})") from error
    decision = f"promoted by {actor}" if reason is None else f"promoted by {actor}: {reason}"
    retired = store.activate_model(conn, version=version, decision=decision, now=now)
    audit.record(
        conn,
        actor=actor,
        action="model.promoted",
        subject=("model", version),
        before={"in_force": retired},
        after={"in_force": version},
        reason=reason,
        request_id=request_id,
        now=now,
    )
    payload = {"version": version, "content_hash": row.content_hash, "decision": decision}
    emit(conn, topic="model.promoted", member_key=None, payload=payload, occurred_at=now)
    return get_model(conn, version=version)


def drop_artefacts(conn: Connection, *, models_folder: ModelsFolder, kept: int, now: datetime) -> list[str]:
    """Delete the artefacts of old models and return their locations; the register keeps every line.

    What is in force stays, what was in force just before it, and of the others the `kept` newest.
    """
    rows = list(store.list_models(conn, before=None, limit=None))
    former = [row.version for row in store.list_former_models(conn)][:1]
    spared = {row.version for row in rows if row.status == "active"} | set(former)
    others = [row for row in rows if row.version not in spared]
    gone = {row.location for row in others[kept:]}
    stay = {row.location for row in rows} - gone
    return artefacts.drop_artefacts(models_folder, spared=stay, known=gone, now=now)


def _get_row(conn: Connection, version: str) -> Row[Any]:
    row = store.find_model(conn, version=version)
    if row is None:
        raise UnknownModel(f"there is no model {version}")
    return row


def _read(row: Row[Any]) -> Registered:
    return Registered(
        version=row.version,
        status=row.status,
        content_hash=row.content_hash,
        manifest=row.manifest,
        trained_through=row.trained_through,
        created_at=row.created_at,
        promoted_at=row.promoted_at,
        decision=row.decision,
    )
