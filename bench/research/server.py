"""`antiphon` as it is, with more agents: Deep Research, the fast one, without one of its parts, as `without-PART`.

python -m bench.research --ways deep-research,agent:without-missing,agent:without-thinking
"""

from __future__ import annotations

import sys
from functools import partial

from antiphon.agents.deep_research import DeepResearch
from antiphon.agents.research_state import FAST, PARTS
from antiphon.app.tables import AGENTS
from antiphon.cli import main

for _part in PARTS:
    setattr(sys.modules[__name__], f"without_{_part}", partial(DeepResearch, FAST, (_part,)))
    AGENTS[f"without-{_part}"] = f"bench.research.server:without_{_part}"

if __name__ == "__main__":
    main()
