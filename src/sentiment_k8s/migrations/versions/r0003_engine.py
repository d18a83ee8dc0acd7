"""What ran the model: by another engine a text may have scores with other last digits."""

from sentiment_k8s.migrations.online import add_column

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    add_column("engine", "text")


def downgrade() -> None:
    """There is none: the schema only grows, and older servers work beside this one."""
    raise NotImplementedError("The schema only grows: an older release works on it as it is.")
