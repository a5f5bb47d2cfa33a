"""What a run begins with: imported once, before local workers are forked."""

import gc

import numpy as np

from photometry.scatters import median
from photometry.stages import tessphot  # noqa: F401  (what they will do)

ROOM = 32_000_000         # bytes

# glibc gives memory back to the system, which clears it before it is wanted again, until an array
# of such a size has been freed: from then on it keeps up to twice as much for the next star.
np.empty(ROOM, dtype=np.uint8)
median(np.zeros(1))       # the first call of compiled code sets up the compiler's own machinery
gc.freeze()               # the search for garbage need not go through all of the above each time
gc.set_threshold(50_000, 20, 20)      # nor after every few hundred objects: a star makes thousands
