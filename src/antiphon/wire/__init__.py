"""The types of the Interactions API, as it is spoken in November 2026. Values only: no behaviour, no I/O.

They follow the official recordings first, the SDKs' sources second, the documents third. `Wire` types refuse fields
they do not have; `events` let them through.
"""

from .base import *  # noqa: F403
from .content import *  # noqa: F403
from .errors import *  # noqa: F403
from .events import *  # noqa: F403
from .interaction import *  # noqa: F403
from .steps import *  # noqa: F403
from .tools import *  # noqa: F403
