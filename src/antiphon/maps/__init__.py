"""Where google_maps finds its places: OpenStreetMap, over the network or in a file."""
