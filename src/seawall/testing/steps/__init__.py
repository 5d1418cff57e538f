"""All steps: ``from seawall.testing.steps import status, reset, ok``; `STEPS` finds them by name."""

from __future__ import annotations

import importlib.util
from typing import Final

from ..http.step import Registry
from . import accept as _accept
from . import body as _body
from . import parse as _parse
from . import reply as _reply
from . import reuse as _reuse
from . import status as _status
from . import tls as _tls
from .accept import *
from .body import *
from .parse import *
from .reply import *
from .reuse import *
from .status import *
from .tls import *

_MODULES = [_status, _reply, _body, _parse, _reuse, _accept, _tls]
if importlib.util.find_spec("h2") is not None:  # the extra "http2"
    from . import http2 as _http2
    from .http2 import *

    _MODULES.append(_http2)

STEPS: Final = Registry(_MODULES)
