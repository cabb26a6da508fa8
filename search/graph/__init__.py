"""Whole-collection views: the exact neighbour graph, its export, and the map."""
