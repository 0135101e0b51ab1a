"""How components, dataflows, twins and transforms are known by their kinds."""

from __future__ import annotations

from typing import Any

from simhw.errors import PluginError


def register(registry: dict[str, Any], cls: type[Any], kind: str) -> None:
    """Enter a class under its kind; the same class, defined again, may take its place."""
    known = registry.get(kind)
    if known is not None and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise PluginError(
            f"{cls.__module__}.{cls.__qualname__}: kind {kind!r} is already that of "
            f"{known.__module__}.{known.__qualname__}; choose another name"
        )
    cls.KIND = kind
    registry[kind] = cls
