"""Search in texts: pieces of documents, found by their words and by their meaning. Knows no project, no HTTP and no tool."""
