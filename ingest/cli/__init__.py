"""The command `ingest`, and the options that name a store."""
