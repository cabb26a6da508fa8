"""The generated data set of rock textures, for the demo and the tests."""
