//! The user's trait, with methods that return `Send` futures; nothing of the client or the server.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::Signature;

use crate::model::{Method, Service};

/// ```text
/// pub trait Greeter: Debug { async fn hello(&self) -> String; }
/// pub trait Greeter: Send + Sync + 'static + Debug {
///     fn hello(&self) -> impl Future<Output = String> + Send;
/// }
/// ```
pub(super) fn item(service: &Service) -> TokenStream {
    let Service { ident, vis, trait_token, where_clause, .. } = service;
    let attrs = &service.attrs.on_trait;
    let supertraits = service.supertraits.iter();
    let methods = service.methods.iter().map(method);
    // What the compiler says about the trait as a whole points at its name; see `method`.
    let bounds = quote_spanned! {Span::mixed_site().located_at(ident.span())=>
        : ::core::marker::Send + ::core::marker::Sync + 'static #(+ #supertraits)*
    };
    quote! {
        #(#attrs)*
        #vis #trait_token #ident #bounds
        #where_clause
        {
            #(#methods)*
        }
    }
}

fn method(method: &Method) -> TokenStream {
    let attrs = &method.attrs.on_trait;
    let Signature { fn_token, ident, inputs, .. } = &method.sig;
    let reply = &method.reply.ty;
    let future = quote_spanned! {Span::mixed_site().located_at(ident.span())=>
        impl ::core::future::Future<Output = #reply> + ::core::marker::Send
    };
    let body = default_body(method).unwrap_or_else(|| quote!(;));
    let inputs = inputs.iter();
    quote!(#(#attrs)* #fn_token #ident(#(#inputs),*) -> #future #body)
}

/// The body of a default method, in a block that has the type of the reply from its first line on
/// (as the body of an `async fn` has, and an `async` block doesn't).
///
/// ```text
/// { stmts }
/// { async move {
///     if let Some(reply) = None::<Reply> { return reply; }
///     let reply: Reply = { stmts };
///     reply
/// } }
/// ```
fn default_body(method: &Method) -> Option<TokenStream> {
    let body = method.body.as_ref()?;
    let statements = &body.stmts;
    let ty = &method.reply.ty;
    let span = Span::mixed_site().located_at(body.brace_token.span.join());
    Some(quote_spanned! {span=>
        {
            async move {
                if let ::core::option::Option::Some(reply) = ::core::option::Option::None::<#ty> {
                    return reply;
                }
                #[allow(clippy::diverging_sub_expression)]
                let reply: #ty = { #(#statements)* };
                #[allow(unreachable_code)]
                reply
            }
        }
    })
}
