"""Data sets of pictures: which files belong, their bytes, their pixels, and splits of them."""
