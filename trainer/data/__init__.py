"""Data sets: their images, how they are read, split and downloaded."""
