//! The keys of `#[service(..)]` and `#[rpc(..)]`; which items they apply to is `lower`'s business.

use proc_macro2::TokenStream;
use quote::ToTokens as _;
use syn::{
    Attribute, Expr, ExprLit, Lit, LitStr, Meta, Path, Token, parse::Parser as _,
    punctuated::Punctuated,
};

use crate::diag::{self, Diagnostics};

/// `#[service(name = "..", crate = ..)]`.
pub(crate) struct ServiceArgs {
    /// The name on the wire, if not the trait's.
    pub(crate) name: Option<LitStr>,
    /// Where rpc-core is; `None` if the user's path makes no sense.
    pub(crate) krate: Option<Path>,
}

impl ServiceArgs {
    /// Reads what stands in the attribute's parentheses.
    pub(crate) fn parse(tokens: TokenStream, diag: &mut Diagnostics) -> Self {
        let (mut name, mut krate) = (None, None);
        for meta in metas(tokens, diag) {
            match key(&meta).as_str() {
                "name" => set(&mut name, &meta, wire_name(&meta, diag), diag),
                "crate" => set(&mut krate, &meta, crate_path(&meta, diag), diag),
                other => diag.push(meta.path(), diag::unknown_service_key(&other)),
            }
        }
        let krate = krate.unwrap_or_else(|| Some(syn::parse_quote!(::rpc_core)));
        Self { name: name.flatten(), krate }
    }
}

/// `#[rpc(idempotent, oneway, name = "..")]`.
#[derive(Default)]
pub(crate) struct RpcArgs {
    /// Running it twice does no more than running it once.
    pub(crate) idempotent: bool,
    /// The caller waits for no reply.
    pub(crate) oneway: bool,
    /// The name on the wire, if not the method's.
    pub(crate) name: Option<LitStr>,
}

impl RpcArgs {
    /// Reads every `#[rpc]` among `attrs`.
    pub(crate) fn parse(attrs: &[Attribute], diag: &mut Diagnostics) -> Self {
        let (mut idempotent, mut oneway, mut name) = (None, None, None);
        for attr in attrs.iter().filter(|attr| attr.path().is_ident("rpc")) {
            let Meta::List(list) = &attr.meta else {
                diag.push(attr, diag::rpc_form());
                continue;
            };
            for meta in metas(list.tokens.clone(), diag) {
                match key(&meta).as_str() {
                    "idempotent" => set(&mut idempotent, &meta, is_flag(&meta, diag), diag),
                    "name" => set(&mut name, &meta, wire_name(&meta, diag), diag),
                    "oneway" => set(&mut oneway, &meta, is_flag(&meta, diag), diag),
                    other => diag.push(meta.path(), diag::unknown_rpc_key(&other)),
                }
            }
        }
        let is_set = |flag| flag == Some(true);
        Self { idempotent: is_set(idempotent), oneway: is_set(oneway), name: name.flatten() }
    }
}

fn metas(tokens: TokenStream, diag: &mut Diagnostics) -> impl IntoIterator<Item = Meta> + use<> {
    Punctuated::<Meta, Token![,]>::parse_terminated.parse2(tokens).unwrap_or_else(|error| {
        diag.extend(error);
        Punctuated::new()
    })
}

fn key(meta: &Meta) -> String {
    let segments = meta.path().segments.iter().map(|segment| segment.ident.to_string());
    segments.collect::<Vec<_>>().join("::")
}

fn set<T>(slot: &mut Option<T>, meta: &Meta, value: T, diag: &mut Diagnostics) {
    if slot.is_some() {
        diag.push(meta.path(), diag::key_twice(&key(meta)));
    } else {
        *slot = Some(value);
    }
}

fn is_flag(meta: &Meta, diag: &mut Diagnostics) -> bool {
    let is_flag = matches!(meta, Meta::Path(_));
    if !is_flag {
        diag.push(meta, diag::flag_value(&key(meta)));
    }
    is_flag
}

fn wire_name(meta: &Meta, diag: &mut Diagnostics) -> Option<LitStr> {
    let name = string(meta, diag)?;
    if name.value().is_empty() {
        diag.push(&name, diag::empty_name());
        return None;
    }
    Some(name)
}

/// A path, or a string with one in it. `$crate::rpc_core` in a macro can't stand in a string.
fn crate_path(meta: &Meta, diag: &mut Diagnostics) -> Option<Path> {
    let path = match value(meta) {
        Some(Expr::Path(path)) => Path::parse_mod_style.parse2(path.to_token_stream()).ok(),
        Some(Expr::Lit(ExprLit { lit: Lit::Str(path), .. })) => {
            path.parse_with(Path::parse_mod_style).ok()
        }
        _ => None,
    };
    if path.is_none() {
        diag.push(meta, diag::crate_path());
    }
    path
}

fn string(meta: &Meta, diag: &mut Diagnostics) -> Option<LitStr> {
    if let Some(Expr::Lit(ExprLit { lit: Lit::Str(string), .. })) = value(meta) {
        return Some(string.clone());
    }
    diag.push(meta, diag::string_value(&key(meta)));
    None
}

/// What stands behind the `=`, without the invisible group around a `macro_rules!` fragment.
fn value(meta: &Meta) -> Option<&Expr> {
    let Meta::NameValue(pair) = meta else { return None };
    let mut value = &pair.value;
    while let Expr::Group(group) = value {
        value = &group.expr;
    }
    Some(value)
}
