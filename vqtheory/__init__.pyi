from . import assign as assign
from . import claims as claims
from . import cluster as cluster
from . import measure as measure
from . import nn as nn
from . import reference as reference
from . import rules as rules
from . import schedules as schedules
from . import streams as streams
from . import testing as testing
from . import theory as theory
from .diagnosis.diagnosis import Diagnosis as Diagnosis
from .diagnosis.diagnosis import diagnose as diagnose
from .diagnosis.recording import Recording as Recording
from .protocols import Batches as Batches
from .simulation.run import Run as Run
from .simulation.run import resume as resume
from .simulation.run import simulate as simulate
from .sweeps.phases import Phase as Phase
from .sweeps.phases import phase as phase
from .sweeps.runner import sweep as sweep

__version__: str
