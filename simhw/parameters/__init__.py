"""Parameter files: values by layer that somebody chose or learned for a network; one door for every kind.

    kind: speculation                # of which there is a file in this package, or in a plug-in
    version: 3                       # of this form, which all kinds share
    name: lenet_digits-1
    cites: …                         # where published ones are from
    workload: lenet_digits           # the network they were made for
    digests: {network: 1f…, weights: 9c…, layers: 07…}
    values: 6                        # how many values `layers` holds
    recipe: {…}                      # what they were made by, what they do to the network,
    reached: {…}                     # and with what they were made; any of the three may be left out
    made: {…}
    layers:
      conv1: {thresholds: [0.125, -0.5, 0], groups: [4, 2, 1]}

`digests.network` binds a file to a network, `digests.weights` to its weights as well; a kind says which of
them a file must have. `values` tells a file that was cut short, and `digests.layers`, left out of one written
by hand, one whose values were changed. Where values are arrays, the file is an .npz: the header lies in it as
JSON, and the arrays by layer and field, `conv1.coefficients`.

A file is named by its path, or by the name of one that ships in accelerators/parameters/<kind>/.
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
