"""Vector stores: one interface to the embedded Qdrant engine and to a Qdrant server."""
