//! The transport contract, as rpc-core's kit checks it.
