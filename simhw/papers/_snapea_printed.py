"""What chapter 3 of Akhlaghi's thesis prints of SnaPEA (a reprint of Akhlaghi et al., ISCA 2018)."""

from __future__ import annotations

NETWORKS = {
    "AlexNet": "alexnet",
    "GoogLeNet": "googlenet",
    "SqueezeNet": "squeezenet_v1_0",
    "VGGNet": "vgg16",
}

# Table 3.1: model size in MB, convolutions, fully connected layers, accuracy in %
TABLE_3_1 = {
    "AlexNet": (224, 5, 3, 72.6),
    "GoogLeNet": (54, 57, 1, 84.4),
    "SqueezeNet": (6, 26, 1, 74.1),
    "VGGNet": (554, 13, 3, 83.0),
}

# Table 3.2: areas in mm2
SNAPEA_PE = {"lanes": 0.012, "weights": 0.014, "indexes": 0.007, "io": 0.250, "paus": 0.008}
SNAPEA_PES, SNAPEA_TOTAL = 18.62, 18.6
EYERISS_PES, EYERISS_BUFFER, EYERISS_TOTAL = 4.94, 12.9, 17.8
OVERHEAD_PCT = 4.5
ON_CHIP_MB, MACS = 1.25, 256

# Table 3.3: pJ per bit, relative cost
TABLE_3_3 = {
    "register_file": (0.20, 1.0),
    "pe": (0.30, 1.5),
    "inter_pe": (0.40, 2.0),
    "global_buffer": (1.20, 6.0),
    "ddr4": (15.00, 75.0),
}

NEGATIVE_PCT = (42, 68)  # figure 3.1's text: inputs of activation layers that are negative

# text of figures 3.8 and 3.9: speedup, energy reduction
EXACT_AVERAGE, EXACT_MAX, EXACT_SQUEEZENET = (1.28, 1.16), (1.74, 1.51), (1.3, 1.14)
INTRO_SQUEEZENET_ENERGY = 1.15
PREDICTIVE = {"GoogLeNet": (2.08, 1.63), "SqueezeNet": (1.80, 1.42)}
LAYER_MAX, LAYER_MIN, LAYER_MAX_ENERGY = 3.59, 1.17, 3.14  # figure 3.10: GoogLeNet's inception 4e

# Table 3.4: share of convolutions in predictive mode in %, their mean speedup and energy reduction
TABLE_3_4 = {
    "AlexNet": (60.0, 2.11, 1.97),
    "GoogLeNet": (84.21, 2.17, 2.04),
    "SqueezeNet": (65.38, 1.94, 1.84),
    "VGGNet": (61.50, 1.87, 1.73),
}
TABLE_3_4_AVERAGE = (67.8, 2.02, 1.89)

# Table 3.5: true and false negative rates in %
TABLE_3_5 = {
    "AlexNet": (61.84, 21.39),
    "GoogLeNet": (66.36, 28.37),
    "SqueezeNet": (49.32, 16.69),
    "VGGNet": (47.54, 15.21),
}
TABLE_3_5_AVERAGE = (56.26, 20.41)
SMALL_PCT = 86

BY_LOSS = {0: 1.28, 1: 1.38, 2: 1.63, 3: 1.9}  # figure 3.11's text: average speedup by accuracy loss in %
BY_LANES = {2: -26, 8: -36, 16: -45}  # figure 3.12's text: change in % by lanes in each PE, against 4
