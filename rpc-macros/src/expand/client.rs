//! The client: one method per method of the trait, each a call on the channel; no encoding.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{Attribute, Path, spanned::Spanned as _};

use super::{marker, wire_arg};
use crate::{
    model::{Arg, Method, Outcome, Reply, Service},
    names,
};

/// `pub struct GreeterClient(Channel);`
pub(super) fn item(service: &Service, krate: &Path) -> TokenStream {
    let client = names::client(&service.ident);
    let (vis, attrs) = (&service.vis, &service.attrs.on_types);
    let first = format!(" Calls a {} over a channel. Cheap to clone.", names::link(&service.ident));
    quote! {
        #[doc = #first]
        #[doc = ""]
        #[doc = " Nothing is sent before a call is first polled. Dropping a call cancels it."]
        #(#attrs)*
        #[allow(dead_code)]
        #[derive(::core::clone::Clone, ::core::fmt::Debug)]
        #vis struct #client(#krate::__private::Channel);
    }
}

/// `impl GreeterClient { .. }`
pub(super) fn implementation(service: &Service) -> TokenStream {
    let client = names::client(&service.ident);
    let vis = &service.vis;
    let methods = service.methods.iter().map(|each| method(service, each));
    quote! {
        #[allow(dead_code)]
        impl #client {
            /// Makes a client of `channel`.
            #[must_use]
            #vis fn new(channel: __rpc::Channel) -> Self {
                Self(channel)
            }
            #(#methods)*
        }
    }
}

/// ```text
/// pub fn hello(&self, name: &str) -> Call<String, RpcError> {
///     self.0.call::<Plain<_>, _>(&__hello, &(name,))
/// }
/// ```
fn method(service: &Service, method: &Method) -> TokenStream {
    let attrs = &method.attrs.on_client;
    let vis = &service.vis;
    let ident = &method.sig.ident;
    let params = method.args_on_wire().map(|Arg { ident, ty, .. }| quote!(#ident: #ty));
    let values = method.args_on_wire().map(|arg| wire_arg(arg, &value(arg)));
    let call = call_type(&method.reply);
    let constant = names::constant(ident);
    let marker = marker(&method.reply);
    let doc = undocumented(attrs).then(|| {
        let doc = format!(" Calls `{}` of the service.", names::wire(ident));
        quote!(#[doc = #doc])
    });
    quote! {
        #doc
        #(#attrs)*
        #vis fn #ident(&self, #(#params),*) -> #call {
            self.0.call::<#marker, _>(&#constant, &(#(#values,)*))
        }
    }
}

fn undocumented(attrs: &[Attribute]) -> bool {
    !attrs.iter().any(|attr| attr.path().is_ident("doc"))
}

/// The argument, where the compiler's complaints about it point at its type.
fn value(arg: &Arg) -> Ident {
    let span = arg.ident.span().located_at(arg.ty.span());
    let mut ident = arg.ident.clone();
    ident.set_span(span);
    ident
}

fn call_type(Reply { ty, outcome, .. }: &Reply) -> TokenStream {
    match outcome {
        Outcome::Value => quote!(__rpc::Call<#ty, __rpc::RpcError>),
        Outcome::Result { ok, err } => quote!(__rpc::Call<#ok, __rpc::CallError<#err>>),
        Outcome::Alias => quote! {
            __rpc::Call<
                <#ty as __rpc::ResultType>::Ok,
                __rpc::CallError<<#ty as __rpc::ResultType>::Err>,
            >
        },
    }
}
