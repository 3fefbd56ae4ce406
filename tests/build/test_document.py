"""The manifest's types and its schema are of one mind."""

from __future__ import annotations

from typing import NotRequired, get_origin, get_type_hints

import pytest

from recurc.build import manifest_schema
from recurc.build.schema import Record, ShapeError
from recurc.documents import manifest, plan
from recurc.solve import Policy

PAIRS = [
    (manifest.Manifest, manifest_schema.MANIFEST), (manifest.FirmwareEntry, manifest_schema._FIRMWARE),
    (manifest.Link, manifest_schema._LINK), (manifest.TableEntry, manifest_schema._TABLE),
    (manifest.Config, manifest_schema._CONFIG), (plan.Plan, manifest_schema._PLAN),
    (plan.PlannedStack, manifest_schema._STACK), (plan.PlacedTable, manifest_schema._PLACED),
    (plan.PlannedModel, manifest_schema._MODEL), (plan.Verdict, manifest_schema._VERDICT),
    (plan.Advice, manifest_schema._CHANGE), (plan.Work, manifest_schema._WORK),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "shape"), PAIRS, ids=lambda x: getattr(x, "__name__", ""))
def test_types_have_the_keys_of_the_schema(kind: type, shape: Record):
    hints = get_type_hints(kind, include_extras=True)
    optional = {name for name, hint in hints.items() if get_origin(hint) is NotRequired}
    assert set(hints) - optional == set(shape.needed) and optional == set(shape.more)


@pytest.mark.parametrize("packages", [{"x": "../y"}, {"x": "/y"}, {"a/b": "y"}, {"x": 1}, ["x"], {"x": "a//b"}])
def test_folders_of_packages_stay_in_the_build(packages):
    with pytest.raises(ValueError):
        manifest_schema.MANIFEST.more["packages"](packages, "packages")


def test_a_format_may_have_no_folder_of_its_own():
    manifest_schema.MANIFEST.more["packages"]({"firmware": "", "library": "library"}, "packages")
    assert issubclass(ShapeError, ValueError)


@pytest.mark.parametrize("wrong", [{"noise": 1e300}, {"noise": 1e-60}, {"noise": 0}, {"noise": -1.0}, {"threshold": 1e300}])
def test_numbers_that_no_policy_takes_are_no_manifests(wrong):
    solve = {**vars(Policy(4, 3, noise=0.5)), "symmetry": "none", "forms": 0}
    manifest_schema._SOLVE(solve, "solve")
    with pytest.raises(ShapeError):
        manifest_schema._SOLVE({**solve, **wrong}, "solve")
