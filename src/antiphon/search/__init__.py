"""Where google_search finds its pages: one file per provider."""
