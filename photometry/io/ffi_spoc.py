"""What the headers of the mission's calibrated images (`ffic`) say."""

from photometry.core.errors import InputError
from photometry.core.ffi import FfiHeader, Readout
from photometry.core.pixels import OUTPUT_NAMES
from photometry.core.time import SECONDS_PER_DAY, nominal_cadence_s
from photometry.io.header_cards import Cards

# Before sector 6 no card tells the cadence number: it counts steps of 1800 s of spacecraft time
# from cadence 4697, whose middle this is (BTJD without barycentric correction).
ANCHOR_CADENCENO = 4697
ANCHOR_TIME = 0.5 * (1325.317008 + 1325.337841) - 3.907e-3
_LONG_EXPOSURE_S = 1000.0
KNOWN_BTJD = -41979.5, 31069.5      # 1900 to 2100: when the Earth's place is known


def parse_spoc(cards: Cards) -> FfiHeader:
    """Return what the headers of the mission's format say.

    Raises
    ------
    InputError
        When a card is missing or makes no sense.
    """
    timecorr = cards.number("BARYCORR")
    start, stop = _barycentric(cards, "TSTART"), _barycentric(cards, "TSTOP")
    if not start < stop:
        raise InputError(cards.path, f"has TSTART = {start} and TSTOP = {stop}, expected the end "
                                     "of the exposure after its start")
    exposure_s = cards.number("EXPOSURE") * SECONDS_PER_DAY
    spacing = cards.optional("TIMEDEL") or cards.number("TELAPSE")
    return FfiHeader(
        ccd=cards.ccd(cards.number("CAMERA"), cards.number("CCD")), origin="SPOC",
        box=cards.box(), time_start=start, time_stop=stop, timecorr=timecorr,
        cadenceno=_cadenceno(cards, 0.5 * (start + stop) - timecorr, exposure_s),
        quality=int(cards.optional("DQUALITY") or 0), exposure_s=exposure_s,
        cadence_s=nominal_cadence_s(spacing * SECONDS_PER_DAY), readout=_readout(cards),
        data_rel=int(cards.optional("DATA_REL") or 0),
        procver=str(cards.value("PROCVER") or ""),
        background_applied=bool(cards.value("BACKAPP")), wcs_text=cards.wcs_text(),
        ra_nom=cards.optional("RA_NOM"), dec_nom=cards.optional("DEC_NOM"))


def _readout(cards: Cards) -> Readout:
    crmiten = bool(cards.value("CRMITEN"))
    frames = int(cards.number("NUM_FRM"))
    return Readout(
        gain=tuple(cards.number(f"GAIN{output}") for output in OUTPUT_NAMES),
        read_noise=tuple(cards.number(f"READNOI{output}") for output in OUTPUT_NAMES),
        num_frm=frames, n_readout=int(cards.optional("NREADOUT") or frames), crmiten=crmiten,
        crblksz=int(cards.number("CRBLKSZ")) if crmiten else 0,
        crspoc=bool(cards.value("CRSPOC")))


def _cadenceno(cards: Cards, time_spacecraft: float, exposure_s: float) -> int:
    given = cards.optional("FFIINDEX")
    if given is not None:
        return int(given)
    if exposure_s <= _LONG_EXPOSURE_S:
        raise InputError(cards.path, "has no FFIINDEX card, expected the cadence number "
                                     f"(it can be computed only for exposures above "
                                     f"{_LONG_EXPOSURE_S:.0f} s, not {exposure_s:.0f} s)")
    return counted_cadenceno(time_spacecraft)


def counted_cadenceno(time_spacecraft: float) -> int:
    """Return the number of a cadence of 1800 s by the time of its middle."""
    steps = (time_spacecraft - ANCHOR_TIME) * SECONDS_PER_DAY / 1800
    return ANCHOR_CADENCENO + round(steps)


def _barycentric(cards: Cards, key: str) -> float:
    """Return a time of the image's own header: those of HDU 0 lack the correction."""
    if key not in cards.first:
        raise InputError(cards.path, f"has no {key} card in HDU 1, expected a barycentric time")
    time = cards.number(key)
    if not KNOWN_BTJD[0] < time < KNOWN_BTJD[1]:
        raise InputError(cards.path, f"has {key} = {time}, expected a BTJD of the years 1900 to "
                                     "2100")
    return time
