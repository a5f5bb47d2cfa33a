from photometry.core.ids import CcdId
from photometry.io import layout

NAME = "tess2018206192942-s0001-4-2-0120-s_ffic.fits"


def test_folders_that_links_lead_to_in_a_circle_are_visited_once(tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    (images / NAME).touch()
    (images / "up").symlink_to(tmp_path)
    (tmp_path / "again").symlink_to(images)
    (tmp_path / "itself").symlink_to("itself")
    (found,) = layout.find_ffis(tmp_path)
    assert found[0] == CcdId(1, 4, 2) and found[1].name == NAME


def test_names_tell_the_ccd(tmp_path):
    ccd = CcdId(123, 4, 2)
    for path in (layout.cube_path(tmp_path, ccd), layout.catalog_path(tmp_path, ccd)):
        assert layout.named_ccd(path) == ccd
        assert layout.named_ccd(path.with_name(f"my_{path.name}.old")) is None
