"""Algorithm 1: each pass by hand, and the whole of it against a plain retelling."""

from __future__ import annotations

from itertools import product
from types import SimpleNamespace

import numpy as np
import pytest
from toys import branching, grouped, one_layer

from simhw.fast import BY_PREDICTION, early_termination_plain
from simhw.transforms import sign_order, speculation
from simhw.tuning import Images, Recipe
from simhw.tuning.candidates import Param, PartialSums, candidates, cut_down
from simhw.tuning.journal import Journal
from simhw.tuning.search import (
    Case,
    Configuration,
    Simulated,
    adjust_param,
    global_optimization_pass,
    kernel_profiling_pass,
    local_optimization_pass,
)
from simhw.workload import load_workload

BUDGETS = (0, 10, 30, 100)


def recipe(**changes) -> Recipe:
    own = {
        "workload": load_workload("lenet_digits"),
        "optimize": Images(24),
        "groups": (1, 2, 4),
        "quantiles": (0.0, 0.1, 0.4),
    }
    return Recipe(**own | changes)


def case(network, **changes) -> Case:
    return Case(network, recipe(**changes), Journal(None, ""))


# what is tried


@pytest.fixture
def by_hand():
    """Weights 2 -3 1: the first to go is -3, with two groups -3 and 2. Sums 2 -3 -1 1."""
    network = one_layer([[2, -3, 1]], [[1, 0, 0], [0, 1, 0], [1, 1, 0], [1, 1, 2]])
    return PartialSums(network.by_name["conv"], network.inputs)


def test_partial_sums_are_those_of_the_weights_that_speculate(by_hand):
    assert by_hand.complete[:, 0, 0, 0].tolist() == [2, -3, -1, 1]
    assert by_hand.after(1)[:, 0, 0, 0].tolist() == [0, -3, -3, -3]
    assert by_hand.after(2)[:, 0, 0, 0].tolist() == [2, -3, -1, -1]


def test_a_threshold_loses_at_most_its_share_of_the_positive_windows(by_hand):
    # after one product the positive windows have 0 and -3: none may be lost below -3, one below 0
    [tried] = candidates(by_hand, [1], [0.0, 0.5], "all")
    # exact mode has its one negative weight last, and takes all three products of all four windows; with
    # -3 first and nothing predicted it is the same, and so is not tried; below 0 three windows stop after
    # one product, and the other goes on to its end. (0, 1) would be exact mode: just below it
    assert tried == [None, Param(-1.0, 1, 3 * 1 + 3), Param(0.0, 1, 12)]


def test_a_number_of_groups_larger_than_the_filter_is_not_tried(by_hand):
    assert candidates(by_hand, [4], [0.0, 0.5], "all") == [[Param(0.0, 1, 12)]]


def test_fewest_keeps_for_each_share_the_groups_that_take_the_fewest_operations(by_hand):
    every = candidates(by_hand, [1, 2], [0.0, 0.5], "all")[0]
    fewest = candidates(by_hand, [1, 2], [0.0, 0.5], "fewest")[0]
    # two groups: the positive windows have 2 and -1. Below -1: one window stops after two products, the
    # others take three; below 2: three windows stop
    assert every[2:4] == [Param(-1.0, 2, 2 + 3 * 3), Param(2.0, 2, 3 * 2 + 3)]
    assert fewest == [Param(-1.0, 2, 11), Param(-1.0, 1, 6), Param(0.0, 1, 12)]


def test_a_filter_without_a_positive_window_may_predict_them_all():
    network = one_layer([[-1, -2]], [[1, 1], [0, 3]])
    sums = PartialSums(network.by_name["conv"], network.inputs)
    # exact mode: -1 stops the first window after one product; the second is 0 after one and -6 after two.
    # -2 alone leaves -2 and -6, both of which are below -1
    assert sums.exact_macs().sum() == 3
    [tried] = candidates(sums, [1], [0.0], "all")
    assert tried == [Param(-1.0, 1, 2), Param(0.0, 1, 3)]


@pytest.mark.parametrize(("limit", "digits"), [(123456, 123400), (-123456, -123500), (0, 0), (7, 7)])
def test_thresholds_are_cut_downwards(limit, digits):
    assert cut_down(limit, 0) == digits
    assert cut_down(limit, 10) <= limit / 1024


def test_counted_operations_are_the_kernels():
    network = branching(3)
    layer = network.by_name["b"]
    inputs = network.tensors(np.arange(network.images))["pool"]
    for k, own in enumerate(candidates(PartialSums(layer, inputs), [1, 2, 4], [0.0, 0.2, 0.6], "all")):
        for param in filter(None, own):
            assert plain(layer, inputs, [param] * 4)[1][:, k].sum() == param.op


# the passes, by hand


def configuration(op, err):
    return Configuration((Param(0.5, 2, op),), op, err)


def test_the_kernel_pass_keeps_what_loses_no_more_than_allowed_and_sorts_it_by_operations():
    costs = {Param(1.0, 2, 30): 0, Param(2.0, 2, 10): 4, Param(3.0, 2, 20): 1}
    layer = SimpleNamespace(name="conv", shape=SimpleNamespace(out_channels=1))
    toy = SimpleNamespace(
        layers=[layer],
        recipe=recipe(),
        candidates=lambda layer: [[*costs, None, Param(0.0, 1, 40)]],
        lost_by_filter=lambda layer, k, param: costs[param],
    )
    assert kernel_profiling_pass(toy, 1) == {
        "conv": [[Param(3.0, 2, 20), Param(1.0, 2, 30), Param(0.0, 1, 40)]]
    }


def test_the_local_pass_takes_the_tth_of_every_list_and_of_a_short_list_its_last():
    lists = [[Param(3.0, 2, 1), Param(2.0, 2, 2), Param(0.0, 1, 9)], [Param(0.0, 1, 5)]]
    losses = {3.0: 2, 2.0: 1, 0.0: 0}
    layer = SimpleNamespace(name="conv")
    toy = SimpleNamespace(layers=[layer], lost_by_layer=lambda layer, params: losses[params[0].threshold])
    found = local_optimization_pass(toy, 1, {"conv": lists})["conv"]
    assert [(one.op, one.err) for one in found] == [(2 + 5, 1), (9 + 5, 0)]
    assert found[0].params == (lists[0][1], lists[1][0])


def test_the_largest_merit_is_the_most_images_won_for_an_operation():
    now = {"a": configuration(10, 6), "b": configuration(10, 6)}
    lists = {
        "a": [configuration(5, 9), configuration(10, 6), configuration(20, 1)],  # 5 images for 10
        "b": [configuration(10, 6), configuration(12, 4), configuration(40, 0)],  # 2 for 2; 6 for 30
    }
    assert adjust_param(now, lists) == ("b", 1)


def test_a_step_back_to_fewer_operations_has_no_merit():
    now = {"a": configuration(10, 1)}
    assert adjust_param(now, {"a": [configuration(5, 9)]}) is None


def test_of_equal_merits_fewer_added_operations_count_and_then_the_earlier_layer():
    now = {"a": configuration(10, 4), "b": configuration(10, 4)}
    lists = {"a": [configuration(14, 2)], "b": [configuration(12, 3)]}
    assert adjust_param(now, lists) == ("b", 0)
    lists = {"a": [configuration(12, 3)], "b": [configuration(12, 3)]}
    assert adjust_param(now, lists) == ("a", 0)


def test_the_global_pass_begins_with_the_fewest_operations_and_steps_by_merit():
    lists = {
        "a": [configuration(10, 5), configuration(20, 2), configuration(30, 0)],
        "b": [configuration(10, 5), configuration(40, 0)],
    }
    visited = []

    def whole_network(configurations):
        ops = [own[0].op for own in configurations.values()]
        visited.append(tuple(ops))
        return Simulated(lost={20: 20, 30: 9, 40: 3}.get(sum(ops), 0), macs=sum(ops))

    toy = SimpleNamespace(whole_network=whole_network, recipe=recipe())
    # a: 3 for 10 beats 5 for 20 and b's 5 for 30; then a: 2 for 10 against b: 5 for 30
    found, simulated = global_optimization_pass(toy, 0, lists)
    assert visited == [(10, 10), (20, 10), (30, 10), (30, 40)]
    assert simulated == Simulated(0, 70)
    assert [one.op for one in found.values()] == [30, 40]


@pytest.mark.parametrize("allowed", range(12))
def test_bisecting_finds_the_same_step_where_the_loss_falls_with_every_one(allowed):
    lists = {"a": [configuration(10 + step, 11 - step) for step in range(12)]}
    asked = []

    def whole_network(configurations):
        asked.append(configurations["a"][0].op)
        return Simulated(lost=21 - asked[-1], macs=asked[-1])

    for steps in ("each", "bisect"):
        asked.clear()
        toy = SimpleNamespace(whole_network=whole_network, recipe=recipe(steps=steps))
        found, simulated = global_optimization_pass(toy, allowed, lists)
        assert found["a"].op == simulated.macs == 21 - allowed
        assert simulated.lost == allowed
        assert len(asked) == (12 - allowed if steps == "each" else len(set(asked)))
    assert len(asked) <= 5


# the whole of it


def plain(layer, inputs, params):
    """A layer's outputs and products by the definition, filters by their parameters."""
    shape = layer.shape
    ordering = speculation.apply(layer.weights, [p.threshold for p in params], [p.groups for p in params])
    return by_definition(layer, inputs, ordering, shape)


def by_definition(layer, inputs, ordering, shape):
    sums, macs, stopped = early_termination_plain(
        inputs, ordering.weights, ordering.order, layer.bias, ordering.prefix, ordering.thresholds,
        ordering.negatives_from, layer.weights.shape[2:], shape.stride, shape.pad, shape.dilation,
        shape.groups,
    )  # fmt: skip
    highest = 6 if layer.activation == "relu6" else 32767
    outputs = np.where(stopped == BY_PREDICTION, 0, np.clip(sums, 0, highest)).astype(np.int16)
    return outputs, macs


class Retold:
    """Simulate, by the reference model and the definition of early termination, nothing shared."""

    def __init__(self, network):
        self.network = network
        self.exact = self.run({})[0]

    def run(self, configurations):
        network, macs = self.network, {}

        def override(layer):
            def run(inputs):
                if layer.name not in network.stopping:
                    raise AssertionError
                params = configurations.get(layer.name)
                if params is None:
                    ordering = sign_order.apply(layer.weights)
                    outputs, taken = by_definition(layer, inputs, ordering, layer.shape)
                else:
                    outputs, taken = plain(layer, inputs, params)
                macs[layer.name] = taken
                return outputs

            return run

        chosen = {name: override(network.by_name[name]) for name in network.stopping}
        out = network.graph.infer(network.inputs, network.params, network.formats, chosen)
        for layer in network.layers:
            if layer.name not in macs:
                macs[layer.name] = np.array(layer.shape.macs * network.images)
        return out.reshape(network.images, -1).argmax(axis=1), macs

    def lost(self, configurations):
        labels = self.network.labels
        return int((self.exact == labels).sum() - (self.run(configurations)[0] == labels).sum())


def retold_algorithm(network, tried, limit):
    """Algorithm 1 line by line, with the readings that the module states."""
    told = Retold(network)
    exact = {name: [own[-1] for own in table] for name, table in tried.items()}
    param_k = {}
    for name, table in tried.items():
        param_k[name] = []
        for k, own in enumerate(table):
            kept = []
            for param in filter(None, own):
                config = [*exact[name][:k], param, *exact[name][k + 1 :]]
                if told.lost({name: config}) <= limit:
                    kept.append(param)
            param_k[name].append(sorted(kept, key=lambda p: (p.op, p.groups, p.threshold)))
    param_l = {}
    for name, lists in param_k.items():
        configs = [
            [own[min(t, len(own) - 1)] for own in lists] for t in range(max(len(own) for own in lists))
        ]
        judged = [(config, sum(p.op for p in config), told.lost({name: config})) for config in configs]
        param_l[name] = [one for one in judged if one[2] <= limit]
    chosen = {name: configs[0] for name, configs in param_l.items()}
    while told.lost({name: one[0] for name, one in chosen.items()}) > limit:
        steps = [
            (-(err - chosen[name][2]) / (op - chosen[name][1]), -(op - chosen[name][1]), -i, name, one)
            for i, (name, configs) in enumerate(param_l.items())
            for one in configs
            for _, op, err in [one]
            if op > chosen[name][1]
        ]
        *_, name, one = max(steps, key=lambda step: step[:3])
        chosen[name] = one
    found = {name: one[0] for name, one in chosen.items()}
    macs = sum(int(taken.sum()) for taken in told.run(found)[1].values())
    return found, told.lost(found), macs


NETWORKS = [(branching, 0), (branching, 1), (branching, 2), (grouped, 0), (grouped, 3)]


@pytest.mark.parametrize(("network", "budget"), list(product(NETWORKS, BUDGETS)))
def test_the_passes_do_what_a_plain_retelling_does(network, budget):
    toy, seed = network
    network = toy(seed)
    own = case(network)
    assert [layer.name for layer in own.layers] == ["a", "b"]
    limit = own.limit(budget)
    param_l = local_optimization_pass(own, limit, kernel_profiling_pass(own, limit))
    found, simulated = global_optimization_pass(own, own.allowed(budget, network.images), param_l)
    tried = {layer.name: own.candidates(layer) for layer in own.layers}
    wanted, lost, macs = retold_algorithm(network, tried, limit)
    assert {name: list(one.params) for name, one in found.items()} == wanted
    assert simulated == Simulated(lost, macs)
    assert lost <= budget * network.images / 100


def test_a_filter_that_may_predict_everything_is_found_by_itself():
    """Of two filters one never ends above zero, and its class is never named: the cheapest is right."""
    weights, images = [[-5, -1, -1], [1, 1, 1]], [[1, 2, 3], [3, 2, 1], [2, 2, 2]]
    network = one_layer(weights, images, labels=[1, 1, 1])
    own = case(network)
    param_l = local_optimization_pass(own, 0, kernel_profiling_pass(own, 0))
    found, simulated = global_optimization_pass(own, 0, param_l)
    # of all (th, n), one product a window for the first filter and all three for the second, or for the
    # second, too, one product where its sum is taken to be below zero: the class 0 is then named by a tie
    best = min(
        sum(int(macs.sum()) for macs in told[1].values())
        for told in (
            Retold(network).run({"conv": [Param(th, n, 0), Param(0.0, 1, 0)]})
            for th in range(-20, 20)
            for n in (1, 2, 3)
        )
        if (told[0] == 1).all()
    )
    assert simulated == Simulated(0, best)
    assert found["conv"].params[1].is_exact


def test_agreement_counts_every_class_that_changes():
    network = branching(1)
    wrong = 1 - np.eye(network.images, dtype=bool)
    own = case(network, metric="agreement")
    classes = np.where(wrong[0] == 1, own._exact_classes(), -1)
    assert own._compared(classes, own._exact_classes(), None) == 1


def test_by_layer_a_place_in_the_lists_is_for_all_filters_or_for_none():
    network = branching(2)
    own = case(network, profile_by="layer")
    limit = own.limit(30)
    param_k = kernel_profiling_pass(own, limit)
    told = Retold(network)
    for layer in own.layers:
        table = own.candidates(layer)
        columns = list(zip(*[[p or line[-1] for p in line] for line in table], strict=True))
        fitting = [c for c in columns if told.lost({layer.name: list(c)}) <= limit]
        fitting.sort(key=lambda column: sum(p.op for p in column))
        assert [tuple(line) for line in param_k[layer.name]] == list(zip(*fitting, strict=True))


def test_profiled_images_are_a_part_drawn_by_the_seed():
    network = branching(0)
    drawn = {tuple(case(network, profile_images=6, seed=seed).profiled) for seed in (1, 2, 1)}
    assert len(drawn) == 2
    assert all(len(one) == 6 for one in drawn)
    assert case(network).profiled.tolist() == list(range(24))
