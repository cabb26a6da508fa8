"""Keeps a folder of images and a Qdrant collection in step."""
