//! The server: finds the method of a request, decodes, runs the handler, encodes; no dispatch.

use std::ptr;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{Path, spanned::Spanned as _};

use super::{at_args, at_reply, marker, wire_arg};
use crate::{
    model::{Arg, ArgKind, Method, Service},
    names,
};

/// `pub struct GreeterServer<S>(Arc<S>);`
pub(super) fn item(service: &Service, krate: &Path) -> TokenStream {
    let server = names::server(&service.ident);
    let (vis, attrs) = (&service.vis, &service.attrs.on_types);
    let parameter = names::parameter(&service.ident);
    let doc = format!(" Serves an implementation of {}.", names::link(&service.ident));
    quote! {
        #[doc = #doc]
        #(#attrs)*
        #[allow(dead_code)]
        #vis struct #server<#parameter>(#krate::__private::Arc<#parameter>);
    }
}

/// `impl<S> Service for GreeterServer<S> { .. }`; the rest is what every server has.
pub(super) fn implementation(service: &Service) -> TokenStream {
    let (trait_ident, server) = (&service.ident, names::server(&service.ident));
    let parameter = names::parameter(trait_ident);
    let wire_name = &service.wire_name;
    let rows = service.methods.iter().map(|method| {
        let (cfgs, constant) = (&method.attrs.cfgs, names::constant(&method.sig.ident));
        quote!(#(#cfgs)* #constant)
    });
    let at_trait = Span::mixed_site().located_at(trait_ident.span());
    let unique = quote_spanned!(at_trait=> __rpc::Method::unique(&[#(#rows),*]));
    let call = call(service);
    quote! {
        impl<#parameter: #trait_ident> __rpc::Service for #server<#parameter> {
            fn name(&self) -> &'static ::core::primitive::str {
                #wire_name
            }
            fn methods(&self) -> &'static [__rpc::Method] {
                const METHODS: &[__rpc::Method] = #unique;
                METHODS
            }
            #call
        }
    }
}

/// ```text
/// fn call(&self, request: Request) -> Handler {
///     let service = Clone::clone(&self.0);
///     match request.method() {
///         id if id == __hello.id() => ..,
///         _ => request.unknown_method(),
///     }
/// }
/// ```
fn call(service: &Service) -> TokenStream {
    let arms = service.methods.iter().map(|method| arm(service, method));
    // With `mixed_site`, users may have variables of the same names, here and below.
    let ours = Span::mixed_site();
    let shared = (!service.methods.is_empty())
        .then(|| quote_spanned!(ours=> let service = ::core::clone::Clone::clone(&self.0);));
    quote_spanned! {ours=>
        fn call(&self, request: __rpc::Request) -> __rpc::Handler {
            #shared
            match request.method() {
                #(#arms)*
                _ => request.unknown_method(),
            }
        }
    }
}

/// The types of the arguments follow from the call of the method, that of the reply from its
/// result.
///
/// ```text
/// id if id == __hello.id() => Box::pin(async move {
///     let (name,) = request.args()?;
///     let reply = Greeter::hello(&*service, name).await;
///     request.reply::<Plain<_>>(&reply)
/// }),
/// id if id == __count.id() => Box::pin(async move {
///     let (to,) = request.args()?;
///     let reply = Greeter::count(&*service, to).await;
///     request.stream::<Streamed<_>>(reply)
/// }),
/// ```
fn arm(service: &Service, method: &Method) -> TokenStream {
    let cfgs = &method.attrs.cfgs;
    let constant = names::constant(&method.sig.ident);
    let (trait_ident, ident) = (&service.ident, &method.sig.ident);
    let ours = Span::mixed_site();
    let args = method.args.iter().map(|arg| match arg.kind {
        ArgKind::Value | ArgKind::Octets | ArgKind::Whole | ArgKind::Stream => {
            arg.ident.to_token_stream()
        }
        ArgKind::Context => {
            quote_spanned!(ours.located_at(arg.ty.span())=> request.context())
        }
    });
    let decode = decode(method);
    let marker = marker(&method.reply);
    let encode = if method.reply.is_stream() {
        quote_spanned!(at_reply(method)=> request.stream::<#marker>(reply))
    } else {
        quote_spanned!(at_reply(method)=> request.reply::<#marker>(&reply))
    };
    quote_spanned! {ours=>
        #(#cfgs)*
        id if id == #constant.id() => __rpc::Box::pin(async move {
            #decode
            let reply = #trait_ident::#ident(&*service, #(#args),*).await;
            #encode
        }),
    }
}

/// `let (name,) = request.args()?;`, after `let words = request.items()?;` for a stream.
fn decode(method: &Method) -> TokenStream {
    let items = method.stream_arg().map(|arg| {
        let name = &arg.ident;
        quote_spanned! {Span::mixed_site().located_at(arg.ty.span())=>
            let mut request = request;
            let #name = request.items()?;
        }
    });
    let name = |arg: &Arg| wire_arg(arg, &arg.ident);
    if let Some(whole) = method.whole_arg() {
        let front = method.args_in_body().filter(|arg| !ptr::eq(*arg, whole)).map(name);
        let whole = name(whole);
        return quote_spanned! {at_args(method)=>
            let ((#(#front,)*), #whole) = request.args_and_last()?;
        };
    }
    let mut names = method.args_in_body().map(name).peekable();
    if names.peek().is_none() {
        return quote_spanned!(Span::mixed_site()=> #items request.args::<()>()?;);
    }
    quote_spanned!(at_args(method)=> #items let (#(#names,)*) = request.args()?;)
}
