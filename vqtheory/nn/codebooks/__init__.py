"""The codebook of each rule as a torch module: a mirror of `vqtheory.rules`.

Each file has the codebook of one rule, as in ``class EMACodebook(Codebook, of=rules.EMA)``, and there is no list of them:
all files of the folder are imported here.
"""

import pkgutil
from importlib import import_module

from vqtheory import rules
from vqtheory.nn.codebooks.base import Codebook

for _file in pkgutil.iter_modules(__path__, f"{__name__}."):
    import_module(_file.name)

_PUBLIC: list[type[rules.Rule]] = [getattr(rules, name) for name in rules.__all__]
RULES = {rule.key: rule for rule in _PUBLIC if vars(rule).get("key")}  # by their names in the layer

__all__ = ["RULES", "Codebook"]
