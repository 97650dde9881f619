"""What the engine asks of the parts around it: models, tools, stores, the bus. Shapes and promises only.

A part is one file in its folder and one row in `app.py`; its contract test runs over every row.
"""

from .agents import *  # noqa: F403
from .bus import *  # noqa: F403
from .media import *  # noqa: F403
from .models import *  # noqa: F403
from .stores import *  # noqa: F403
from .tools import *  # noqa: F403
