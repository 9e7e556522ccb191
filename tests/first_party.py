"""The installed plugins without the bridges to attack libraries, among whose many attacks some names are claimed twice."""

from __future__ import annotations

from importlib import metadata

from harness.hookspecs import ENTRY_POINT_GROUP
from harness.manager import Manager

BRIDGES = {"foolbox", "autoattack", "torchattacks", "advlib"}


def own_manager():
    """Discover the plugins of this project that do the work themselves, and whatever else is installed."""
    found = metadata.entry_points(group=ENTRY_POINT_GROUP)
    return Manager.discover([point for point in found if point.name not in BRIDGES])
