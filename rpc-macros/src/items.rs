//! What stands in a trait and isn't a method; not the methods.

use proc_macro2::TokenStream;
use syn::{
    Attribute, Token, TraitItem, Visibility,
    parse::{Parse, ParseStream},
};

use crate::diag::{self, Diagnostics};

/// Reports an item that isn't a method.
pub(crate) fn refuse(item: &TraitItem, diag: &mut Diagnostics) {
    match item {
        TraitItem::Type(ty) => diag.push(&ty.ident, diag::assoc_type(&ty.ident)),
        TraitItem::Const(item) => diag.push(&item.ident, diag::assoc_const(&item.ident)),
        TraitItem::Macro(call) => diag.push(&call.mac.path, diag::macro_item()),
        other => match qualified(other) {
            Some(Qualified { vis: Some(vis), .. }) => diag.push(vis, diag::method_vis()),
            Some(Qualified { default: Some(token), .. }) => {
                diag.push(token, diag::method_qualifier(&"default"));
            }
            _ => diag.push(other, diag::other_item()),
        },
    }
}

/// An item with keywords in front that only items outside of traits have.
pub(crate) struct Qualified {
    vis: Option<Visibility>,
    default: Option<Token![default]>,
    /// What is left without them.
    pub(crate) item: TraitItem,
}

/// What syn keeps as plain tokens, taken apart.
pub(crate) fn qualified(item: &TraitItem) -> Option<Qualified> {
    let TraitItem::Verbatim(tokens) = item else { return None };
    syn::parse2(tokens.clone()).ok()
}

impl Parse for Qualified {
    fn parse(input: ParseStream<'_>) -> syn::Result<Self> {
        let attrs = input.call(Attribute::parse_outer)?;
        let vis = Some(input.parse()?).filter(|vis| !matches!(vis, Visibility::Inherited));
        let default = input.parse()?;
        let rest: TokenStream = input.parse()?;
        let item = syn::parse2(quote::quote!(#(#attrs)* #rest))?;
        Ok(Self { vis, default, item })
    }
}
