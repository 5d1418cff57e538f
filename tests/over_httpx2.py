"""What `seawall.testing` has, with the fakes over httpx2."""

from seawall.testing import *  # noqa: F403
from seawall.testing.httpx2 import *  # noqa: F403
