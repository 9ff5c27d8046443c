//! From a trait to its model and its mistakes; what is written is `expand`'s test.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{ItemTrait, parse_quote};

use crate::{
    args::ServiceArgs,
    diag::Diagnostics,
    lower,
    model::{ArgKind, Method, Outcome, ReplyKind, Service},
    service_tokens,
};

/// The service that a trait without mistakes describes.
#[track_caller]
fn service(args: TokenStream, item: &ItemTrait) -> Service {
    let mut diag = Diagnostics::default();
    let args = ServiceArgs::parse(args, &mut diag);
    let service = lower::lower(args, item, &mut diag);
    let errors = diag.finish();
    assert!(errors.is_none(), "{errors:?}");
    service
}

/// The only method of a trait.
#[track_caller]
fn method(method: TokenStream) -> Method {
    let mut service = service(TokenStream::new(), &parse_quote!(trait Greeter { #method }));
    assert_eq!(service.methods.len(), 1);
    service.methods.remove(0)
}

/// The messages that an annotated item earns.
fn mistakes(args: TokenStream, item: TokenStream) -> Vec<String> {
    let file: syn::File = syn::parse2(service_tokens(args, item)).unwrap();
    let errors = file.items.iter().filter_map(|item| match item {
        syn::Item::Macro(call) if call.mac.path.segments.last()?.ident == "compile_error" => {
            let text: syn::LitStr = call.mac.parse_body().unwrap();
            Some(text.value())
        }
        _ => None,
    });
    errors.collect()
}

#[track_caller]
fn arg_kind(ty: TokenStream, expected: ArgKind) {
    let method = method(quote!(async fn get(&self, arg: #ty);));
    assert_eq!(method.args[0].kind, expected, "{ty}");
}

#[track_caller]
fn reply_kind(ty: TokenStream, expected: ReplyKind) -> Outcome {
    let method = method(quote!(async fn get(&self) -> #ty;));
    assert_eq!(method.reply.kind, expected, "{ty}");
    method.reply.outcome
}

#[test]
fn three_mistakes_are_three_errors() {
    let item = quote! {
        trait Calculator {
            fn add(&self, a: i32) -> i32;
            async fn negate(&mut self, a: i32) -> i32;
            async fn sum(&self, list: &[i32]) -> i32;
        }
    };
    let mistakes = mistakes(TokenStream::new(), item);
    assert_eq!(mistakes.len(), 3, "{mistakes:?}");
}

#[test]
fn four_mistakes_in_one_method_are_four_errors() {
    let item = quote! {
        trait Calculator {
            #[rpc(idempotnt)]
            fn add((a, b): (i32, i32)) -> i32;
        }
    };
    assert_eq!(mistakes(TokenStream::new(), item).len(), 4);
}

#[test]
fn mistakes_in_arguments_and_trait_are_reported_together() {
    let item = quote!(
        unsafe trait Generic<T> {
            type Error;
        }
    );
    assert_eq!(mistakes(quote!(nam = "x", name = 1), item).len(), 5);
}

#[test]
fn what_is_not_a_trait_stays() {
    let item = quote!(
        struct Greeter;
    );
    let tokens = service_tokens(TokenStream::new(), item.clone()).to_string();
    assert!(tokens.ends_with(&item.to_string()), "{tokens}");
    assert_eq!(mistakes(TokenStream::new(), item).len(), 1);
}

#[test]
fn a_mistake_leaves_the_other_methods() {
    let item = quote!(
        trait Greeter {
            async fn good(&self);
            fn bad(&self);
        }
    );
    let tokens = service_tokens(TokenStream::new(), item).to_string();
    assert!(tokens.contains("__good") && !tokens.contains("__bad"), "{tokens}");
}

#[test]
fn names_on_the_wire() {
    let item = parse_quote! {
        trait r#Trait {
            async fn r#match(&self);
            #[rpc(name = "new")]
            async fn make(&self);
        }
    };
    let plain = service(TokenStream::new(), &item);
    assert_eq!(plain.wire_name, "Trait");
    let names: Vec<_> = plain.methods.iter().map(|method| &method.wire_name).collect();
    assert_eq!(names, ["match", "new"]);
    assert_eq!(service(quote!(name = "trait.v1"), &item).wire_name, "trait.v1");
}

#[test]
fn idempotent_is_off_until_said() {
    assert!(
        !method(quote!(
            async fn get(&self);
        ))
        .idempotent
    );
    assert!(
        method(quote!(
            #[rpc(idempotent)]
            async fn get(&self);
        ))
        .idempotent
    );
    assert!(
        method(quote!(
            #[rpc(name = "x")]
            #[rpc(idempotent)]
            async fn get(&self);
        ))
        .idempotent
    );
}

#[test]
fn bytes_go_in_one_piece() {
    for ty in [
        quote!(Vec<u8>),
        quote!(&[u8]),
        quote!(Option<Vec<u8>>),
        quote!(Option<&[u8]>),
        quote!(std::vec::Vec<u8>),
        quote!(::core::option::Option<::alloc::vec::Vec<u8>>),
        quote!((Vec<u8>)),
    ] {
        arg_kind(ty, ArgKind::Octets);
    }
    for ty in [
        quote!(Vec<u16>),
        quote!(Vec<Vec<u8>>),
        quote!(Option<Option<Vec<u8>>>),
        quote!((Vec<u8>,)),
        quote!(my::Vec<u8>),
        quote!(Vec),
        quote!(&str),
        quote!([u8; 4]),
    ] {
        arg_kind(ty, ArgKind::Value);
    }
}

#[test]
fn the_context_is_not_on_the_wire() {
    let method = method(quote!(
        async fn get(&self, #[ctx] cx: &Context, a: u8);
    ));
    assert_eq!(method.args[0].kind, ArgKind::Context);
    assert_eq!(method.args_on_wire().count(), 1);
}

#[test]
fn replies_that_say_what_the_caller_gets() {
    assert!(matches!(reply_kind(quote!(u8), ReplyKind::Plain), Outcome::Value));
    assert!(matches!(reply_kind(quote!(Reply<u8, u8>), ReplyKind::Plain), Outcome::Value));
    assert!(matches!(reply_kind(quote!(Vec<u8>), ReplyKind::Octets), Outcome::Value));
    assert!(matches!(reply_kind(quote!(Option<Vec<u8>>), ReplyKind::Octets), Outcome::Value));
    let written_out = reply_kind(quote!(Result<u8, E>), ReplyKind::Fallible);
    assert!(matches!(written_out, Outcome::Result { .. }));
    let bytes = reply_kind(quote!(std::result::Result<Option<Vec<u8>>, E>), ReplyKind::Octets);
    assert!(matches!(bytes, Outcome::Result { .. }));
    assert!(matches!(reply_kind(quote!(io::Result<Vec<u8>>), ReplyKind::Fallible), Outcome::Alias));
    assert!(matches!(reply_kind(quote!(fmt::Result), ReplyKind::Fallible), Outcome::Alias));
}

#[test]
fn expectations_are_not_copied() {
    let method = method(quote! {
        #[expect(dead_code)]
        #[cfg_attr(unix, expect(unused), inline)]
        #[instrument]
        async fn get(&self);
    });
    let text = |attrs: &[syn::Attribute]| quote!(#(#attrs)*).to_string();
    let on_client = quote!(#[allow(dead_code)] #[cfg_attr(unix, allow(unused))]).to_string();
    assert_eq!(text(&method.attrs.on_client), on_client);
    assert_eq!(method.attrs.on_trait.len(), 3);
    assert!(text(&method.attrs.on_trait).contains("expect"));
}

#[test]
fn methods_with_conditions_may_share_names() {
    let item = parse_quote! {
        trait Greeter {
            #[cfg(unix)]
            async fn get(&self);
            #[cfg(windows)]
            async fn get(&self, a: u8);
        }
    };
    assert_eq!(service(TokenStream::new(), &item).methods.len(), 2);
}
