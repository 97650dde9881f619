"""Pictures: drawn by an image server, or by a text model as vector pictures. `ports.Draw`."""
