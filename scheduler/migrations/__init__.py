"""Floor 3 · How the ledger's tables came to be, step by step. Alembic reads them; `ledger_migrations` calls Alembic."""
