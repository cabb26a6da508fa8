"""Search results as tables, JSON and contact sheets."""
