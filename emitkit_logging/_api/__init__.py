"""What EmitKit's HTTP API takes and answers. Pure, and imports nothing else of this library."""
