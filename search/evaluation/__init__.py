"""Evaluates recipes by retrieval on held-out queries and reports the figures."""
