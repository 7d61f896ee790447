# The extension that cffi makes (cffi_build/). Only nsjail_py.linux uses it, and gives every function its types.
from typing import Any

ffi: Any
lib: Any
