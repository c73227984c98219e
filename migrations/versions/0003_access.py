"""Access: keys that expire, rotate, and are held to stores and origins; shared counts of rate limits."""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

UP = """
ALTER TABLE api_keys
    ADD COLUMN store_ids TEXT[],
    ADD COLUMN origins TEXT[] DEFAULT '{}' NOT NULL,
    ADD COLUMN expires_at TIMESTAMP WITH TIME ZONE,
    ADD COLUMN created_by TEXT;

CREATE TABLE retired_secrets (
    secret_hash BYTEA NOT NULL,
    key_id TEXT NOT NULL,
    accepted_until TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_retired_secrets PRIMARY KEY (secret_hash),
    CONSTRAINT fk_retired_secrets_key_id_api_keys FOREIGN KEY (key_id) REFERENCES api_keys (key_id)
);

CREATE INDEX ix_retired_secrets_key_id ON retired_secrets (key_id);

CREATE UNLOGGED TABLE rate_windows (
    bucket TEXT COLLATE "C" NOT NULL,
    spent BIGINT NOT NULL,
    ends_at TIMESTAMP WITH TIME ZONE NOT NULL,
    CONSTRAINT pk_rate_windows PRIMARY KEY (bucket)
);
"""

DOWN = """
DROP TABLE rate_windows;
DROP TABLE retired_secrets;
ALTER TABLE api_keys
    DROP COLUMN store_ids,
    DROP COLUMN origins,
    DROP COLUMN expires_at,
    DROP COLUMN created_by;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
