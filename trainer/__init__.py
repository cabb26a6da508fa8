"""Learns the embedding: data sets, frozen backbones, the feature cache, the head, the saved model."""
