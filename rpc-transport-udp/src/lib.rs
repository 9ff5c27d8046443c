//! The UDP transport of [`rpc_core`]: frames in datagrams, reliable and at most once; no encryption.

mod proto;
