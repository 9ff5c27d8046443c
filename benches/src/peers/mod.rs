//! Other frameworks, each set up as its documentation says, with NODELAY. They use words of their
//! own for what the rest of the repository has one name for.

pub(crate) mod capnp;
pub(crate) mod tarpc;
pub(crate) mod tonic;
