"""Heads: compute the embedding from a backbone's features."""
