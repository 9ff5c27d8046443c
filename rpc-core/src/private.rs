//! What generated code may touch, and nothing more; not for hand-written code.

pub use std::{boxed::Box, sync::Arc};

pub use crate::{
    CallError, Channel, Context, RpcError,
    client::Call,
    codec::Octets,
    service::{
        Fallible, Handler, Method, OctetsReply, Plain, Reply, Request, ResultType, Service,
    },
};
