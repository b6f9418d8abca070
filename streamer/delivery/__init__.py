"""From a press of play to bytes: who may watch, for how long, the signed address, and the origin that answers it."""
