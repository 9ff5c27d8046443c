//! The client: one method per method of the trait, each a call on the channel; no encoding.

use std::ptr;

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Attribute, Path, spanned::Spanned as _};

use super::{at_args, at_reply, marker, wire_arg};
use crate::{
    model::{Arg, Method, Outcome, Reply, ReplyKind, Service},
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
        #vis struct #client(#krate::__private::Channel);
    }
}

/// `impl GreeterClient { .. }`; its `new` is what every client has.
pub(super) fn implementation(service: &Service) -> TokenStream {
    if service.methods.is_empty() {
        return TokenStream::new();
    }
    let client = names::client(&service.ident);
    let methods = service.methods.iter().map(|each| method(service, each));
    quote!(impl #client { #(#methods)* })
}

/// ```text
/// pub fn hello(&self, name: &str) -> Call<String, RpcError> {
///     self.0.call::<Plain<_>>(&__hello, (name,))
/// }
/// pub fn join(&self, words: Streaming<String>) -> Call<String, RpcError> {
///     self.0.call::<Plain<_>>(&__join, ()).with_items(words)
/// }
/// ```
fn method(service: &Service, method: &Method) -> TokenStream {
    let attrs = &method.attrs.on_client;
    let vis = &service.vis;
    let ident = &method.sig.ident;
    let doc = undocumented(attrs).then(|| {
        let doc = format!(" Calls `{}` of the service.", names::wire(ident));
        quote!(#[doc = #doc])
    });
    let oneway = (method.reply.kind == ReplyKind::Oneway).then(|| {
        let doc = " One-way: `Ok` says that the request has left this process, and no more.";
        quote!(#[doc = ""] #[doc = #doc])
    });
    let params = method.args_on_wire().map(|arg| {
        let (ident, ty) = (variable(arg, arg.ident.span()), &arg.ty);
        quote!(#ident: #ty)
    });
    let call_type = call_type(&method.reply);
    let call = call(method);
    // `self` is the same one in the body only if its span is.
    quote_spanned! {Span::mixed_site()=>
        #doc
        #(#attrs)*
        #oneway
        #vis fn #ident(&self, #(#params),*) -> #call_type {
            #call
        }
    }
}

fn call(method: &Method) -> TokenStream {
    let constant = names::constant(&method.sig.ident);
    let marker = marker(&method.reply);
    let value = |arg: &Arg| wire_arg(arg, &variable(arg, arg.ty.span()));
    let whole = method.whole_arg();
    let in_tuple =
        method.args_in_body().filter(|arg| whole.is_none_or(|whole| !ptr::eq(*arg, whole)));
    let values = in_tuple.map(value);
    let values = quote_spanned!(at_args(method)=> (#(#values,)*));
    if let Some(whole) = whole.map(value) {
        return quote_spanned! {at_reply(method)=>
            self.0.call_with_last::<#marker>(&#constant, #values, #whole)
        };
    }
    let items = method.stream_arg().map(|arg| {
        let items = variable(arg, arg.ty.span());
        quote_spanned!(Span::mixed_site().located_at(arg.ty.span())=> .with_items(#items))
    });
    if method.reply.is_stream() {
        return quote_spanned! {at_reply(method)=>
            self.0.call_stream::<#marker>(&#constant, #values) #items
        };
    }
    quote_spanned! {at_reply(method)=>
        self.0.call::<#marker>(&#constant, #values) #items
    }
}

/// An argument as a variable of ours: only then does the compiler tell which of several it is that
/// can't be encoded.
fn variable(arg: &Arg, place: Span) -> Ident {
    let mut ident = arg.ident.clone();
    ident.set_span(Span::mixed_site().located_at(place));
    ident
}

fn undocumented(attrs: &[Attribute]) -> bool {
    !attrs.iter().any(|attr| attr.path().is_ident("doc"))
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
