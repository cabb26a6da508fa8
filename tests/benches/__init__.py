"""The benchmark: this project and its peers side by side, ``python -m tests.benches``.

Every part is a module with ``ABOUT``, a sentence for the table, and ``measure``, which returns its
rows. Contenders take turns, so that ratios are of figures taken at the same time, and each one that
starts threads lives in a process of its own.
"""
