"""Reads the facts of pictures from tables, file names and EXIF."""
