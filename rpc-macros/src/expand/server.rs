//! The server: finds the method of a request, decodes, runs the handler, encodes; no dispatch.

use proc_macro2::{Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::{Path, spanned::Spanned as _};

use super::{constant_name, marker, wire_arg};
use crate::{
    model::{Arg, ArgKind, Method, Service},
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
