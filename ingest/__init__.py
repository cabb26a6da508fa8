"""Makes a Qdrant collection equal to a folder of images."""
