"""A file name that the system will not even look for is told in a line, wherever a user can give one."""

from __future__ import annotations

import pytest

from simhw import parameters
from simhw.core import load_plugin
from simhw.description import load_accelerator
from simhw.errors import SimhwError
from simhw.files import check_output
from simhw.reference.datasets import Request, find_data, load
from simhw.result import Result
from simhw.technology import load_technology
from simhw.trace import Trace
from simhw.workload import export, load_workload

LONG = "x" * 300
UNREAD = f"{LONG}: cannot be read: File name too long"
NO_DATA = (
    f"{LONG}: no such file or folder here; give its path, or the folder that holds it by --data or SIMHW_DATA"
)


@pytest.mark.parametrize(
    ("use", "said"),
    [
        (load_accelerator, f"{UNREAD}; wants a .yaml file"),
        (lambda name: parameters.load(name, "mapping"), f"{UNREAD}; wants a .yaml file"),
        (load_workload, f"{UNREAD}; wants a .yaml file"),
        (load_technology, f"{UNREAD}; wants a .yaml file"),
        (Trace.load, f"{UNREAD}; wants a .safetensors file"),
        (Result.from_json, UNREAD),
        (load_plugin, f"{LONG}: no such file; --plugin wants a Python file"),
        (check_output, f"{LONG}: cannot be written: File name too long"),
        (
            lambda name: check_output(f"{name}/a.json"),
            f"{LONG}/a.json: cannot be written: File name too long",
        ),
        (lambda name: export(load_workload("lenet_digits"), weights=name), NO_DATA),
        (find_data, NO_DATA),
        (
            lambda name: load(name, Request(shape=(1, 8, 8))),
            f"{LONG}: no such file or folder; wants a data set, digits, or synthetic",
        ),
        (
            lambda name: load_accelerator("eyeriss", [f"technology=./{name}"]),
            f"--set technology=./{LONG}: technology: no such file: {LONG}; "
            "wants the name or the path of a technology table",
        ),
    ],
    ids=lambda part: getattr(part, "__qualname__", "said"),
)  # fmt: skip
def test_a_name_too_long_for_the_file_system_is_told(tmp_path, monkeypatch, use, said):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIMHW_DATA", raising=False)
    with pytest.raises(SimhwError) as refused:
        use(LONG)
    assert str(refused.value) == said
