"""What chapter 3 of Akhlaghi's thesis prints of SnaPEA (a reprint of Akhlaghi et al., ISCA 2018)."""

from __future__ import annotations

NETWORKS = {
    "AlexNet": "alexnet",
    "GoogLeNet": "googlenet",
    "SqueezeNet": "squeezenet_v1_0",
    "VGGNet": "vgg16",
}

# Table 3.1: year, model size in MB, convolutions, fully connected layers, accuracy in %
TABLE_3_1 = {
    "AlexNet": (2012, 224, 5, 3, 72.6),
    "GoogLeNet": (2015, 54, 57, 1, 84.4),
    "SqueezeNet": (2016, 6, 26, 1, 74.1),
    "VGGNet": (2014, 554, 13, 3, 83.0),
}

# Table 3.2 and its text: sizes, then areas in mm2, those of a PE beside how the built parts begin
SNAPEA_PES, SNAPEA_GRID, SNAPEA_LANES, SNAPEA_PAUS = 64, (8, 8), 4, 4
BUFFER_KB, SNAPEA_IO_KB, CLOCK_MHZ = 0.5, 20, 500
EYERISS_PES, EYERISS_LANES, EYERISS_SUMS_B, EYERISS_INPUTS_B = 256, 1, 48, 24
ON_CHIP_MB, MACS = 1.25, 256
NOT_THERE = 0  # the area of SnaPEA's registers of sums and inputs, and of its global buffer: "N/A"
SNAPEA_PE = {
    "lanes": (0.012, "lane"),
    "weights": (0.014, "weights"),
    "indexes": (0.007, "indexes"),
    "io": (0.250, "io"),
    "paus": (0.008, "pau"),
}
EYERISS_PE = {
    "lanes": (0.003, "mac"),
    "partial_sum_register": (0.002, "psum_spad"),
    "input_register": (0.001, "ifmap_spad"),
    "weights": (0.014, "filter_spad"),
}
SNAPEA_PES_MM2, SNAPEA_TOTAL_MM2 = 18.62, 18.6
EYERISS_PES_MM2, EYERISS_BUFFER_MM2, EYERISS_TOTAL_MM2 = 4.94, 12.9, 17.8
OVERHEAD_PCT = 4.5

# Table 3.3: pJ per bit, relative cost
TABLE_3_3 = {
    "register_file": (0.20, 1.0),
    "pe": (0.30, 1.5),
    "inter_pe": (0.40, 2.0),
    "global_buffer": (1.20, 6.0),
    "ddr4": (15.00, 75.0),
}
EYERISS_PE_RELATIVE = 1.0  # the text beside it: the baseline's PE has no prediction unit

# figure 3.4: products of the window, and its sum where it stops
FIG_3_4 = {"unaltered": (3, -9), "exact": (2, -3), "predictive": (1, 2)}

NEGATIVE_PCT = (42, 68)  # figure 3.1's text: inputs of activation layers that are negative

# text of figures 3.8 and 3.9: speedup, energy reduction
EXACT_AVERAGE, EXACT_MAX, EXACT_SQUEEZENET = (1.28, 1.16), (1.74, 1.51), (1.3, 1.14)
EXACT_AVERAGE_ROUNDED = 1.3  # the same average speedup in the text beside figure 3.8
INTRO_SQUEEZENET = (1.30, 1.15)  # section 3.1: 30 % speedup, 15 % energy reductions
STATIC_PRUNING_PCT = (63, 49)  # abstract: speedup and energy reduction compared to static pruning, up to
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
