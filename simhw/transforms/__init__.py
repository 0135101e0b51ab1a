"""How machines want a layer, one transform a file. Importing this package registers every shipped kind."""

from simhw.transforms import fit_groups, sign_order, speculation

__all__ = ["fit_groups", "sign_order", "speculation"]
