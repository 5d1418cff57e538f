"""All steps: ``from seawall.testing.steps import status, reset, ok``; `STEPS` finds them by name."""

from __future__ import annotations

from typing import Final

from ..http.step import Registry
from . import accept as _accept
from . import answer as _answer
from . import body as _body
from . import http2 as _http2
from . import parse as _parse
from . import proxy as _proxy
from . import reply as _reply
from . import reuse as _reuse
from . import status as _status
from . import tls as _tls
from .accept import *
from .answer import *
from .body import *
from .http2 import *
from .parse import *
from .proxy import *
from .reply import *
from .reuse import *
from .status import *
from .tls import *

STEPS: Final = Registry([_status, _answer, _reply, _body, _parse, _reuse, _accept, _tls, _proxy, _http2])
