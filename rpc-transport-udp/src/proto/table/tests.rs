//! What the table decides about each kind of datagram, and its bounds.
