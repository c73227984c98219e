"""Every SQL statement of events."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, text

_CLAIM = text(
    """
    INSERT INTO event_keys (event_id, occurred_at, content_hash)
    SELECT * FROM unnest(CAST(:event_ids AS text[]), CAST(:occurred_ats AS timestamptz[]),
        CAST(:content_hashes AS bytea[])) ORDER BY 1
    ON CONFLICT (event_id) DO NOTHING RETURNING event_id, event_key
    """
)
_KNOWN = text("SELECT event_id, event_key, content_hash FROM event_keys WHERE event_id = ANY(:event_ids)")
_ADD = text(
    """
    INSERT INTO events (event_key, occurred_at, received_at, type, member_key, anonymous_id, session_id,
        item_key,
        touchpoint, source, recommendation_id, impression_id, attribution_token, dwell_seconds, page_depth,
        attributes, origin_key, attribution_fault)
    SELECT e.event_key, e.occurred_at, CAST(:now AS timestamptz), e.type,
        coalesce(e.member_key, v.merged_into, v.member_key), e.anonymous_id,
        e.session_id, e.item_key, e.touchpoint, e.source, e.recommendation_id, e.impression_id,
        e.attribution_token, e.dwell_seconds, e.page_depth, e.attributes,
        CASE WHEN e.member_key IS NULL AND v.merged_into IS NOT NULL THEN v.member_key
            ELSE e.origin_key END,
        e.attribution_fault
    FROM jsonb_to_recordset(CAST(:events AS jsonb)) AS e (event_key bigint, occurred_at timestamptz, type
        text,
        member_key bigint, anonymous_id text, session_id text, item_key bigint, touchpoint text, source text,
        recommendation_id text, impression_id text, attribution_token text, dwell_seconds numeric,
        page_depth smallint, attributes jsonb, origin_key bigint, attribution_fault text)
    LEFT JOIN (visitor_links l JOIN members v USING (member_key))
        ON l.anonymous_id = e.anonymous_id AND e.member_key IS NULL
    """
)
# Who came first keeps a visitor, as with assignments.
_LINK = text(
    """
    INSERT INTO visitor_links (anonymous_id, member_key, linked_at)
    SELECT a, k, CAST(:now AS timestamptz)
    FROM unnest(CAST(:anonymous_ids AS text[]), CAST(:member_keys AS bigint[])) AS n (a, k) ORDER BY a
    ON CONFLICT (anonymous_id) DO NOTHING RETURNING anonymous_id
    """
)
_ADOPT = text(
    """
    UPDATE events e SET member_key = coalesce(m.merged_into, m.member_key),
        origin_key = CASE WHEN m.merged_into IS NOT NULL THEN m.member_key END
    FROM visitor_links l JOIN members m USING (member_key)
    WHERE e.anonymous_id = l.anonymous_id AND e.member_key IS NULL
        AND l.anonymous_id = ANY(CAST(:anonymous_ids AS text[]))
    """
)


def claim(conn: Connection, *, rows: Mapping[str, Sequence[object]]) -> dict[str, int]:
    """Claim event ids and return the key of each that was free."""
    return {row.event_id: row.event_key for row in conn.execute(_CLAIM, rows)}


def find_known(conn: Connection, *, event_ids: Sequence[str]) -> dict[str, tuple[int, bytes]]:
    """Return key and content hash of each recorded event."""
    rows = conn.execute(_KNOWN, {"event_ids": list(event_ids)})
    return {row.event_id: (row.event_key, bytes(row.content_hash)) for row in rows}


def add(conn: Connection, *, events: str, now: object) -> None:
    """Write claimed events, given as a JSON array."""
    conn.execute(_ADD, {"events": events, "now": now})


def link_visitors(conn: Connection, *, links: Mapping[str, int], now: object) -> list[str]:
    """Write whose an anonymous visitor is, by the member's own key; return the visitors that are new."""
    parameters = {"anonymous_ids": list(links), "member_keys": list(links.values()), "now": now}
    return list(conn.scalars(_LINK, parameters))


def adopt_events(conn: Connection, *, anonymous_ids: Sequence[str]) -> None:
    """Let what these visitors did before count for the members they turned out to be."""
    conn.execute(_ADOPT, {"anonymous_ids": list(anonymous_ids)})
