"""The command `geosim` and all of its search commands."""
