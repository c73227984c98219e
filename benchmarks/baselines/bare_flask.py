"""B0: one Flask route that answers a small JSON, served as the service is."""

from flask import Flask, Response, jsonify

app = Flask(__name__)


@app.get("/")
def answer() -> Response:
    """Answer what never changes."""
    return jsonify({"member_id": "m1", "tier": "silver", "available": 120, "pending": 41, "locale": "en"})
