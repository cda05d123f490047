"""Floor 3 · Run by Alembic on the connection that `ledger_migrations` hands it, inside its transaction."""

from __future__ import annotations

from alembic import context

context.configure(connection=context.config.attributes["connection"], render_as_batch=True)
context.run_migrations()
