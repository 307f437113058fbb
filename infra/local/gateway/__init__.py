# Where a gateway process writes which of its configurations it serves, beside the configuration.
GENERATION_FILE = "gateway.generation"
