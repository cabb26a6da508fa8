"""Learns the embedding: data sets, backbones, the feature cache, the head, the saved model."""
