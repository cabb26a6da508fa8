"""What an honest evaluation needs: retrieval metrics, and images that share pixels."""
