"""What a model cannot read, made readable: documents as text. Bytes from outside are parsed in a process apart."""
