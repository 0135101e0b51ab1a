"""simhw: cycle-level simulation of neural-network accelerators whose work depends on the data."""

__version__ = "0.1.0"
