"""The network: tensors in, tensors out."""

from ovsam_core.lean_import import import_libraries

import_libraries()  # before any module here imports them in full
