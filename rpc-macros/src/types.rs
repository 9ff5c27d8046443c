//! Which types may be arguments and replies, and how each goes over the wire; not where they stand.

use quote::ToTokens;
use syn::{
    GenericArgument, Lifetime, Path, PathArguments, PathSegment, Type, TypeReference,
    visit::{self, Visit},
};

use crate::{
    diag::{self, Diagnostics},
    model::{ArgKind, Outcome, Reply, ReplyKind},
};

/// Checks the type of an argument. `lifetimes` says whether to complain about named ones.
pub(crate) fn check_arg(ty: &Type, lifetimes: bool, diag: &mut Diagnostics) {
    match items(ty) {
        Some(items) => check_items(items, lifetimes, diag),
        None => Check { place: Place::Arg, lifetimes, diag }.visit_type(ty),
    }
}

/// Checks the type of a reply. `lifetimes` says whether to complain about borrowing.
pub(crate) fn check_reply(ty: &Type, lifetimes: bool, diag: &mut Diagnostics) {
    let halves = result(ty).map(generics).unwrap_or_default();
    if let Some(items) = items(ty) {
        check_items(items, lifetimes, diag);
    } else if let Some((items, rest)) =
        halves.split_first().and_then(|(ok, rest)| Some((items(ok)?, rest)))
    {
        check_items(items, lifetimes, diag);
        for ty in rest {
            Check { place: Place::Reply, lifetimes, diag }.visit_type(ty);
        }
    } else {
        Check { place: Place::Reply, lifetimes, diag }.visit_type(ty);
    }
}

fn check_items(items: &PathSegment, lifetimes: bool, diag: &mut Diagnostics) {
    Check { place: Place::Item, lifetimes, diag }.visit_path_arguments(&items.arguments);
}

/// How an argument goes over the wire.
pub(crate) fn arg_kind(ty: &Type) -> ArgKind {
    let bytes = |ty| is_byte_vec(ty) || is_byte_slice_ref(ty);
    if items(ty).is_some() {
        ArgKind::Stream
    } else if bytes(ty) || option(ty).is_some_and(bytes) {
        ArgKind::Octets
    } else if is_bytes(ty) {
        ArgKind::Whole
    } else {
        ArgKind::Value
    }
}

/// How a reply goes over the wire, and what it is for the caller.
pub(crate) fn reply(ty: &Type) -> Reply {
    let octets = |ty| is_byte_vec(ty) || option(ty).is_some_and(is_byte_vec);
    let fallible = |ok| match items(ok) {
        Some(_) => ReplyKind::FallibleStream,
        None if is_bytes(ok) => ReplyKind::FallibleWhole,
        None => ReplyKind::Fallible,
    };
    let (kind, outcome) = match result(ty) {
        None if octets(ty) => (ReplyKind::Octets, Outcome::Value),
        None if is_bytes(ty) => (ReplyKind::Whole, Outcome::Value),
        None if items(ty).is_some() => (ReplyKind::Stream, Outcome::Value),
        None => (ReplyKind::Plain, Outcome::Value),
        Some(segment) => match generics(segment).as_slice() {
            [ok, err] => {
                let kind = if octets(ok) { ReplyKind::Octets } else { fallible(ok) };
                let (ok, err) = (Box::new((*ok).clone()), Box::new((*err).clone()));
                (kind, Outcome::Result { ok, err })
            }
            [ok, ..] => (fallible(ok), Outcome::Alias),
            [] => (ReplyKind::Fallible, Outcome::Alias),
        },
    };
    Reply { ty: ty.clone(), kind, outcome }
}

/// Whether it is `()`.
pub(crate) fn is_unit(ty: &Type) -> bool {
    matches!(peel(ty), Type::Tuple(tuple) if tuple.elems.is_empty())
}

/// Without the invisible parentheses of `macro_rules!` fragments, and without visible ones.
pub(crate) fn peel(mut ty: &Type) -> &Type {
    loop {
        ty = match ty {
            Type::Group(group) => &group.elem,
            Type::Paren(paren) => &paren.elem,
            _ => return ty,
        };
    }
}

struct Check<'a> {
    place: Place,
    lifetimes: bool,
    diag: &'a mut Diagnostics,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Arg,
    Reply,
    /// Among the items of a stream.
    Item,
}

impl<'ast> Visit<'ast> for Check<'_> {
    fn visit_type(&mut self, ty: &'ast Type) {
        match ty {
            Type::ImplTrait(_) => self.diag.push(ty, diag::impl_trait()),
            Type::TraitObject(_) => self.diag.push(ty, diag::dyn_trait()),
            Type::Ptr(_) => self.diag.push(ty, diag::pointer(&"raw pointer")),
            Type::FnPtr(_) => self.diag.push(ty, diag::pointer(&"function pointer")),
            Type::Never(_) => self.diag.push(ty, diag::never()),
            _ => visit::visit_type(self, ty),
        }
    }

    fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
        match self.place {
            Place::Reply => {
                self.diag.push(reference, diag::borrowed_reply(&owned(&reference.elem)));
            }
            Place::Item => {
                self.diag.push(reference, diag::borrowed_item(&owned(&reference.elem)));
            }
            Place::Arg if is_borrowable(reference) => {
                visit::visit_type_reference(self, reference);
            }
            Place::Arg if matches!(*reference.elem, Type::TraitObject(_) | Type::ImplTrait(_)) => {
                self.visit_type(&reference.elem);
            }
            Place::Arg if last_segment(&reference.elem).is_some_and(|s| s.ident == "Context") => {
                self.diag.push(reference, diag::context_arg(&display(reference)));
            }
            Place::Arg => {
                let instead = decodable(&reference.elem);
                self.diag.push(reference, diag::borrowed_arg(&display(reference), &instead));
            }
        }
    }

    fn visit_path(&mut self, path: &'ast Path) {
        if path.leading_colon.is_none() && path.segments.first().is_some_and(|s| s.ident == "Self")
        {
            self.diag.push(path, diag::self_type());
        } else if path.segments.last().is_some_and(|s| s.ident == "Streaming") {
            self.diag.push(path, diag::stream_inside());
        } else {
            visit::visit_path(self, path);
        }
    }

    fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
        if !self.lifetimes {
            return;
        }
        match (self.place, lifetime.ident == "_", lifetime.ident == "static") {
            // `Cow<'static, str>` owns what it decodes.
            (Place::Arg, true, _) | (Place::Reply | Place::Item, _, true) => {}
            (Place::Arg, ..) => self.diag.push(lifetime, diag::method_lifetime()),
            (Place::Reply, ..) => self.diag.push(lifetime, diag::reply_lifetime()),
            (Place::Item, ..) => self.diag.push(lifetime, diag::item_lifetime()),
        }
    }
}

/// `&str` and `&[u8]` are decoded without a copy, wherever they stand.
fn is_borrowable(reference: &TypeReference) -> bool {
    reference.mutability.is_none()
        && (is_path(&reference.elem, "str") || is_byte_slice(&reference.elem))
}

/// What to take instead of a reference to `ty`.
fn decodable(ty: &Type) -> String {
    match peel(ty) {
        Type::Slice(slice) => format!("`Vec<{}>`", display(&slice.elem)),
        ty if is_path(ty, "str") || is_path(ty, "String") => "`&str`".to_owned(),
        ty if is_byte_vec(ty) => "`&[u8]`".to_owned(),
        ty => format!("`{}` by value", display(ty)),
    }
}

/// What to return instead of a reference to `ty`.
fn owned(ty: &Type) -> String {
    match peel(ty) {
        Type::Slice(slice) => format!("`Vec<{}>`", display(&slice.elem)),
        ty if is_path(ty, "str") => "`String`".to_owned(),
        ty => format!("`{}`", display(ty)),
    }
}

fn is_byte_slice_ref(ty: &Type) -> bool {
    matches!(peel(ty), Type::Reference(reference)
        if reference.mutability.is_none() && is_byte_slice(&reference.elem))
}

fn is_byte_slice(ty: &Type) -> bool {
    matches!(peel(ty), Type::Slice(slice) if is_path(&slice.elem, "u8"))
}

fn is_byte_vec(ty: &Type) -> bool {
    std_generic(ty, "vec", "Vec").is_some_and(|item| is_path(item, "u8"))
}

/// Whether it is called as `bytes::Bytes` is. What it is turns out later.
fn is_bytes(ty: &Type) -> bool {
    last_segment(ty).is_some_and(|segment| segment.ident == "Bytes" && segment.arguments.is_none())
}

fn option(ty: &Type) -> Option<&Type> {
    std_generic(ty, "option", "Option")
}

/// The `T` of `name<T>`, also when it is written as `std::module::name<T>`.
fn std_generic<'a>(ty: &'a Type, module: &str, name: &str) -> Option<&'a Type> {
    let Type::Path(ty) = peel(ty) else { return None };
    let mut names = ty.path.segments.iter().rev().map(|segment| &segment.ident);
    let is_std = names.next()? == name
        && match (names.next(), names.next(), names.next()) {
            (None, ..) => ty.path.leading_colon.is_none(),
            (Some(m), Some(root), None) => {
                m == module && ["std", "core", "alloc"].iter().any(|name| root == name)
            }
            _ => false,
        };
    match generics(ty.path.segments.last()?).as_slice() {
        [item] if is_std && ty.qself.is_none() => Some(item),
        _ => None,
    }
}

/// The last segment of `Streaming<T>`, however it is reached.
fn items(ty: &Type) -> Option<&PathSegment> {
    last_segment(ty).filter(|segment| segment.ident == "Streaming")
}

fn result(ty: &Type) -> Option<&PathSegment> {
    last_segment(ty).filter(|segment| segment.ident == "Result")
}

fn last_segment(ty: &Type) -> Option<&PathSegment> {
    match peel(ty) {
        Type::Path(ty) => ty.path.segments.last(),
        _ => None,
    }
}

/// The types between `<` and `>`; none at all if anything else stands there.
fn generics(segment: &PathSegment) -> Vec<&Type> {
    let PathArguments::AngleBracketed(list) = &segment.arguments else { return Vec::new() };
    let types = list.args.iter().map(|arg| match arg {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    });
    types.collect::<Option<Vec<_>>>().unwrap_or_default()
}

fn is_path(ty: &Type, name: &str) -> bool {
    matches!(peel(ty), Type::Path(ty) if ty.qself.is_none() && ty.path.is_ident(name))
}

/// The type as people write it: tokens print with a space between any two.
fn display(ty: &impl ToTokens) -> String {
    let mut text = ty.to_token_stream().to_string();
    for (from, to) in [("& ", "&"), (" ::", "::"), (":: ", "::"), (" <", "<"), ("< ", "<")] {
        text = text.replace(from, to);
    }
    for (from, to) in [(" >", ">"), (" ,", ","), ("[ ", "["), (" ]", "]"), (" ;", ";")] {
        text = text.replace(from, to);
    }
    text
}
