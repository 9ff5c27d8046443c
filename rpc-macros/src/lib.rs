//! docs later

use proc_macro2::TokenStream;

mod args;
mod attrs;
mod diag;
mod expand;
mod lower;
mod model;
mod names;
mod types;

/// later
#[proc_macro_attribute]
pub fn service(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    service_impl(args.into(), item.into()).into()
}

pub(crate) fn service_impl(args: TokenStream, item: TokenStream) -> TokenStream {
    let mut diag = diag::Diagnostics::default();
    let args = args::ServiceArgs::parse(args, &mut diag);
    let item = match lower::parse(item.clone(), &mut diag) {
        Some(item) => item,
        None => return diag.finish().into_iter().chain([item]).collect(),
    };
    let service = lower::lower(args, &item, &mut diag);
    match diag.finish() {
        None => expand::expand(&service),
        Some(errors) => expand::fallback(errors, &service, item),
    }
}
