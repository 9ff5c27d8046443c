//! The trait for pointers to implementations; which those are is `rpc_core::__private`'s business.

use proc_macro2::TokenStream;
use quote::quote;

use crate::model::{Method, Service};

/// ```text
/// for_pointers!(trait Greeter {
///     async fn hello(&self, name: &str) -> String;
/// });
/// ```
pub(super) fn implementation(service: &Service) -> TokenStream {
    let Service { ident, supertraits, where_clause, .. } = service;
    let supertraits = (!supertraits.is_empty()).then(|| quote!(Self: #supertraits,));
    let mut predicates = where_clause.iter().flat_map(|clause| &clause.predicates).peekable();
    let needs = (supertraits.is_some() || predicates.peek().is_some())
        .then(|| quote!(#[needs(#supertraits #(#predicates),*)]));
    let methods = service.methods.iter().map(method);
    quote! {
        __rpc::for_pointers!(#needs trait #ident { #(#methods)* });
    }
}

/// The method as the user wrote it.
fn method(method: &Method) -> TokenStream {
    let (cfgs, ident, reply) = (&method.attrs.cfgs, &method.sig.ident, &method.reply.ty);
    let args = method.args.iter().map(|arg| {
        let (ident, ty) = (&arg.ident, &arg.ty);
        quote!(, #ident: #ty)
    });
    quote!(#(#cfgs)* async fn #ident(&self #(#args)*) -> #reply;)
}
