"""Tools that the server runs: one file each (`ports.Tool`)."""
