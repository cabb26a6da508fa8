"""Benchmark of geosim and its peers: ``python -m tests.benches``.

Each part is a module with ``ABOUT``, text above its tables, and ``measure``, which returns rows.
"""
