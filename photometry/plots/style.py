"""The look of all figures, and how they become files.

No window system and no global figure list are involved, so figures may be made in any process.
Colors are those of Okabe and Ito, told apart by color-blind readers too.
"""

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import AsinhNorm
from matplotlib.figure import Figure

BLUE, SKY, ORANGE, RED, GREEN = "#0072B2", "#56B4E9", "#E69F00", "#D55E00", "#009E73"
DARK = "#444444"
RATE = "e\N{SUPERSCRIPT MINUS}/s"
TIME_LABEL = "Time (BJD \N{MINUS SIGN} 2457000, days)"
PPM = 1e6
DPI = 110
_STYLE = {
    "font.size": 11, "axes.titlesize": 12, "axes.labelsize": 11, "legend.fontsize": 9.5,
    "axes.grid": True, "grid.color": "#E4E4E4", "grid.linewidth": 0.7, "axes.axisbelow": True,
    "axes.spines.top": False, "axes.spines.right": False, "axes.edgecolor": "#555555",
    "xtick.color": "#333333", "ytick.color": "#333333", "axes.titlelocation": "left",
    "axes.formatter.useoffset": False, "legend.frameon": False, "figure.dpi": DPI,
}
Arguments = ParamSpec("Arguments")


@contextmanager
def _style() -> Iterator[None]:
    """Use this module's style, whatever the user's is."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def styled(draw: Callable[Arguments, Figure]) -> Callable[Arguments, Figure]:
    """Make a function draw in this module's style."""
    @wraps(draw)
    def styled(*args: Arguments.args, **options: Arguments.kwargs) -> Figure:
        with _style():
            return draw(*args, **options)
    return styled


def to_png(figure: Figure) -> bytes:
    """Return a figure as a PNG file; equal figures give equal bytes."""
    content = io.BytesIO()
    with _style():                # ticks are made only now
        FigureCanvasAgg(figure).print_png(content, metadata={"Software": None})
    return content.getvalue()


def decades(norm: AsinhNorm) -> list[float]:
    """Return zero and the powers of ten that a stretched scale has room for."""
    powers = 10.0 ** np.arange(-1, 7)
    return [0.0, *powers[(powers > 3 * norm.linear_width) & (powers < norm.vmax)].tolist()]


def legend(axes: Axes) -> None:
    """Put the legend beside the title, where it hides no data."""
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.99), ncols=4, borderpad=0.2,
                handlelength=1.4, columnspacing=1.2)
