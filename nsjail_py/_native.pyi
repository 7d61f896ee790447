# The extension that cffi makes (cffi_build/). Only nsjail_py.linux uses it, and gives every function its types.
from typing import Any

from _cffi_backend import FFI

ffi: FFI
lib: Any
