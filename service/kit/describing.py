"""Routes registered at once, described when somebody asks for their description."""

from __future__ import annotations

from threading import Lock
from typing import Any

import flask_smorest


class Api(flask_smorest.Api):  # type: ignore[misc]
    """Flask-Smorest's `Api`, which writes its document when that is first read.

    Describing every route takes half a second and several megabytes; most processes never show it.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._undescribed: list[flask_smorest.Blueprint] = []
        self._describing = Lock()
        super().__init__(*arguments, **options)

    def register_blueprint(self, blp: flask_smorest.Blueprint) -> None:  # type: ignore[override,unused-ignore]
        """Serve a room's routes."""
        self._app.extensions["flask-smorest"]["blp_name_to_api"][blp.name] = self
        self._app.register_blueprint(blp)
        self._undescribed.append(blp)

    def to_dict(self) -> dict[str, Any]:
        """Return the document as the routes give it."""
        with self._describing:
            while self._undescribed:
                blueprint = self._undescribed.pop(0)
                blueprint.register_views_in_doc(
                    self, self._app, self.spec, name=blueprint.name, parameters=None
                )
                self.spec.tag({"name": blueprint.name, "description": blueprint.description})
            document: dict[str, Any] = self.spec.to_dict()
            return document
