//! Which of the user's attributes go on which generated item; not what they mean.

use quote::ToTokens;
use syn::{
    AttrStyle, Attribute, Meta, MetaList, Path, Token, parse::Parser as _, parse_quote,
    punctuated::Punctuated,
};

/// The attributes of a trait or method that `keep` wants, also from within `cfg_attr`.
pub(crate) fn select(attrs: &[Attribute], keep: fn(Kind) -> bool) -> Vec<Attribute> {
    let kept = attrs.iter().filter_map(|attr| {
        let meta = select_meta(&attr.meta, keep)?;
        // One inside of the braces moves in front of the item.
        Some(Attribute { meta, style: AttrStyle::Outer, ..attr.clone() })
    });
    kept.collect()
}

/// What an attribute is for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Cfg,
    Doc,
    /// `#[doc(hidden)]` and the like.
    DocOption,
    Lint,
    Deprecated,
    MustUse,
    /// `#[rpc]` and `#[ctx]`.
    Helper,
    /// Another macro's, or one that means something only on the trait.
    Other,
}

impl Kind {
    /// On the trait and its methods: everything but our own.
    pub(crate) fn on_trait(self) -> bool {
        self != Self::Helper
    }

    /// On a method of the client.
    pub(crate) fn on_client(self) -> bool {
        !matches!(self, Self::Helper | Self::Other)
    }

    /// On the client and the server.
    pub(crate) fn on_types(self) -> bool {
        matches!(self, Self::Cfg | Self::DocOption | Self::Lint | Self::Deprecated)
    }

    /// On the block of implementations.
    pub(crate) fn on_block(self) -> bool {
        matches!(self, Self::Cfg | Self::Lint)
    }

    /// On everything.
    pub(crate) fn on_all(self) -> bool {
        self == Self::Cfg
    }

    fn of(meta: &Meta) -> Self {
        let Some(name) = meta.path().get_ident() else { return Self::Other };
        match name.to_string().as_str() {
            "cfg" => Self::Cfg,
            "doc" if matches!(meta, Meta::List(_)) => Self::DocOption,
            "doc" => Self::Doc,
            "allow" | "expect" | "warn" | "deny" | "forbid" => Self::Lint,
            "deprecated" => Self::Deprecated,
            "must_use" => Self::MustUse,
            "rpc" | "ctx" => Self::Helper,
            _ => Self::Other,
        }
    }
}

/// Whether an attribute stands directly, or inside of `cfg_attr`, that has this name.
pub(crate) fn mentions(attr: &Attribute, name: &str) -> bool {
    fn any(meta: &Meta, name: &str) -> bool {
        meta.path().is_ident(name)
            || conditional(meta).is_some_and(|(_, metas)| metas.iter().any(|meta| any(meta, name)))
    }
    any(&attr.meta, name)
}

fn select_meta(meta: &Meta, keep: fn(Kind) -> bool) -> Option<Meta> {
    let everything_but_ours = keep(Kind::Other);
    let Some((condition, metas)) = conditional(meta) else {
        let kept = keep(Kind::of(meta)).then(|| meta.clone())?;
        return Some(if everything_but_ours { kept } else { without_expectation(kept) });
    };
    let kept: Vec<_> = metas.iter().filter_map(|meta| select_meta(meta, keep)).collect();
    (!kept.is_empty()).then(|| parse_quote!(cfg_attr(#condition, #(#kept),*)))
}

/// `#[expect]` stays on the trait alone: a copy where the lint stays silent would be reported.
fn without_expectation(meta: Meta) -> Meta {
    match meta {
        Meta::List(list) if list.path.is_ident("expect") => {
            let path: Path = parse_quote!(allow);
            Meta::List(MetaList { path, ..list })
        }
        meta => meta,
    }
}

/// The condition of a `cfg_attr` and what depends on it.
fn conditional(meta: &Meta) -> Option<(impl ToTokens + use<>, Vec<Meta>)> {
    let Meta::List(list) = meta else { return None };
    if !list.path.is_ident("cfg_attr") {
        return None;
    }
    let parser = Punctuated::<Meta, Token![,]>::parse_terminated;
    let mut metas = parser.parse2(list.tokens.clone()).ok()?.into_iter();
    Some((metas.next()?, metas.collect()))
}
