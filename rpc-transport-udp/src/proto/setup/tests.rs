//! What a client takes for an answer to its INIT, and what it concludes from a reset.
