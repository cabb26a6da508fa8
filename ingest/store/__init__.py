"""Vector stores: one interface, the embedded Qdrant engine and a Qdrant server behind it."""
