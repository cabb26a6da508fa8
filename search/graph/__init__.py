"""The exact neighbour graph of a whole collection, its export, and its map."""
