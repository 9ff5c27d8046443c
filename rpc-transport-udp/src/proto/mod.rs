//! The protocol without I/O: state machines that take time and randomness as arguments; no sockets.
