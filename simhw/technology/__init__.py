"""Technology tables: what one action of one component costs, every number with its source."""

from simhw.technology.load import load_technology, technology_names
from simhw.technology.table import NoPrice, Price, Technology

__all__ = ["NoPrice", "Price", "Technology", "load_technology", "technology_names"]
