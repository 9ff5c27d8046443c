//! From the model to tokens: what is written, in which order. Can't fail; knows no rules.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use syn::{Attribute, Path, Type, spanned::Spanned as _};

use crate::model::{Method, Service};

mod client;
mod fallback;
mod server;
mod service_trait;
#[cfg(test)]
mod tests;

pub(crate) use fallback::fallback;

/// The trait, its client and its server.
pub(crate) fn expand(service: &Service) -> TokenStream {
    let Some(krate) = &service.krate else { return TokenStream::new() };
    let service_trait = service_trait::item(service);
    let types = types(service, krate);
    let constants = service.methods.iter().map(|method| constant(service, method));
    let client = client::implementation(service);
    let server = server::implementation(service);
    let block = block(&service.attrs.on_block, krate, &quote!(#(#constants)* #client #server));
    quote!(#service_trait #types #block)
}

/// The client and the server, without what they can do.
fn types(service: &Service, krate: &Path) -> TokenStream {
    let client = client::item(service, krate);
    let server = server::item(service, krate);
    quote!(#client #server)
}

/// A scope of its own for implementations. A module would lose sight of what is around a trait
/// inside of a function.
fn block(attrs: &[Attribute], krate: &Path, content: &TokenStream) -> TokenStream {
    quote! {
        #(#attrs)*
        #[allow(deprecated, non_upper_case_globals)]
        const _: () = {
            use #krate::__private as __rpc;
            #content
        };
    }
}

/// `const __hello: Method = Method::new("Greeter", "hello");`
fn constant(service: &Service, method: &Method) -> TokenStream {
    let cfgs = &method.attrs.cfgs;
    let name = constant_name(method);
    let (service, method_name) = (&service.wire_name, &method.wire_name);
    let idempotent = method.idempotent.then(|| quote!(.idempotent()));
    quote! {
        #(#cfgs)*
        const #name: __rpc::Method = __rpc::Method::new(#service, #method_name) #idempotent;
    }
}
