"""Parameter files: values by layer that somebody chose or learned for a network; one door for every kind.

A file has a header, which all kinds share, and `layers`. What a layer has, its kind says; there is one in
each file of this package, or in a plug-in. docs/parameters.md tells what the header's fields mean.
"""

from simhw.parameters import coefficients, mapping, speculation
from simhw.parameters.file import VERSION, Parameters
from simhw.parameters.loading import digests_of, find, folder_of, load, load_arrays, names, of_another

__all__ = [
    "VERSION",
    "Parameters",
    "coefficients",
    "digests_of",
    "find",
    "folder_of",
    "load",
    "load_arrays",
    "mapping",
    "names",
    "of_another",
    "speculation",
]
