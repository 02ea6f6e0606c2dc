from . import assign as assign
from . import claims as claims
from . import measure as measure
from . import nn as nn
from . import reference as reference
from . import rules as rules
from . import schedules as schedules
from . import streams as streams
from . import testing as testing
from . import theory as theory
from ._diagnosis import Diagnosis as Diagnosis
from ._diagnosis import diagnose as diagnose
from ._recording import Recording as Recording
from ._sweep import sweep as sweep
from .protocols import Batches as Batches
from .simulation.run import Run as Run
from .simulation.run import resume as resume
from .simulation.run import simulate as simulate

__version__: str
