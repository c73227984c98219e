"""Imports over HTTP: the uploaded file waits in sealed parts, how far it is can be seen, and it can be called off."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

UP = """
CREATE TABLE import_parts (
    import_key BIGINT NOT NULL,
    part_no INTEGER NOT NULL,
    content BYTEA NOT NULL,
    CONSTRAINT pk_import_parts PRIMARY KEY (import_key, part_no),
    CONSTRAINT fk_import_parts_import_key_imports FOREIGN KEY (import_key)
        REFERENCES imports (import_key) ON DELETE CASCADE
);
-- Sealed bytes do not compress.
ALTER TABLE import_parts ALTER COLUMN content SET STORAGE EXTERNAL;

ALTER TABLE imports
    ADD COLUMN format TEXT,
    ADD COLUMN requested_by TEXT,
    ADD COLUMN stage TEXT,
    ADD COLUMN stage_done BIGINT,
    ADD COLUMN stage_total BIGINT,
    ADD COLUMN cancel_requested_at TIMESTAMP WITH TIME ZONE;
"""

DOWN = """
ALTER TABLE imports
    DROP COLUMN cancel_requested_at, DROP COLUMN stage_total, DROP COLUMN stage_done, DROP COLUMN stage,
    DROP COLUMN requested_by, DROP COLUMN format;
DROP TABLE import_parts;
"""


def upgrade() -> None:
    op.execute(UP)


def downgrade() -> None:
    op.execute(DOWN)
