"""Every path and file name of the program, and back."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from photometry.core.ids import CcdId

TODO_NAME = "todo.sqlite"
PLOTS_FOLDER = "plots"                # below the output folder
CATALOGS_FOLDER = "catalogs"          # local star lists, looked up when no source is named
TRUTH_FOLDER = "truth"                # what simulated images were made from
FFI_FOLDER = "ffi"                    # where simulated images go; real ones may lie anywhere
PARTS_SUFFIX = ".parts"
MEMBER_MARK = "#"                     # between the name of a file and a TIC number
ATTITUDE_FOLDER = "quaternions"       # and for tables of the spacecraft's attitude
TPF_FOLDER = "tpf"                    # the same for target pixel files
_FFI = re.compile(r"tess\d+-s(\d{4})-([1-4])-([1-4])-\d{4}-[a-z]_ffic\.fits(\.gz)?$")
_TICA = re.compile(r"hlsp_tica_tess_ffi_s(\d{4})-(?:o\d[ab]?-)?\d{8}-cam([1-4])-ccd([1-4])"
                   r"_tess_v\d+_img\.fits(\.gz)?$")
_TPF = re.compile(r"tess\d+-s(\d{4})-(\d{16,})-\d{4}-[a-z]_(?:fast-|a_fast-)?tp\.fits(\.gz)?$")
_CUTOUT = re.compile(r"(?:tess|tica|hlsp_tica.*)[-_]s(\d{4})-(?:cam)?([1-4])-(?:ccd)?([1-4])[-_].+"
                     r"_astrocut\.fits(\.gz)?$")
_CUBE = re.compile(r"sector(\d{3,})_camera([1-4])_ccd([1-4])\.hdf5$")
_CATALOG = re.compile(r"catalog_sector(\d{3,})_camera([1-4])_ccd([1-4])\.sqlite$")
_LIGHTCURVE = re.compile(
    r"tess(\d{11,})-s\d{3,}-[1-4]-[1-4]-c\d+-dr\d+-v\d+-tasoc_lc\.fits(\.gz)?$")
_PLACE = re.compile(r"tess\d{11,}-s(\d{3,})-([1-4])-([1-4])-c\d+-.*-tasoc_lc\.fits(?:\.gz)?$")
_BULK = re.compile(r"tess-s(\d{3,})-([1-4])-([1-4])-c(\d+)-dr\d+-v\d+-tasoc_lc\.hdf5$")


def catalog_path(folder: Path, ccd: CcdId) -> Path:
    """Return where the star catalog of a CCD is."""
    return folder / f"catalog_sector{ccd.sector:03d}_camera{ccd.camera}_ccd{ccd.ccd}.sqlite"


def cube_path(folder: Path, ccd: CcdId) -> Path:
    """Return where the pixel cube of a CCD is."""
    return folder / f"sector{ccd.sector:03d}_camera{ccd.camera}_ccd{ccd.ccd}.hdf5"


def measured_prf_path(folder: Path, ccd: CcdId) -> Path:
    """Return where the PRF that was measured on a CCD's stars is kept, in either folder."""
    return folder / "prf" / (
        f"prf_sector{ccd.sector:03d}_camera{ccd.camera}_ccd{ccd.ccd}.hdf5")


def todo_path(folder: Path) -> Path:
    """Return where the to-do list is."""
    return folder / TODO_NAME


@dataclass(frozen=True, slots=True)
class LightCurveName:
    """What the name of a light-curve file says."""

    starid: int
    ccd: CcdId
    cadence_s: int
    data_rel: int
    version: int

    def path(self, output: Path, gzip: bool = True) -> Path:
        """Return where the file belongs below the output folder."""
        tic = f"{self.starid:011d}"
        name = (f"tess{tic}-s{self.ccd.sector:03d}-{self.ccd.camera}-{self.ccd.ccd}"
                f"-c{self.cadence_s:04d}-dr{self.data_rel:02d}-v{self.version:02d}-tasoc_lc.fits")
        return output / f"c{self.cadence_s:04d}" / tic[:5] / (name + (".gz" if gzip else ""))


def ffi_name(ccd: CcdId, start_utc: str, scconfig: int, gzip: bool = False) -> str:
    """Return the mission's file name of a calibrated FFI; `start_utc` as YYYYDDDhhmmss."""
    return (f"tess{start_utc}-s{ccd.sector:04d}-{ccd.camera}-{ccd.ccd}-{scconfig:04d}-s_ffic.fits"
            + (".gz" if gzip else ""))


def tica_name(ccd: CcdId, orbit: int, cadenceno: int, gzip: bool = False) -> str:
    """Return TICA's file name of a calibrated FFI; `orbit` counts from 1 in the sector."""
    return (f"hlsp_tica_tess_ffi_s{ccd.sector:04d}-o{orbit}-{cadenceno:08d}-cam{ccd.camera}"
            f"-ccd{ccd.ccd}_tess_v01_img.fits" + (".gz" if gzip else ""))


def tpf_name(starid: int, sector: int, start_utc: str, scconfig: int, fast: bool = False) -> str:
    """Return the mission's file name of a target pixel file."""
    kind = "a_fast-tp" if fast else "s_tp"
    return f"tess{start_utc}-s{sector:04d}-{starid:016d}-{scconfig:04d}-{kind}.fits.gz"


def truth_path(folder: Path, ccd: CcdId) -> Path:
    """Return where the truth of a simulated CCD is."""
    return (folder / TRUTH_FOLDER
            / f"truth_sector{ccd.sector:03d}_camera{ccd.camera}_ccd{ccd.ccd}.hdf5")


def star_list_path(folder: Path, ccd: CcdId) -> Path:
    """Return where the star list that goes with a simulated CCD is."""
    return (folder / CATALOGS_FOLDER
            / f"stars_sector{ccd.sector:03d}_camera{ccd.camera}_ccd{ccd.ccd}.csv")


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder in order of name, symbolic links followed.

    A folder that links lead to several times, or in a circle, is visited once.
    """
    visited = set()
    for root, folders, names in os.walk(folder, followlinks=True):
        status = Path(root).stat()
        place = status.st_dev, status.st_ino
        if place in visited:
            folders.clear()
            continue
        visited.add(place)
        folders.sort()
        yield from (Path(root, name) for name in sorted(names))


def _ccd(match: re.Match) -> CcdId:
    return CcdId(int(match[1]), int(match[2]), int(match[3]))


def named_ccd(path: Path) -> CcdId | None:
    """Return the CCD that the name of a cube or catalog tells; None if it has another name."""
    match = _CUBE.match(path.name) or _CATALOG.match(path.name)
    return _ccd(match) if match else None


def find_ffis(folder: Path) -> list[tuple[CcdId, Path]]:
    """Return the calibrated FFIs below a folder, in order of file name (that is, of time)."""
    found = ((_FFI.match(path.name) or _TICA.match(path.name), path) for path in _walk(folder))
    return sorted(((_ccd(match), path) for match, path in found if match),
                  key=lambda item: (item[0], item[1].name))


def find_named(folder: Path, name: str) -> list[Path]:
    """Return the files of a name below a folder."""
    return [path for path in _walk(folder) if path.name == name]


def find_cutouts(folder: Path) -> list[tuple[CcdId, Path]]:
    """Return the cutouts of FFIs below a folder, as TESScut names them."""
    found = ((_CUTOUT.match(path.name), path) for path in _walk(folder))
    return [(_ccd(match), path) for match, path in found if match]


def is_cutout(path: Path) -> bool:
    """Tell whether a file is a cutout of FFIs by its name."""
    return _CUTOUT.match(path.name) is not None


def is_product(path: Path) -> bool:
    """Tell whether a file is a light curve or a target pixel file by its name."""
    return any(kind.match(path.name) for kind in (_LIGHTCURVE, _TPF))


def find_tpfs(folder: Path) -> list[tuple[int, int, Path]]:
    """Return sector, TIC number and path of the target pixel files below a folder."""
    found = ((_TPF.match(path.name), path) for path in _walk(folder))
    return [(int(match[1]), int(match[2]), path) for match, path in found if match]


def find_cubes(folder: Path) -> list[tuple[CcdId, Path]]:
    """Return the pixel cubes in a folder."""
    found = ((_CUBE.match(path.name), path) for path in sorted(folder.iterdir()))
    return [(_ccd(match), path) for match, path in found if match]


def find_lightcurves(output: Path) -> list[tuple[int, Path]]:
    """Return TIC number and path of the light curves below a folder."""
    found = ((_LIGHTCURVE.match(path.name), path) for path in _walk(output))
    return [(int(match[1]), path) for match, path in found if match]


def starid_of(path: Path) -> int:
    """Return the TIC number in the name of a light curve."""
    match = _LIGHTCURVE.match(path.name)
    if match is None:
        raise ValueError(f"{path.name} is no name of a light curve")
    return int(match[1])


def find_files(output: Path, cadence_s: int) -> list[tuple[CcdId, Path]]:
    """Return CCD and path of the FITS light curves of a cadence below a folder."""
    found = ((_PLACE.match(path.name), path) for path in _walk(output / f"c{cadence_s:04d}"))
    return [(_ccd(match), path) for match, path in found if match]


@dataclass(frozen=True, slots=True)
class BulkName:
    """What the name of a file of many light curves says."""

    ccd: CcdId
    cadence_s: int
    data_rel: int
    version: int

    def path(self, output: Path) -> Path:
        """Return where the file belongs below the output folder."""
        return (output / f"c{self.cadence_s:04d}"
                / (f"tess-s{self.ccd.sector:03d}-{self.ccd.camera}-{self.ccd.ccd}"
                   f"-c{self.cadence_s:04d}-dr{self.data_rel:02d}-v{self.version:02d}"
                   "-tasoc_lc.hdf5"))


def parts_folder(bulk: Path) -> Path:
    """Return where the parts of a file of many light curves wait to be put together."""
    return bulk.with_name(bulk.name + PARTS_SUFFIX)


def find_bulks(output: Path) -> list[tuple[CcdId, int, Path]]:
    """Return CCD, cadence and path of the files of many light curves, or of their parts."""
    names = {path.with_name(path.name.removesuffix(PARTS_SUFFIX))
             for path in output.glob("c*/tess-s*.hdf5*")}
    found = ((_BULK.match(path.name), path) for path in sorted(names))
    return [(_ccd(match), int(match[4]), path) for match, path in found if match]


def member_path(bulk: Path, starid: int) -> Path:
    """Return what stands for the path of one light curve in a file of many."""
    return bulk.with_name(f"{bulk.name}{MEMBER_MARK}{starid}")


def split_member(path: Path) -> tuple[Path, int | None]:
    """Return the file a light curve is in, and its TIC number if it is one of many there."""
    name, mark, starid = path.name.partition(MEMBER_MARK)
    return path.with_name(name), int(starid) if mark else None


def traces_folder(todo: Path) -> Path:
    """Return where the workers of a run on a to-do list leave word of where they crashed."""
    return todo.with_name(f"{todo.name}.traces")


def status_path(folder: Path) -> Path:
    """Return where a run says how it is getting on."""
    return folder / "status.json"


def ccd_plot_path(output: Path, ccd: CcdId, kind: str) -> Path:
    """Return where a figure of a CCD's cube belongs below the output folder."""
    name = f"sector{ccd.sector:03d}_camera{ccd.camera}_ccd{ccd.ccd}_{kind}.png"
    return output / PLOTS_FOLDER / name


def plot_path(output: Path, lightcurve: Path) -> Path:
    """Return where the figure of a light curve belongs below the output folder."""
    file, starid = split_member(lightcurve)
    stem = file.name.partition(".")[0]
    if starid is not None:
        stem = stem.replace("tess-", f"tess{starid:011d}-", 1)      # as that of a FITS file
    return output / PLOTS_FOLDER / f"{stem}.png"
