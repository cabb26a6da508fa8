"""Runtimes that compute a network: Keras on TensorFlow, and OpenVINO."""
