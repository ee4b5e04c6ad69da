"""The picture of a study is one of its own figures."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from outside import ROOT
from PIL import Image

from simulator.studies import find_studies


@pytest.fixture(scope="module")
def gallery() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gallery", ROOT / "docs" / "site" / "gallery.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_figure_of_a_study_becomes_its_picture(gallery: ModuleType, tmp_path: Path) -> None:
    (study,) = find_studies(["cost"])
    folder = tmp_path / "figures" / study.folder.name
    folder.mkdir(parents=True)
    Image.new("RGB", (2200, 1000), "white").save(folder / "cost.png")
    picture = gallery.draw(study, tmp_path / "figures", tmp_path)
    assert picture == tmp_path / "cost.png"
    with Image.open(picture) as drawn:
        assert drawn.size == (1000, 455)


def test_pictures_are_small(gallery: ModuleType) -> None:
    """Of the pages' width, and together no more than 1.5 MB."""
    for picture in gallery.pictures():
        with Image.open(picture) as drawn:
            assert drawn.width <= gallery.WIDTH
    assert sum(picture.stat().st_size for picture in gallery.pictures()) < 1_500_000


def test_a_figure_that_is_not_there_is_named(gallery: ModuleType, tmp_path: Path) -> None:
    (study,) = find_studies(["headline"])
    with pytest.raises(FileNotFoundError, match=r"speedup_over_hybrid.png: the study headline"):
        gallery.figure_of(study, tmp_path)


def test_every_study_has_a_picture_that_ships(gallery: ModuleType) -> None:
    names = {study.name for study in find_studies(["all"])}
    assert {picture.stem for picture in gallery.pictures()} == names
    assert set(gallery._FIGURES) <= names
