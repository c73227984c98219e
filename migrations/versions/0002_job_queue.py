"""The job queue: procrastinate's own schema, kept out of the model comparison."""

from alembic import op
from procrastinate.schema import SchemaManager

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

DROP_EVERYTHING = """
DO $$
DECLARE
    statement text;
BEGIN
    FOR statement IN
        SELECT format('DROP TABLE %I CASCADE', relname) FROM pg_class
        WHERE relnamespace = current_schema()::regnamespace AND relkind = 'r'
          AND relname LIKE 'procrastinate%'
    LOOP EXECUTE statement; END LOOP;
    FOR statement IN
        SELECT format('DROP FUNCTION %s CASCADE', oid::regprocedure) FROM pg_proc
        WHERE pronamespace = current_schema()::regnamespace AND proname LIKE 'procrastinate%'
    LOOP EXECUTE statement; END LOOP;
    FOR statement IN
        SELECT format('DROP TYPE %I CASCADE', typname) FROM pg_type
        WHERE typnamespace = current_schema()::regnamespace AND typname LIKE 'procrastinate%'
          AND typtype IN ('e', 'c')
    LOOP EXECUTE statement; END LOOP;
END $$
"""


def upgrade() -> None:
    _execute_verbatim(SchemaManager.get_schema())


def downgrade() -> None:
    _execute_verbatim(DROP_EVERYTHING)


def _execute_verbatim(sql: str) -> None:
    # Straight to the driver: this text is full of colons and percent signs.
    op.get_bind().connection.cursor().execute(sql)
