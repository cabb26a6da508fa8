"""The commands `train` and `download`, and what all commands share."""
