"""Code that is edited in place is part of what its results are known by; released code goes by its version."""

from __future__ import annotations

import json
import sys

import pytest

from harness.provenance import edited_source


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Lay out a distribution and its package on the path, editable or not."""
    edited_source.cache_clear()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])

    def installing(*, editable, source="X = 1\n"):
        package = tmp_path / "toy_package"
        package.mkdir(exist_ok=True)
        (package / "__init__.py").write_text("")
        (package / "attack.py").write_text(source)
        info = tmp_path / "toy_dist-1.0.dist-info"
        info.mkdir(exist_ok=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-dist\nVersion: 1.0\n")
        (info / "direct_url.json").write_text(json.dumps({"url": "file:///x", "dir_info": {"editable": editable}}))
        edited_source.cache_clear()
        return edited_source("toy-dist", "toy_package")

    yield installing
    edited_source.cache_clear()


def test_an_edit_of_an_editable_package_changes_its_identity(install):
    before = install(editable=True)
    assert before is not None
    assert install(editable=True) == before
    assert install(editable=True, source="X = 2\n") != before


def test_a_released_package_goes_by_its_version(install):
    assert install(editable=False) is None


def test_parts_restrict_what_counts(install):
    install(editable=True)
    one = edited_source("toy-dist", "toy_package", ("__init__.py",))
    install(editable=True, source="X = 3\n")
    assert edited_source("toy-dist", "toy_package", ("__init__.py",)) == one


def test_what_is_no_distribution_counts_as_edited(install):
    install(editable=False)
    assert edited_source("no-such-distribution", "toy_package") is not None


def test_nothing_is_imported(install):
    install(editable=True)
    assert "toy_package" not in sys.modules


def test_a_table_beside_the_code_is_part_of_its_source(tmp_path, monkeypatch):
    package = tmp_path / "tabled_package"
    (package / "__pycache__").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "table.json").write_text("{}")
    monkeypatch.syspath_prepend(tmp_path)
    first = digest("tabled_package")
    (package / "__pycache__" / "x.pyc").write_text("compiled")
    assert digest("tabled_package") == first
    (package / "table.json").write_text('{"eps": 2}')
    assert digest("tabled_package") != first


def digest(package):
    edited_source.cache_clear()
    return edited_source("no-such-distribution", package)
