"""The package as it is imported and laid out."""

import subprocess
import sys
from pathlib import Path

import vqtheory as vq


def test_import_loads_nothing_heavy():
    program = (
        "import sys, vqtheory; print([name for name in "
        "('numba', 'scipy', 'torch', 'matplotlib', 'hypothesis', 'sklearn', 'polars') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_the_simulator_never_imports_torch():
    program = (
        "import sys, vqtheory as vq; stream = vq.streams.Stream(vq.streams.Gaussian(dim=2)); "
        "vq.simulate(vq.rules.TransVQ(width=8), stream, codes=4, steps=2, progress=False).plot(); "
        "print('torch' in sys.modules, 'hypothesis' in sys.modules)"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "False False"


def test_functions_stay_functions_whatever_is_imported_first():
    """No submodule has the name of a public function, which its import would put in the function's place."""
    modules = {path.stem for path in Path(vq.__file__).parent.glob("*.py")}
    assert not {name for name in dir(vq) if callable(getattr(vq, name)) and name in modules}
