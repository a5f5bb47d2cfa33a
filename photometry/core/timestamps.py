"""Known errors of the mission's time stamps in early data releases.

Before the releases that mend it, times of the mission's products are late by about two seconds,
and full-frame images also lack the delays with which cameras and CCDs are read (data release
notes of sectors 20 to 27; the list of versions is that of the established pipeline).
"""

from photometry.core.ids import CcdId

_LAST_WRONG_RELEASE = 26
_WRONG_VERSIONS = {
    27: ("spoc-4.0.14-20200108", "spoc-4.0.15-20200114", "spoc-4.0.17-20200130"),
    29: ("spoc-4.0.17-20200130", "spoc-4.0.20-20200220", "spoc-4.0.21-20200227"),
}
_STAGGERED_RELEASE = 27           # the last whose images lack the delays
START_S, STOP_S = -1.969, -1.989
CAMERA_DELAY_S = {1: 0.0, 3: 0.5, 4: 1.0, 2: 1.5}
CCD_DELAY_S = 0.02


def readout_delay_s(ccd: CcdId) -> float:
    """Return how much later than the first a CCD is read, s."""
    return CAMERA_DELAY_S[ccd.camera] + CCD_DELAY_S * (ccd.ccd - 1)


def timestamp_shifts_s(ccd: CcdId, data_rel: int, procver: str,
                       is_image: bool = True) -> tuple[float, float]:
    """Return what must be added to start and end of an exposure, s; zeros if they are right.

    Parameters
    ----------
    data_rel
        Release number; 0 = none.
    procver
        The mission's pipeline, `spoc-...`; times by other programs are left alone.
    is_image
        A full-frame image, not a target pixel file.
    """
    if not procver.startswith("spoc-"):
        return 0.0, 0.0
    early = 0 < data_rel <= _LAST_WRONG_RELEASE
    if not early and procver not in _WRONG_VERSIONS.get(data_rel, ()):
        return 0.0, 0.0
    delay = readout_delay_s(ccd) if is_image and data_rel <= _STAGGERED_RELEASE else 0.0
    return START_S + delay, STOP_S + delay
