"""Back-ends: one file each, one method each (`ports.Model`), one contract test over all (tests/contract)."""
