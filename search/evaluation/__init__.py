"""Evaluates recipes by retrieval on held-out queries, and reports it."""
