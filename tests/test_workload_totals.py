"""The shipped networks count what their papers count."""

from __future__ import annotations

import pytest

from simhw import shipped
from simhw.workload import load_workload

# Products of one image, and learnable parameters (weights, biases, scale and offset of each batch norm).
TOTALS = {
    "lenet_digits": (
        416_520,
        61_706,
    ),  # LeNet-5 with a dense C3: conv 156 + 2,416; linear 48,120 + 10,164 + 850
    "lenet5_mnist": (416_520, 61_706),  # the same network
    "lenet5_caffe": (2_293_000, 431_080),  # Han et al., NeurIPS 2015: 431 k
    "lenet5_tolba": (203_520, 3_870),  # Tolba et al., Table III: 3.87 k weights
    "lenet_300_100": (266_200, 266_610),  # Tolba et al., Table II: 266.2 k weights; and 410 biases
    "fc_64_32": (52_544, 52_544),  # Tolba et al., Table II: 52.5 k
    "cifar10_tolba": (28_935_424, 521_824),  # Section IV.B on three channels
    "cifar10_tolba_grey": (27_297_024, 520_224),  # Table IV: 256.8 k + 263.4 k
    "cifar10_quick": (12_354_176, 145_578),  # Caffe
    "alexnet": (724_406_816, 60_965_224),  # BVLC AlexNet: 724 M products, 60.97 M parameters
    "alexnet_conv": (665_784_864, 2_334_080),  # Eyeriss, JSSC 2017, Table V: 666 M
    "vgg16": (15_470_264_320, 138_357_544),  # configuration D: 15.47 G, 138.36 M
    "googlenet": (1_582_671_872, 6_998_552),  # BVLC GoogLeNet without auxiliary heads
    "squeezenet_v1_0": (861_339_936, 1_248_424),  # the authors' deploy file at 227x227, conv10 padded by 1
    "squeezenet_v1_1": (387_747_520, 1_235_496),  # the authors' deploy file at 227x227
    "resnet20_cifar10": (40_551_040, 269_722),  # He et al., Table 6: 0.27 M
    "resnet32_cifar10": (68_862_592, 464_154),  # 0.46 M
    "resnet56_cifar10": (125_485_696, 853_018),  # Akhlaghi, Table 5.1: 853,018
    "resnet110_cifar10": (252_887_680, 1_727_962),  # 1.7 M
    "mobilenet_v2": (300_774_272, 3_504_872),  # Sandler et al.: 300 M products; 3.50 M parameters
    "mobilenet_v2_cifar10": (55_021_952, 3_504_872 - 990 * (1280 + 1)),  # ten classes for a thousand
    "mobilenet_v2_cifar32": (91_154_944, 2_296_922),  # Akhlaghi, Table 5.1: 2,296,922
    "image_filters": (28 * 28 * (4 + 5 + 10), 0),  # mul and mac of Roberts, sharpen and Sobel
    "ds_cnn_l_kws": (28_327_812, 416_772),  # from its layers, see below
}


@pytest.mark.parametrize("name", TOTALS)
def test_a_network_has_the_products_and_parameters_of_its_paper(name):
    workload = load_workload(name)
    assert workload.name == name
    assert (workload.macs, workload.parameters) == TOTALS[name]


def test_every_shipped_workload_is_counted():
    assert set(shipped.names("workloads", ".yaml")) == set(TOTALS)


def test_the_keyword_network_is_counted_by_hand():
    """276 filters of 10x4 on 25x10 positions, five pairs of 3x3 and 1x1 on 13x5, then 276 to 12."""
    first, pair, last = 276 * 40, 276 * 9 + 276 * 276, 276 * 12
    assert TOTALS["ds_cnn_l_kws"][0] == first * 25 * 10 + 5 * pair * 13 * 5 + last
    assert TOTALS["ds_cnn_l_kws"][1] == first + 5 * pair + last + 11 * 3 * 276 + 12


def test_resnets_follow_from_their_depth():
    """6n + 2 layers: per block of 16, 32, 64 channels two 3x3 convolutions; two channels' worth per norm."""
    for depth in (20, 32, 56, 110):
        n = (depth - 2) // 6
        convs = 27 * 16 + sum(
            (2 * n - (m > 16)) * 9 * m * m + (m > 16) * 9 * m * m // 2 for m in (16, 32, 64)
        )
        norms = 2 * (16 + sum(2 * n * m for m in (16, 32, 64)))
        assert TOTALS[f"resnet{depth}_cifar10"][1] == convs + norms + 650


@pytest.mark.parametrize(
    ("name", "layer", "shape"),
    [
        # maps [C, H, W] between layers, as the papers and their released networks print them
        ("alexnet", "pool1", (96, 27, 27)),
        ("alexnet", "pool5", (256, 6, 6)),
        ("vgg16", "pool5", (512, 7, 7)),
        ("googlenet", "pool1/3x3_s2", (64, 56, 56)),
        ("googlenet", "inception_4e/output", (832, 14, 14)),
        ("squeezenet_v1_0", "conv10", (1000, 15, 15)),
        ("squeezenet_v1_1", "pool1", (64, 56, 56)),
        ("cifar10_quick", "pool3", (64, 4, 4)),
        ("mobilenet_v2", "conv_last", (1280, 7, 7)),
        ("mobilenet_v2_cifar32", "conv_last", (1280, 4, 4)),
        ("resnet110_cifar10", "layer3.17.add", (64, 8, 8)),
        ("ds_cnn_l_kws", "conv_1", (276, 25, 10)),
    ],
)
def test_maps_have_the_sizes_that_are_printed(name, layer, shape):
    workload = load_workload(name)
    assert workload.graph.shapes(workload.input_shape)[layer][1:] == shape


def test_alexnets_convolutions_are_the_same_with_and_without_its_linear_layers():
    whole, convs = load_workload("alexnet"), load_workload("alexnet_conv")
    assert whole.graph.nodes[:10] == convs.graph.nodes
