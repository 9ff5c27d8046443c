//! What is written when the trait has mistakes: the errors, and enough for the rest of the user's
//! code to compile, so that nothing else is reported; no server that works.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{FnArg, ItemTrait, TraitItem, TraitItemFn, parse_quote};

use super::{block, client, constant, generated, items};
use crate::{
    attrs::{self, Kind},
    items, lower,
    model::Service,
    names,
};

/// The errors, the trait as the user wrote it, and a client and a server of those methods that have
/// no mistakes.
pub(crate) fn fallback(errors: TokenStream, service: &Service, item: ItemTrait) -> TokenStream {
    let plain = plain(item);
    let stubs = service.krate.as_ref().map(|krate| {
        let items = items(service, krate);
        let constants = service.methods.iter().map(|method| constant(service, method));
        // A server of anything.
        let generated = generated(service, &quote!(::core::marker::Sized));
        let client = client::implementation(service);
        let server = idle_server(service);
        let block = block(service, krate, &quote!(#(#constants)* #generated #client #server));
        quote!(#items #block)
    });
    quote!(#errors #plain #stubs)
}

/// A server that runs nothing.
fn idle_server(service: &Service) -> TokenStream {
    let (server, parameter) = (names::server(&service.ident), names::parameter(&service.ident));
    quote! {
        impl<#parameter> __rpc::Service for #server<#parameter>
        where
            #parameter: ::core::marker::Send + ::core::marker::Sync + 'static,
        {
            fn name(&self) -> &'static ::core::primitive::str {
                ""
            }
            fn methods(&self) -> &'static [__rpc::Method] {
                &[]
            }
            fn call(&self, request: __rpc::Request) -> __rpc::Handler {
                request.unknown_method()
            }
        }
    }
}

/// The trait without our attributes, and without what the compiler would complain about, too.
fn plain(mut item: ItemTrait) -> TokenStream {
    item.attrs = attrs::select(&item.attrs, Kind::on_trait);
    item.attrs.retain(|attr| attr.path().segments.last().is_none_or(|s| s.ident != "async_trait"));
    item.modifiers.auto_token = None;
    item.supertraits.push(parse_quote!(::core::marker::Sized));
    item.colon_token.get_or_insert_default();
    let mut names = Vec::new();
    item.items.retain_mut(|item| {
        if let Some(qualified) = items::qualified(item) {
            *item = qualified.item;
        }
        let TraitItem::Fn(method) = item else { return !matches!(item, TraitItem::Verbatim(_)) };
        plain_method(method);
        let cfgs = attrs::select(&method.attrs, Kind::on_all);
        let twice = cfgs.is_empty() && names.contains(&names::wire(&method.sig.ident));
        names.push(names::wire(&method.sig.ident));
        !twice
    });
    quote!(#[allow(async_fn_in_trait, unused)] #item)
}

fn plain_method(method: &mut TraitItemFn) {
    method.attrs = attrs::select(&method.attrs, Kind::on_trait);
    let sig = &mut method.sig;
    sig.constness = None;
    sig.variadic = None;
    let mut names = Vec::new();
    for input in &mut sig.inputs {
        match input {
            FnArg::Receiver(receiver) => receiver.attrs.clear(),
            FnArg::Typed(param) => {
                param.attrs.clear();
                let name = lower::arg_name(&param.pat).map(names::wire);
                let twice = name.is_some() && names.contains(&name);
                if twice || name.is_none() && method.default.is_none() {
                    *param.pat = parse_quote!(_);
                }
                names.push(name);
            }
        }
    }
}
