"""Decoding: samples of any depth, sign, polarity and colour space to 8-bit Pillow images."""
