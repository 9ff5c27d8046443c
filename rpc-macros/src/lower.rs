//! From the user's trait to the model: every rule about traits and methods; none about types.

use std::collections::HashSet;

use proc_macro2::{Ident, Span, TokenStream};
use syn::{
    Attribute, FnArg, Item, ItemTrait, LitStr, Pat, PatIdent, PatType, Receiver, ReceiverKind,
    ReturnType, Safety, Signature, TraitItem, TraitItemFn, Type, ext::IdentExt as _,
    parse_quote_spanned,
};

use crate::{
    args::{RpcArgs, ServiceArgs},
    attrs::{self, Kind},
    diag::{self, Diagnostics},
    items,
    model::{Arg, ArgKind, Method, MethodAttrs, Reply, ReplyKind, Service, TraitAttrs},
    names, types,
};

/// What the client's constructor is called.
const RESERVED: &str = "new";

/// serde codes tuples up to this length.
const ARGS_MAX: usize = 16;

/// The trait that `item` is. What the compiler couldn't read never gets here.
pub(crate) fn parse(item: TokenStream, diag: &mut Diagnostics) -> Option<ItemTrait> {
    match syn::parse2(item) {
        Ok(Item::Trait(item)) => return Some(item),
        Ok(Item::Impl(_)) => diag.push_at(Span::call_site(), diag::on_impl()),
        Ok(_) => diag.push_at(Span::call_site(), diag::not_a_trait()),
        Err(error) => diag.extend(error),
    }
    None
}

/// The service that `item` describes, without the methods that have mistakes.
pub(crate) fn lower(args: ServiceArgs, item: &ItemTrait, diag: &mut Diagnostics) -> Service {
    let generic = !item.generics.params.is_empty();
    check_trait(item, diag);
    let mut names = NamesTaken::default();
    let methods = item.items.iter().filter_map(|item| match item {
        TraitItem::Fn(method) => lower_method(method, &mut names, diag),
        other => {
            items::refuse(other, diag);
            None
        }
    });
    let mut methods: Vec<_> = methods.collect();
    if generic {
        // Their types can't be named outside of the trait.
        methods.clear();
    }
    Service {
        ident: item.ident.clone(),
        vis: item.vis.clone(),
        attrs: TraitAttrs {
            on_trait: attrs::select(&item.attrs, Kind::on_trait),
            on_types: attrs::select(&item.attrs, Kind::on_types),
            on_block: attrs::select(&item.attrs, Kind::on_block),
        },
        trait_token: item.trait_token,
        supertraits: item.supertraits.clone(),
        where_clause: item.generics.where_clause.clone(),
        wire_name: args.name.map_or_else(|| names::wire(&item.ident), |name| name.value()),
        krate: args.krate,
        methods,
    }
}

fn check_trait(item: &ItemTrait, diag: &mut Diagnostics) {
    for attr in &item.attrs {
        if attrs::mentions(attr, "rpc") {
            diag.push(attr, diag::rpc_on_trait());
        } else if attr.path().segments.last().is_some_and(|s| s.ident == "async_trait") {
            diag.push(attr, diag::async_trait());
        }
    }
    if let Some(unsafety) = &item.unsafety {
        diag.push(unsafety, diag::trait_qualifier(&"unsafe"));
    }
    if let Some(auto) = &item.modifiers.auto_token {
        diag.push(auto, diag::trait_qualifier(&"auto"));
    }
    if !item.generics.params.is_empty() {
        diag.push(&item.generics.params, diag::trait_generics(&item.ident));
    }
}

/// The method, unless it has a mistake of its own.
fn lower_method(
    method: &TraitItemFn,
    names: &mut NamesTaken,
    diag: &mut Diagnostics,
) -> Option<Method> {
    let mistakes = diag.count();
    let TraitItemFn { attrs, sig, .. } = method;
    check_method_attrs(attrs, diag);
    check_qualifiers(method, diag);
    check_generics(sig, diag);
    // A lifetime that the method declares is reported once, there.
    let lifetimes = sig.generics.lifetimes().next().is_none();
    check_receiver(sig, lifetimes, diag);
    let rpc = RpcArgs::parse(attrs, diag);
    let args = lower_args(sig, lifetimes, diag);
    let reply = lower_reply(sig, lifetimes, rpc.oneway, diag);
    check_stream(&args, &rpc, diag);
    let cfgs = attrs::select(attrs, Kind::on_all);
    if sig.ident.unraw() == RESERVED {
        diag.push(&sig.ident, diag::reserved(&RESERVED));
    }
    if cfgs.is_empty() {
        names.claim(&sig.ident, rpc.name.as_ref(), diag);
    }
    (diag.count() == mistakes).then(|| Method {
        attrs: MethodAttrs {
            on_trait: attrs::select(attrs, Kind::on_trait),
            on_client: attrs::select(attrs, Kind::on_client),
            cfgs,
        },
        sig: without_parameter_attrs(sig),
        args,
        reply,
        body: method.default.clone(),
        wire_name: rpc.name.map_or_else(|| names::wire(&sig.ident), |name| name.value()),
        idempotent: rpc.idempotent,
    })
}

fn check_method_attrs(attrs: &[Attribute], diag: &mut Diagnostics) {
    for attr in attrs {
        if attrs::mentions(attr, "ctx") {
            diag.push(attr, diag::ctx_place());
        } else if attrs::mentions(attr, "rpc") && !attr.path().is_ident("rpc") {
            diag.push(attr, diag::rpc_in_cfg_attr());
        }
    }
}

fn check_qualifiers(method: &TraitItemFn, diag: &mut Diagnostics) {
    let sig = &method.sig;
    if sig.asyncness.is_none() {
        let text = if returns_future(sig) {
            diag::returns_future(&sig.ident)
        } else {
            diag::not_async(&sig.ident)
        };
        diag.push(sig.fn_token, text);
    }
    if let Some(token) = &sig.constness {
        diag.push(token, diag::method_qualifier(&"const"));
    }
    match &sig.safety {
        Safety::Unsafe(token) => diag.push(token, diag::method_qualifier(&"unsafe")),
        Safety::Safe(token) => diag.push(token, diag::method_qualifier(&"safe")),
        Safety::Default => {}
    }
    if let Some(abi) = &sig.abi {
        diag.push(abi.extern_token, diag::method_qualifier(&"extern"));
    }
    if let Some(variadic) = &sig.variadic {
        diag.push(variadic, diag::variadic());
    }
}

fn check_generics(sig: &Signature, diag: &mut Diagnostics) {
    let lifetimes = sig.generics.lifetimes().count();
    if sig.generics.params.len() > lifetimes {
        diag.push(&sig.generics.params, diag::method_generics());
    } else if lifetimes > 0 {
        diag.push(&sig.generics.params, diag::method_lifetime());
    }
    if let Some(clause) = &sig.generics.where_clause {
        diag.push(clause, diag::method_where());
    }
}

fn check_receiver(sig: &Signature, lifetimes: bool, diag: &mut Diagnostics) {
    let Some(receiver) = sig.receiver() else {
        diag.push(&sig.ident, diag::no_receiver(&sig.ident));
        return;
    };
    for attr in &receiver.attrs {
        diag.push(attr, diag::arg_attribute());
    }
    let shown = Receiver { attrs: Vec::new(), ..receiver.clone() };
    match &receiver.kind {
        ReceiverKind::Reference(_, _, Some(_)) => diag.push(shown, diag::mut_receiver()),
        ReceiverKind::Reference(_, Some(lifetime), None) if lifetimes && lifetime.ident != "_" => {
            diag.push(lifetime, diag::method_lifetime());
        }
        ReceiverKind::Reference(..) => {}
        _ => diag.push(shown, diag::value_receiver()),
    }
}

fn lower_args(sig: &Signature, lifetimes: bool, diag: &mut Diagnostics) -> Vec<Arg> {
    let typed = sig.inputs.iter().filter_map(|input| match input {
        FnArg::Typed(param) => Some(param),
        FnArg::Receiver(_) => None,
    });
    let (mut args, mut on_wire, mut contexts) = (Vec::new(), 0, 0);
    for param in typed {
        let ident = arg_name(&param.pat);
        if ident.is_none() {
            diag.push(&param.pat, diag::arg_pattern());
        }
        let kind = if is_context(param, diag) {
            contexts += 1;
            check_context(param, contexts, diag);
            ArgKind::Context
        } else {
            on_wire += 1;
            if on_wire == ARGS_MAX + 1 {
                diag.push(&param.pat, diag::too_many_args());
            }
            types::check_arg(&param.ty, lifetimes, diag);
            types::arg_kind(&param.ty)
        };
        let Some(ident) = ident else { continue };
        if args.iter().any(|arg: &Arg| arg.ident.unraw() == ident.unraw()) {
            diag.push(ident, diag::duplicate_arg(&ident.unraw()));
        }
        args.push(Arg { ident: ident.clone(), ty: (*param.ty).clone(), kind });
    }
    args
}

/// A stream is the last argument on the wire, there is one, and it is sent once.
fn check_stream(args: &[Arg], rpc: &RpcArgs, diag: &mut Diagnostics) {
    let mut on_wire = args.iter().filter(|arg| arg.kind != ArgKind::Context);
    let Some(stream) = on_wire.find(|arg| arg.kind == ArgKind::Stream) else { return };
    let rest: Vec<_> = on_wire.collect();
    if let Some(second) = rest.iter().find(|arg| arg.kind == ArgKind::Stream) {
        diag.push(&second.ty, diag::stream_twice());
    } else if !rest.is_empty() {
        diag.push(&stream.ty, diag::stream_last());
    }
    if rpc.oneway {
        diag.push(&stream.ty, diag::stream_oneway());
    }
    if rpc.idempotent {
        diag.push(&stream.ty, diag::stream_idempotent());
    }
}

/// The name that a pattern is, if it is nothing more.
pub(crate) fn arg_name(pat: &Pat) -> Option<&Ident> {
    match pat {
        Pat::Ident(PatIdent { by_ref: None, mutability: None, ident, subpat: None, .. }) => {
            Some(ident)
        }
        _ => None,
    }
}

/// Whether `#[ctx]` stands before the parameter. Nothing else may.
fn is_context(param: &PatType, diag: &mut Diagnostics) -> bool {
    let mut context = false;
    for attr in &param.attrs {
        if !attr.path().is_ident("ctx") {
            diag.push(attr, diag::arg_attribute());
        } else {
            context = true;
            if attr.meta.require_path_only().is_err() {
                diag.push(attr, diag::ctx_form());
            }
        }
    }
    context
}

fn check_context(param: &PatType, contexts: usize, diag: &mut Diagnostics) {
    if contexts > 1 {
        diag.push(&param.pat, diag::ctx_twice());
    }
    match types::peel(&param.ty) {
        Type::Reference(reference)
            if reference.mutability.is_none() && reference.lifetime.is_none() => {}
        ty => diag.push(ty, diag::ctx_type()),
    }
}

fn lower_reply(sig: &Signature, lifetimes: bool, oneway: bool, diag: &mut Diagnostics) -> Reply {
    let mut reply = match &sig.output {
        ReturnType::Default => types::reply(&parse_quote_spanned!(sig.ident.span()=> ())),
        ReturnType::Type(_, ty) => {
            // What a method that isn't async returns instead is reported with the missing keyword.
            if sig.asyncness.is_some() || !returns_future(sig) {
                types::check_reply(ty, lifetimes, diag);
            }
            types::reply(ty)
        }
    };
    if oneway && types::is_unit(&reply.ty) {
        reply.kind = ReplyKind::Oneway;
    } else if oneway {
        diag.push(&reply.ty, diag::oneway());
    }
    reply
}

fn returns_future(sig: &Signature) -> bool {
    let ReturnType::Type(_, ty) = &sig.output else { return false };
    match types::peel(ty) {
        Type::ImplTrait(_) => true,
        Type::Path(ty) => {
            ty.path.segments.last().is_some_and(|s| s.ident == "Pin" || s.ident == "BoxFuture")
        }
        _ => false,
    }
}

fn without_parameter_attrs(sig: &Signature) -> Signature {
    let mut sig = sig.clone();
    for input in &mut sig.inputs {
        match input {
            FnArg::Receiver(receiver) => receiver.attrs.clear(),
            FnArg::Typed(param) => param.attrs.clear(),
        }
    }
    sig
}

/// The names of methods without `#[cfg]`. (Of two with one, perhaps only one is there.)
#[derive(Default)]
struct NamesTaken {
    idents: HashSet<String>,
    on_wire: HashSet<String>,
}

impl NamesTaken {
    fn claim(&mut self, ident: &Ident, wire_name: Option<&LitStr>, diag: &mut Diagnostics) {
        let name = names::wire(ident);
        if !self.idents.insert(name.clone()) {
            diag.push(ident, diag::duplicate_method(&name));
            return;
        }
        let on_wire = wire_name.map_or(name, LitStr::value);
        if !self.on_wire.insert(on_wire.clone()) {
            let text = diag::duplicate_wire_name(&on_wire);
            match wire_name {
                Some(literal) => diag.push(literal, text),
                None => diag.push(ident, text),
            }
        }
    }
}
