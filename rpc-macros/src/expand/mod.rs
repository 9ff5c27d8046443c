//! From the model to tokens: what is written, in which order. Can't fail; knows no rules.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{Path, PathArguments, Type, parse_quote, spanned::Spanned as _};

use crate::{
    model::{Arg, ArgKind, Method, Outcome, Reply, ReplyKind, Service},
    names, types,
};

mod client;
mod fallback;
mod pointers;
mod server;
mod service_trait;
#[cfg(test)]
mod tests;

pub(crate) use fallback::fallback;

/// The trait, its client and its server.
pub(crate) fn expand(service: &Service) -> TokenStream {
    let Some(krate) = &service.krate else { return TokenStream::new() };
    let service_trait = service_trait::item(service);
    let items = items(service, krate);
    let constants = service.methods.iter().map(|method| constant(service, method));
    let generated = generated(service, &service.ident.to_token_stream());
    let pointers = pointers::implementation(service);
    let client = client::implementation(service);
    let server = server::implementation(service);
    let content = quote!(#(#constants)* #generated #pointers #client #server);
    let block = block(service, krate, &content);
    quote!(#service_trait #items #block)
}

/// The client and the server, without what they can do.
fn items(service: &Service, krate: &Path) -> TokenStream {
    let client = client::item(service, krate);
    let server = server::item(service, krate);
    quote!(#client #server)
}

/// A scope of its own for constants and implementations. A module would lose sight of what is
/// around a trait inside of a function.
fn block(service: &Service, krate: &Path, content: &TokenStream) -> TokenStream {
    let attrs = &service.attrs.on_block;
    quote! {
        #(#attrs)*
        #[allow(dead_code, deprecated, non_upper_case_globals, clippy::used_underscore_binding)]
        const _: () = {
            use #krate::__private as __rpc;
            #content
        };
    }
}

/// What is the same for every client and server; `bound` is what the service must be.
fn generated(service: &Service, bound: &TokenStream) -> TokenStream {
    let (vis, client) = (&service.vis, names::client(&service.ident));
    let (server, parameter) = (names::server(&service.ident), names::parameter(&service.ident));
    quote!(__rpc::generated!(#vis #client, #server, #parameter, #bound);)
}

/// `const __hello: Method = Method::new("Greeter", "hello");`
fn constant(service: &Service, method: &Method) -> TokenStream {
    let cfgs = &method.attrs.cfgs;
    let constant = names::constant(&method.sig.ident);
    let (service, name) = (&service.wire_name, &method.wire_name);
    let idempotent = method.idempotent.then(|| quote!(.idempotent()));
    quote! {
        #(#cfgs)*
        const #constant: __rpc::Method = __rpc::Method::new(#service, #name) #idempotent;
    }
}

/// An argument, or a pattern for one, as it stands in the tuple of all.
fn wire_arg(arg: &Arg, ident: &Ident) -> TokenStream {
    match arg.kind {
        ArgKind::Octets => quote!(__rpc::Octets(#ident)),
        ArgKind::Value | ArgKind::Whole | ArgKind::Stream | ArgKind::Context => {
            ident.to_token_stream()
        }
    }
}

/// Where the compiler's complaints about the type of an argument belong: at it when there is one
/// argument, else at the method's name. For tokens with our own variables.
fn at_args(method: &Method) -> Span {
    let mut args = method.args_in_body();
    let place = match (args.next(), args.next()) {
        (Some(arg), None) => arg.ty.span(),
        _ => method.sig.ident.span(),
    };
    Span::mixed_site().located_at(place)
}

/// Where the compiler's complaints about the type of the reply belong. For tokens with our own
/// variables.
fn at_reply(method: &Method) -> Span {
    Span::mixed_site().located_at(method.reply.ty.span())
}

/// The type that says how a reply goes over the wire.
fn marker(Reply { ty, kind, outcome }: &Reply) -> TokenStream {
    let span = ty.span();
    match (kind, outcome) {
        (ReplyKind::Plain, _) => quote_spanned!(span=> __rpc::Plain<_>),
        (ReplyKind::Oneway, _) => quote_spanned!(span=> __rpc::Oneway),
        (ReplyKind::Whole, _) => quote_spanned!(span=> __rpc::Whole<_>),
        (ReplyKind::FallibleWhole, _) => quote_spanned!(span=> __rpc::FallibleWhole<_>),
        (ReplyKind::Stream, _) => quote_spanned!(span=> __rpc::Streamed<_>),
        (ReplyKind::FallibleStream, _) => quote_spanned!(span=> __rpc::FallibleStreamed<_>),
        (ReplyKind::Fallible, _) => quote_spanned!(span=> __rpc::Fallible<_>),
        (ReplyKind::Octets, Outcome::Result { .. }) => {
            let ty = with_inferred_error(ty);
            quote_spanned!(span=> __rpc::OctetsReply<#ty>)
        }
        (ReplyKind::Octets, _) => quote_spanned!(span=> __rpc::OctetsReply<#ty>),
    }
}

/// `Result<Vec<u8>, _>`: what the error is called may be something else where `S` is a parameter.
fn with_inferred_error(ty: &Type) -> Type {
    let mut ty = types::peel(ty).clone();
    if let Type::Path(path) = &mut ty
        && let Some(segment) = path.path.segments.last_mut()
        && let PathArguments::AngleBracketed(list) = &mut segment.arguments
        && let Some(error) = list.args.last_mut()
    {
        *error = parse_quote!(_);
    }
    ty
}
