//! The server: finds the method of a request, decodes, runs the handler, encodes; no dispatch.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens as _, quote, quote_spanned};
use syn::{Path, spanned::Spanned as _};

use super::{marker, wire_arg};
use crate::{
    model::{ArgKind, Method, Service},
    names,
};

/// `pub struct GreeterServer<S>(Arc<S>);`
pub(super) fn item(service: &Service, krate: &Path) -> TokenStream {
    let server = names::server(&service.ident);
    let (vis, attrs) = (&service.vis, &service.attrs.on_types);
    let doc = format!(" Serves an implementation of {}.", names::link(&service.ident));
    quote! {
        #[doc = #doc]
        #(#attrs)*
        #[allow(dead_code)]
        #vis struct #server<S>(#krate::__private::Arc<S>);
    }
}

/// What the server can do: be made, be cloned, be printed, and serve.
pub(super) fn implementation(service: &Service) -> TokenStream {
    let basics = basics(service, &service.ident.to_token_stream());
    let (trait_ident, server) = (&service.ident, names::server(&service.ident));
    let parameter = names::parameter(trait_ident);
    let wire_name = &service.wire_name;
    let rows = service.methods.iter().map(|method| {
        let (cfgs, constant) = (&method.attrs.cfgs, names::constant(&method.sig.ident));
        quote!(#(#cfgs)* #constant)
    });
    let call = call(service);
    quote! {
        #basics
        impl<#parameter: #trait_ident> __rpc::Service for #server<#parameter> {
            fn name(&self) -> &'static str {
                #wire_name
            }
            fn methods(&self) -> &'static [__rpc::Method] {
                const METHODS: &[__rpc::Method] = &[#(#rows),*];
                const _: () = __rpc::Method::assert_unique(METHODS);
                METHODS
            }
            #call
        }
    }
}

/// What all servers have in common; `bound` is what the service must be.
pub(super) fn basics(service: &Service, bound: &TokenStream) -> TokenStream {
    let server = names::server(&service.ident);
    let vis = &service.vis;
    let parameter = names::parameter(&service.ident);
    quote!(__rpc::server_basics!(#vis #server<#parameter: #bound>);)
}

/// ```text
/// fn call(&self, request: Request) -> Handler {
///     let service = Arc::clone(&self.0);
///     match request.method() {
///         id if id == __hello.id() => ..,
///         _ => request.unknown_method(),
///     }
/// }
/// ```
fn call(service: &Service) -> TokenStream {
    let arms = service.methods.iter().map(|method| arm(service, method));
    let Locals { request, handler, .. } = Locals::at(Span::mixed_site());
    let clone = (!service.methods.is_empty())
        .then(|| quote!(let #handler = __rpc::Arc::clone(&self.0);));
    quote! {
        fn call(&self, #request: __rpc::Request) -> __rpc::Handler {
            #clone
            match #request.method() {
                #(#arms)*
                _ => #request.unknown_method(),
            }
        }
    }
}

/// The types of the arguments follow from the call of the method, that of the reply from its result.
///
/// ```text
/// id if id == __hello.id() => Box::pin(async move {
///     let (name,) = request.args()?;
///     let reply = Greeter::hello(&*service, name).await;
///     request.reply::<Plain<_>>(&reply)
/// }),
/// ```
fn arm(service: &Service, method: &Method) -> TokenStream {
    let cfgs = &method.attrs.cfgs;
    let constant = names::constant(&method.sig.ident);
    let (trait_ident, ident) = (&service.ident, &method.sig.ident);
    let [request, handler, reply, id] = locals();
    let decode = decode(method);
    let args = method.args.iter().map(|arg| match arg.kind {
        ArgKind::Value | ArgKind::Octets => arg.ident.to_token_stream(),
        ArgKind::Context => {
            let Locals { request, .. } = Locals::at(arg.ty.span());
            quote_spanned!(arg.ty.span()=> #request.context())
        }
    });
    let encode = encode(method);
    quote! {
        #(#cfgs)*
        #id if #id == #constant.id() => __rpc::Box::pin(async move {
            #decode
            let #reply = #trait_ident::#ident(&*#handler, #(#args),*).await;
            #encode
        }),
    }
}

/// `let (name,) = request.args()?;`. What can't be decoded is complained about at its type, if it is
/// the only one, else at the method's name.
fn decode(method: &Method) -> TokenStream {
    let on_wire: Vec<_> = method.args.iter().filter(|arg| arg.kind != ArgKind::Context).collect();
    let Locals { request, .. } = Locals::at(Span::mixed_site());
    let span = match on_wire.as_slice() {
        [] => return quote!(#request.args::<()>()?;),
        [arg] => arg.ty.span(),
        _ => method.sig.ident.span(),
    };
    let names = on_wire.iter().map(|arg| wire_arg(arg, &arg.ident));
    let args = quote_spanned!(span=> args());
    quote!(let (#(#names,)*) = #request.#args?;)
}

/// `request.reply::<Plain<_>>(&reply)`, complained about at the type of the reply.
fn encode(method: &Method) -> TokenStream {
    let marker = marker(&method.reply);
    let Locals { request, reply, .. } = Locals::at(Span::mixed_site());
    quote!(#request.reply::<#marker>(&#reply))
}

/// A variable of ours. The user may have one of the same name.
fn local(name: &str, place: Span) -> Ident {
    Ident::new(name, Span::mixed_site().located_at(place))
}
