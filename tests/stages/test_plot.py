import numpy as np
import pytest

from photometry import cli, console
from photometry.core.ids import CcdId
from photometry.core.pixels import Box
from photometry.io import layout
from photometry.io.cube import Cube
from photometry.stages.ccd_figures import ccd_data, reduced, seen_box, shown_frames

pytestmark = pytest.mark.plot
plots = pytest.importorskip("photometry.plots", exc_type=ModuleNotFoundError)
CCD = CcdId(1, 2, 3)


def test_the_figures_of_a_cube_are_drawn(sector, tmp_path, capsys):
    assert cli.main(["plot", str(sector), "--output", str(tmp_path), "--camera", "2"]
                    ) == console.DONE
    paths = [layout.ccd_plot_path(tmp_path, CCD, kind) for kind in ("images", "timeline")]
    assert capsys.readouterr().out.split() == [str(path) for path in paths]
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths)


def test_the_figure_of_a_star_is_drawn(sector, tmp_path, capsys):
    starid, path = layout.find_lightcurves(sector / "lightcurves")[0]
    output = tmp_path / "out"
    target = output / path.relative_to(sector / "lightcurves")
    target.parent.mkdir(parents=True)
    target.write_bytes(path.read_bytes())
    assert cli.main(["plot", str(sector), "--output", str(output), "--starid", str(starid)]
                    ) == console.DONE
    assert capsys.readouterr().out.strip() == str(layout.plot_path(output, path))
    assert layout.plot_path(output, path).exists()


@pytest.mark.parametrize("options, told", [
    (["--camera", "4"], "no cube matches the selection"),
    (["--starid", "5"], "holds no light curve of TIC 5")])
def test_what_is_not_there_is_named(sector, options, told, capsys):
    assert cli.main(["plot", str(sector), *options]) == console.UNUSABLE
    assert told in capsys.readouterr().err


def test_data_are_those_of_the_cube(sector):
    with Cube(layout.cube_path(sector, CCD)) as cube:
        data = ccd_data(plots, cube)
        assert data.sumimage.shape == cube.box.shape
        np.testing.assert_allclose(data.sumimage, cube.sumimage(cube.box))
    assert data.shift.shape == (30, 2) and len(data.backgrounds) == 4
    assert np.median(next(iter(data.backgrounds.values()))) == pytest.approx(
        np.median(data.level), rel=0.1)


def test_large_images_are_averaged():
    image = np.arange(35.0).reshape(5, 7)
    image[0, 0], image[2:4, 2:4] = np.nan, np.nan
    small = reduced(image, 2)
    assert small.shape == (2, 3)
    assert seen_box(Box(10, 15, 20, 27), 2) == Box(10, 14, 20, 26)
    assert small[0, 0] == np.mean([1, 7, 8]) and np.isnan(small[1, 1])
    np.testing.assert_array_equal(reduced(image[:4], 1), image[:4])


def test_shown_frames_span_all_levels_of_good_frames():
    level = np.array([5.0, 1.0, 9.0, np.nan, 3.0, 7.0, 99.0])
    good = np.arange(7) < 6
    assert shown_frames(level, good) == [1, 2, 4, 5]
    assert shown_frames(level, ~good) == [6]
    assert shown_frames(level, np.zeros(7, bool)) == []
