"""Who tells a turn, and until when nobody else may."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("messages", sa.Column("holder", sa.Text()))
    op.add_column("messages", sa.Column("lease_until", sa.Double()))
