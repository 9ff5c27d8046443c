//! A service as the rest of the macro sees it: validated, so that `expand` can't fail; no rules.

use proc_macro2::Ident;
use syn::{
    Attribute, Block, Path, Signature, Token, Type, TypeParamBound, Visibility, WhereClause,
    punctuated::Punctuated,
};

/// One annotated trait.
pub(crate) struct Service {
    pub(crate) ident: Ident,
    pub(crate) vis: Visibility,
    pub(crate) attrs: TraitAttrs,
    pub(crate) trait_token: Token![trait],
    pub(crate) supertraits: Punctuated<TypeParamBound, Token![+]>,
    pub(crate) where_clause: Option<WhereClause>,
    /// Its name on the wire.
    pub(crate) wire_name: String,
    /// Where rpc-core is; `None` only after a mistake.
    pub(crate) krate: Option<Path>,
    pub(crate) methods: Vec<Method>,
}

/// The user's attributes of the trait, sorted by where they go.
pub(crate) struct TraitAttrs {
    pub(crate) on_trait: Vec<Attribute>,
    /// On the client and the server.
    pub(crate) on_types: Vec<Attribute>,
    /// On the block of implementations.
    pub(crate) on_block: Vec<Attribute>,
}

/// One method that can be called.
pub(crate) struct Method {
    pub(crate) attrs: MethodAttrs,
    /// As the user wrote it, without the attributes of parameters.
    pub(crate) sig: Signature,
    pub(crate) args: Vec<Arg>,
    pub(crate) reply: Reply,
    pub(crate) body: Option<Block>,
    /// Its name on the wire.
    pub(crate) wire_name: String,
    pub(crate) idempotent: bool,
}

impl Method {
    /// The arguments that the client sends.
    pub(crate) fn args_on_wire(&self) -> impl Iterator<Item = &Arg> {
        self.args.iter().filter(|arg| arg.kind != ArgKind::Context)
    }

    /// The arguments that are there when the request is: all but a stream.
    pub(crate) fn args_in_body(&self) -> impl Iterator<Item = &Arg> {
        self.args_on_wire().filter(|arg| arg.kind != ArgKind::Stream)
    }

    /// The argument at the end of the request that isn't copied.
    pub(crate) fn whole_arg(&self) -> Option<&Arg> {
        let last = self.args_on_wire().last();
        last.filter(|arg| arg.kind == ArgKind::Whole && !self.reply.is_stream())
    }

    /// The stream among the arguments.
    pub(crate) fn stream_arg(&self) -> Option<&Arg> {
        self.args.iter().find(|arg| arg.kind == ArgKind::Stream)
    }
}

/// The user's attributes of a method, sorted by where they go.
pub(crate) struct MethodAttrs {
    pub(crate) on_trait: Vec<Attribute>,
    pub(crate) on_client: Vec<Attribute>,
    /// On everything else that is written for the method.
    pub(crate) cfgs: Vec<Attribute>,
}

/// One parameter after `&self`.
pub(crate) struct Arg {
    pub(crate) ident: Ident,
    pub(crate) ty: Type,
    pub(crate) kind: ArgKind,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ArgKind {
    /// Goes over the wire as it is.
    Value,
    /// Bytes, which go over the wire in one piece.
    Octets,
    /// What seems to be `Bytes`: not copied if it is, and the last.
    Whole,
    /// Items that follow the request.
    Stream,
    /// The server's own context; not on the wire.
    Context,
}

/// What a method returns.
pub(crate) struct Reply {
    pub(crate) ty: Type,
    pub(crate) kind: ReplyKind,
    pub(crate) outcome: Outcome,
}

impl Reply {
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.kind, ReplyKind::Stream | ReplyKind::FallibleStream)
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ReplyKind {
    Plain,
    /// A `Result`.
    Fallible,
    /// Bytes in one piece: `Vec<u8>`, `Option<Vec<u8>>`, or a `Result` of one.
    Octets,
    /// What seems to be `Bytes`, or a `Result` of them.
    Whole,
    FallibleWhole,
    /// Items that follow.
    Stream,
    /// Items that follow, or an error in place of them.
    FallibleStream,
    /// Nothing, and the caller doesn't wait for it.
    Oneway,
}

/// What the caller gets.
pub(crate) enum Outcome {
    /// The reply, or an `RpcError`.
    Value,
    /// Both halves of a `Result` that is written out.
    Result { ok: Box<Type>, err: Box<Type> },
    /// The halves of something called `Result`, which the compiler finds.
    Alias,
}
