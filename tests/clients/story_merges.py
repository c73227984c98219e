"""A chapter of the story: two members turn out to be one person, or not."""

from __future__ import annotations

from tests.clients.recording import Recorder

MERGE = "/v1/members/ya-ting-app/merge"
UNDO = f"{MERGE}/undo"


def merge_two_members(recorder: Recorder) -> None:
    """Ya-Ting signed up in the app as well; or was that her sister?"""
    recorder.call("PUT", "/v1/members/ya-ting", json={"locale": "zh-Hant"})
    recorder.call("PUT", "/v1/members/ya-ting-app", json={"locale": "zh-Hant"})
    body = {"into": "ya-ting", "reason": "the same telephone number, she says so herself"}
    post(recorder, UNDO, {"reason": "a mistake"})
    post(recorder, MERGE, body | {"into": "ya-ting-app"})
    post(recorder, MERGE, body)
    post(recorder, MERGE, body)
    recorder.call("PUT", "/v1/members/ya-ting-app", json={"locale": "en"})
    recorder.call("PUT", "/v1/members/ya-ting-web", json={})
    post(recorder, "/v1/members/ya-ting-web/merge", body | {"into": "ya-ting-app"})
    post(recorder, UNDO, {"reason": "it was her sister after all"})


def post(recorder: Recorder, path: str, body: dict[str, str]) -> None:
    """Ask for something that must happen once."""
    headers = {"Idempotency-Key": f"case-1208-{len(recorder.answers)}-{len(recorder.problems)}"}
    recorder.call("POST", path, json=body, headers=headers, role="marketing")
