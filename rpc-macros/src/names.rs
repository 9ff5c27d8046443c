//! Names that the macro derives from the user's; no tokens.

use proc_macro2::{Ident, Span};
use quote::format_ident;
use syn::ext::IdentExt as _;

/// `GreeterClient`. The user's span makes "go to definition" lead to the trait.
pub(crate) fn client(service: &Ident) -> Ident {
    format_ident!("{}Client", service.unraw(), span = service.span())
}

/// `GreeterServer`.
pub(crate) fn server(service: &Ident) -> Ident {
    format_ident!("{}Server", service.unraw(), span = service.span())
}

/// The constant that describes a method. Names with two underscores in front are ours.
pub(crate) fn constant(method: &Ident) -> Ident {
    format_ident!("__{}", method.unraw(), span = Span::mixed_site())
}

/// What a name is on the wire when the user says nothing: without `r#`.
pub(crate) fn wire(name: &Ident) -> String {
    name.unraw().to_string()
}

/// The type parameter of the server: `S`, unless the trait is called that.
pub(crate) fn parameter(service: &Ident) -> Ident {
    let name = if service == "S" { "T" } else { "S" };
    Ident::new(name, Span::mixed_site())
}

/// How the trait reads in documentation: as a link, unless rustdoc would stumble over it.
pub(crate) fn link(service: &Ident) -> String {
    let name = service.unraw();
    if service == &name { format!("[`{name}`]") } else { format!("`{name}`") }
}
