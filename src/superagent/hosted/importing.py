"""Importing: make the `Plugin` of a plugin's folder or module, here as in the sandbox."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from superagent.core.plugin import Plugin


def import_plugin(name: str, module: str, folder: str = "") -> Plugin:
    """Import a module and give the one `Plugin` of this name in it.

    With a folder, `module` is a file in it, and the folder a package of its own, so that the plugin's files find each
    other (`from . import engine`) and nobody else's are hidden by theirs. Raises `TypeError` when there is no such
    plugin, and whatever importing raises.
    """
    if folder:
        package = f"superagent_plugin_{name}"
        made = ModuleType(package)
        made.__path__ = [folder]
        sys.modules[package] = made
        module = f"{package}.{module}"
    found = {one for one in vars(importlib.import_module(module)).values() if isinstance(one, Plugin)}
    named = [one for one in found if one.name == name]
    if len(named) != 1:
        raise TypeError(f"`{module}` holds no single `Plugin({name!r})`")
    return named[0]
