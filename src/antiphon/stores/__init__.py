"""Where interactions are kept: one file per store, one contract test over all of them (tests/contract)."""
