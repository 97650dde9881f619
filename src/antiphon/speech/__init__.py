"""Speech out: texts cut into sentences, spoken by voices of this machine or by a server, and written in a format."""
