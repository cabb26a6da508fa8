"""Runtimes of a network: Keras on TensorFlow, and OpenVINO."""
