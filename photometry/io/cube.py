"""The pixel cube of one CCD in HDF5: the only place that knows its paths and attributes.

Axes are (time, row, column). Chunks are deep in time and small on the sky, because a star is
read as a small box of all frames.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import h5py
import numpy as np
from numpy.typing import NDArray

from photometry.core.errors import InputError
from photometry.core.ffi import Readout
from photometry.core.ids import CcdId
from photometry.core.pixels import LEADING_COLUMNS, OUTPUT_NAMES, Box
from photometry.core.time import Cadences
from photometry.io.cube_chunks import FILTER, PLANE_FILL, PLANES, chunk_shape
from photometry.io.cube_read import read_box
from photometry.io.layout import named_ccd

FORMAT = "tess-photometry cube"
FORMAT_VERSION = 8
CHUNK_CACHE_BYTES = 64 * 2**20    # per dataset; chunks larger than the cache are read many times
_CHUNK_CACHE_SLOTS = 10_007       # prime, some hundred times the number of cached chunks
_TEXT_FRAMES = 16                 # WCS texts of neighboring frames repeat each other

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Provenance:
    """What a cube was made from, with what."""

    program_version: str
    settings: str                 # TOML text
    fingerprint: str              # of settings and list of input files
    inputs: str                   # digest of the file names and checksums used
    left_out: tuple[tuple[str, str], ...] = ()    # file name and reason


@dataclass(frozen=True, slots=True)
class Observation:
    """What the headers of a cube's frames say."""

    ccd: CcdId
    origin: str                   # instrument profile
    box: Box
    cadence_s: int
    data_rel: int                 # 0 = none
    procver: str
    readout: Readout
    background_applied: bool
    cadences: Cadences
    time_start: NDArray[np.float64]   # (T,) BTJD
    time_stop: NDArray[np.float64]    # (T,) BTJD
    spacecraft_km: NDArray[np.float64] | None = None      # (T, 3) barycentric; NaN = unknown
    observer: str = "mission"     # whose place `timecorr` was made with
    timestamp_shift_s: float = 0.0    # added to the middles of the exposures in the headers


@dataclass(frozen=True, slots=True)
class Frames:
    """Where the frames came from, and their world coordinates."""

    names: tuple[str, ...]        # file names
    crc32: NDArray[np.uint32]     # (T,) of the files' bytes
    sizes: NDArray[np.int64]      # (T,) bytes
    times_ns: NDArray[np.int64]   # (T,) when the files were changed
    wcs_texts: tuple[str, ...]    # header text; "" = none
    reference_index: int
    reference_wcs: str = ""       # of the stars in the reference frame; "" = as its header says
    wcs_note: str = ""            # why it is not as the header says
    pixels_missing: NDArray[np.float32] | float = 0.0     # (T,) share of pixels without a value
    errors_computed: NDArray[np.float32] | float = 0.0    # (T,) same, without an error in the file


class CubeWriter:
    """An open cube being filled; made by `creating`."""

    def __init__(self, file: h5py.File) -> None:
        self._file = file

    def write_chunks(self, frame: int, row: int, chunks: dict[str, NDArray]) -> None:
        """Write planes that begin at a frame and a row, as `cube_chunks.compressed` packs them."""
        for name in PLANES:
            dataset, content = self._file[name], chunks[name].data
            ends = np.cumsum(chunks[f"{name}_sizes"])
            offsets = chunks[f"{name}_offsets"] + [frame, row, 0]
            for offset, end, size in zip(offsets.tolist(), ends.tolist(),
                                         chunks[f"{name}_sizes"].tolist(), strict=True):
                dataset.id.write_direct_chunk(tuple(offset), content[end - size:end])

    def write_image(self, name: str, image: NDArray) -> None:
        """Write one (R, C) image: `sumimage` or `backgrounds_pixels_used`."""
        self._file.create_dataset(name, data=image, chunks=True, **FILTER)

    def write_group(self, name: str, arrays: dict[str, NDArray]) -> None:
        """Write the arrays of a model: `background` or `motion`."""
        group = self._file.create_group(name)
        for key, values in arrays.items():
            options = dict(FILTER) if np.ndim(values) > 0 and np.size(values) > 0 else {}
            group.create_dataset(key, data=values, **options)

    def note_quantization(self, sigma: float, noise: float) -> None:
        """Record the coarsest step that was allowed and the noise it added, both in errors."""
        self._file.attrs.update({"QUANTIZE_SIGMA": sigma, "QUANTIZE_NOISE": noise})


@contextmanager
def creating(path: Path, observation: Observation, frames: Frames,
             provenance: Provenance) -> Iterator[CubeWriter]:
    """Create a cube at `path` (a temporary name) and give its writer."""
    shape = (len(observation.cadences), *observation.box.shape)
    with h5py.File(path, "w", rdcc_nbytes=CHUNK_CACHE_BYTES) as file:
        _write_attributes(file, observation, provenance)
        for name, kind in PLANES.items():
            file.create_dataset(name, shape, kind, chunks=chunk_shape(shape),
                                fillvalue=PLANE_FILL[name], **FILTER)
        _write_cadences(file, observation)
        _write_frames(file, frames)
        yield CubeWriter(file)


def _write_attributes(file: h5py.File, observation: Observation, provenance: Provenance) -> None:
    readout, ccd, box = observation.readout, observation.ccd, observation.box
    file.attrs.update({
        "FORMAT": FORMAT, "FORMAT_VERSION": FORMAT_VERSION,
        "SECTOR": ccd.sector, "CAMERA": ccd.camera, "CCD": ccd.ccd,
        "CADENCE": observation.cadence_s, "DATA_REL": observation.data_rel,
        "PROCVER": observation.procver, "NUM_FRM": readout.num_frm,
        "NREADOUT": readout.n_readout, "CRMITEN": readout.crmiten, "CRBLKSZ": readout.crblksz,
        "CRSPOC": readout.crspoc, "INSTRUMENT": observation.origin,
        "BACKAPP": observation.background_applied, "OBSERVER": observation.observer,
        "TIMESTAMP_SHIFT": observation.timestamp_shift_s,
        "PIXEL_OFFSET_ROW": 0, "PIXEL_OFFSET_COLUMN": LEADING_COLUMNS,
        "ROW0": box.row0, "ROW1": box.row1, "COLUMN0": box.column0, "COLUMN1": box.column1,
        "QUANTIZE_SIGMA": 0.0, "QUANTIZE_NOISE": 0.0,
        "PROGRAM_VERSION": provenance.program_version,
        "SETTINGS": provenance.settings, "FINGERPRINT": provenance.fingerprint,
        "INPUTS": provenance.inputs, "LEFT_OUT": json.dumps(provenance.left_out)})
    for output, gain, noise in zip(OUTPUT_NAMES, readout.gain, readout.read_noise, strict=True):
        file.attrs[f"GAIN{output}"] = gain
        file.attrs[f"READNOI{output}"] = noise


def _write_cadences(file: h5py.File, observation: Observation) -> None:
    for name, values in asdict(observation.cadences).items():
        file["exposure" if name == "exposure_s" else name] = values
    file["time_start"], file["time_stop"] = observation.time_start, observation.time_stop
    for name in ("time", "time_start", "time_stop", "timecorr"):
        file[name].attrs["UNIT"] = "BTJD, d" if name != "timecorr" else "d"
    file["exposure"].attrs["UNIT"] = "s"
    if observation.spacecraft_km is not None:
        file["spacecraft"] = observation.spacecraft_km
        file["spacecraft"].attrs["UNIT"] = "km, barycentric, ICRS"


def _write_frames(file: h5py.File, frames: Frames) -> None:
    file["imagespaths"] = np.array([name.encode() for name in frames.names])
    file["imagespaths_crc32"] = frames.crc32
    file["imagespaths_size"], file["imagespaths_time_ns"] = frames.sizes, frames.times_ns
    for name in ("pixels_missing", "errors_computed"):
        file[name] = np.broadcast_to(np.float32(getattr(frames, name)), len(frames.names))
    group = file.create_group("wcs")
    texts = np.array([text.encode("ascii") for text in frames.wcs_texts])
    if texts.dtype.itemsize == 0:
        texts = texts.astype("S1")
    group.create_dataset("frames", data=texts, compression="gzip",
                         chunks=(min(_TEXT_FRAMES, len(texts)),))
    group["reference"] = frames.reference_wcs or frames.wcs_texts[frames.reference_index]
    group.attrs["note"] = frames.wcs_note
    group.attrs["ref_frame"] = frames.reference_index


class Cube:
    """A complete cube, opened for reading; use it in a `with` statement.

    Raises
    ------
    InputError
        When the file is missing, damaged, foreign, or of a newer format.
    """

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        try:
            self._file = h5py.File(path, "r", locking=False, rdcc_nbytes=CHUNK_CACHE_BYTES,
                                   rdcc_nslots=_CHUNK_CACHE_SLOTS)
        except FileNotFoundError as error:
            raise InputError(path, "there is no such cube; make it with "
                                   "run_prepare_photometry.py") from error
        except OSError as error:
            raise InputError(path, "is not a readable HDF5 file (damaged, or something else)"
                             ) from error
        try:
            self._read_head()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _read_head(self) -> None:
        if self._file.attrs.get("FORMAT") != FORMAT:
            raise InputError(self.path, "is an HDF5 file, but not a cube of this program")
        version = int(self._file.attrs.get("FORMAT_VERSION", 0))
        if version > FORMAT_VERSION:
            raise InputError(self.path, f"has cube format {version}, newer than this program "
                                        f"reads ({FORMAT_VERSION})")
        if version < FORMAT_VERSION:
            raise InputError(self.path, f"has cube format {version} of an older program; expected "
                                        f"{FORMAT_VERSION}: build it again with --overwrite")
        self.observation = self._checked(self._observation)
        named = named_ccd(self.path)
        if named not in (None, self.ccd):
            raise InputError(self.path, f"holds pixels of {self.ccd}: expected those of {named}, "
                                        "as its name tells")
        self.provenance = self._checked(self._provenance)
        expected = (len(self.cadences), *self.box.shape)
        for name in PLANES:
            shape = self._checked(lambda name=name: self._file[name].shape)
            if shape != expected:
                raise InputError(self.path, f"is damaged: {name} has shape {shape}, "
                                            f"expected {expected}")

    def _checked(self, read: Callable[[], Value]) -> Value:
        """Read something, with a clear error when it is missing or damaged."""
        try:
            return read()
        except (KeyError, OSError, ValueError) as error:
            raise InputError(self.path, f"is damaged: {error}") from error

    def _observation(self) -> Observation:
        attrs, file = self._file.attrs, self._file
        readout = Readout(
            gain=tuple(float(attrs[f"GAIN{output}"]) for output in OUTPUT_NAMES),
            read_noise=tuple(float(attrs[f"READNOI{output}"]) for output in OUTPUT_NAMES),
            num_frm=int(attrs["NUM_FRM"]), n_readout=int(attrs["NREADOUT"]),
            crmiten=bool(attrs["CRMITEN"]), crblksz=int(attrs["CRBLKSZ"]),
            crspoc=bool(attrs["CRSPOC"]))
        cadences = Cadences(*(file[name][:] for name in
                              ("time", "timecorr", "cadenceno", "quality", "exposure")))
        return Observation(
            ccd=CcdId(*(int(attrs[name]) for name in ("SECTOR", "CAMERA", "CCD"))),
            origin=str(attrs["INSTRUMENT"]),
            box=Box(*(int(attrs[name]) for name in ("ROW0", "ROW1", "COLUMN0", "COLUMN1"))),
            cadence_s=int(attrs["CADENCE"]), data_rel=int(attrs["DATA_REL"]),
            procver=str(attrs["PROCVER"]), readout=readout,
            background_applied=bool(attrs["BACKAPP"]), cadences=cadences,
            time_start=file["time_start"][:], time_stop=file["time_stop"][:],
            spacecraft_km=file["spacecraft"][:] if "spacecraft" in file else None,
            observer=str(attrs.get("OBSERVER", "mission")),
            timestamp_shift_s=float(attrs.get("TIMESTAMP_SHIFT", 0.0)))

    def _provenance(self) -> Provenance:
        attrs = self._file.attrs
        return Provenance(
            program_version=str(attrs["PROGRAM_VERSION"]), settings=str(attrs["SETTINGS"]),
            fingerprint=str(attrs["FINGERPRINT"]), inputs=str(attrs["INPUTS"]),
            left_out=tuple((name, reason) for name, reason in json.loads(attrs["LEFT_OUT"])))

    @property
    def ccd(self) -> CcdId:
        """Which CCD this is."""
        return self.observation.ccd

    @property
    def box(self) -> Box:
        """The science pixels the cube holds."""
        return self.observation.box

    @property
    def cadence_s(self) -> int:
        """Nominal spacing of the frames, s."""
        return self.observation.cadence_s

    @property
    def cadences(self) -> Cadences:
        """Times and quality of the frames."""
        return self.observation.cadences

    @property
    def readout(self) -> Readout:
        """How the detector was read."""
        return self.observation.readout

    @property
    def data_rel(self) -> int:
        """Data release number; 0 = none."""
        return self.observation.data_rel

    @property
    def procver(self) -> str:
        """Version of the pipeline that calibrated the frames."""
        return self.observation.procver

    @property
    def digest(self) -> str:
        """Digest of the names and checksums of the frames' files."""
        return self.provenance.inputs

    @property
    def reference_index(self) -> int:
        """Index of the frame that positions refer to."""
        return self._checked(lambda: int(self._file["wcs"].attrs["ref_frame"]))

    @property
    def wcs_text(self) -> str:
        """World coordinates of the reference frame, where its stars are."""
        return self._checked(lambda: self._file["wcs/reference"].asstr()[()])

    @property
    def wcs_note(self) -> str:
        """Why these are not those of the header; "" = they are."""
        return self._checked(lambda: str(self._file["wcs"].attrs.get("note", "")))

    def frame_wcs(self, index: int) -> str:
        """Return the world coordinates of one frame; "" = none."""
        return self._checked(lambda: self._file["wcs/frames"][index].decode("ascii"))

    @property
    def image_names(self) -> tuple[str, ...]:
        """File names of the frames."""
        return tuple(name.decode() for name in
                     self._checked(lambda: self._file["imagespaths"][:]))

    @property
    def image_checksums(self) -> NDArray[np.uint32]:
        """CRC-32 (T,) of the frames' files."""
        return self._checked(lambda: self._file["imagespaths_crc32"][:])

    @property
    def pixels_missing(self) -> NDArray[np.float32]:
        """Share (T,) of the frames' pixels without a value."""
        return self._checked(lambda: self._file["pixels_missing"][:])

    @property
    def errors_computed(self) -> NDArray[np.float32]:
        """Share (T,) of the frames' pixels whose error the file did not tell."""
        return self._checked(lambda: self._file["errors_computed"][:])

    @property
    def image_states(self) -> list[tuple[str, int, int]]:
        """Name, size and time of change (ns) of the frames' files; none in older cubes."""
        if "imagespaths_size" not in self._file:
            return []
        sizes, times = (self._checked(lambda name=name: self._file[name][:].tolist())
                        for name in ("imagespaths_size", "imagespaths_time_ns"))
        return list(zip(self.image_names, sizes, times, strict=True))

    def planes(self, frames: slice, rows: slice) -> tuple[NDArray[np.float32],
                                                          NDArray[np.float32]]:
        """Return flux and flux_err (t, r, C) of some frames and rows of the window."""
        return tuple(self._checked(lambda name=name: self._file[name][frames, rows])
                     for name in ("flux", "flux_err"))

    def read(self, box: Box) -> tuple[NDArray[np.float32], NDArray[np.float32],
                                      NDArray[np.uint8]]:
        """Return flux, flux_err and pixel_flags (T, R, C) of a box inside the cube.

        In memory time varies fastest.
        """
        rows, columns = self._slices(box)
        return tuple(self._checked(lambda name=name: read_box(self._file[name], rows, columns))
                     for name in PLANES)

    def sumimage(self, box: Box) -> NDArray[np.float64]:
        """Return the mean (R, C) of good frames, background subtracted, of a box."""
        return self._checked(lambda: self._file["sumimage"][self._slices(box)])

    def used_for_background(self, box: Box) -> NDArray[np.bool_]:
        """Return which pixels (R, C) of a box the background was measured on."""
        return self._checked(lambda: self._file["backgrounds_pixels_used"][self._slices(box)])

    def background_arrays(self) -> dict[str, NDArray]:
        """Return the arrays of `photometry.sky.background.BackgroundModel`."""
        return self._group("background")

    def motion_arrays(self) -> dict[str, NDArray]:
        """Return the arrays of `photometry.scene.motion.Motion`."""
        return self._group("motion")

    def _group(self, name: str) -> dict[str, NDArray]:
        return self._checked(lambda: {key: values[()] for key, values in
                                      self._file[name].items()})

    def _slices(self, box: Box) -> tuple[slice, slice]:
        if not self.box.encloses(box):
            raise ValueError(f"{box} is not inside the cube's {self.box}")
        return box.slices(self.box.offset)
