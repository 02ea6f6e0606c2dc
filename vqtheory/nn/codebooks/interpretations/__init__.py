"""The codebooks of `vqtheory.rules.interpretations`; all files of the folder are imported here."""

import pkgutil
from importlib import import_module

for _file in pkgutil.iter_modules(__path__, f"{__name__}."):
    import_module(_file.name)
