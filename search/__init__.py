"""Answers what looks like what: queries, the neighbour graph, contact sheets, the command line."""
