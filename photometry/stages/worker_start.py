"""What local workers of a run begin with: imported once, before they are forked."""

import numpy as np

from photometry.scatters import median
from photometry.stages import tessphot  # noqa: F401  (what they will do)

median(np.zeros(1))       # the first call of compiled code sets up the compiler's own machinery
