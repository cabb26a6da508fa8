"""Damaged picture files, made from a seed: what they are made of, and how each is damaged."""
