"""Heads: what turns the features of a backbone into the embedding."""
