//! The `#[service]` attribute of rpc-core, which re-exports it; no code that runs in a call.
//!
//! `args` and `lower` read the user's trait into a `model` and collect every mistake in it (`diag`
//! has the texts, `types` the rules about types, `attrs` those about attributes); `expand` writes
//! the model down, and can't fail. `src/expand/snapshots` shows what comes out.

use proc_macro2::TokenStream;

mod args;
mod attrs;
mod diag;
mod expand;
mod items;
mod lower;
mod model;
mod names;
#[cfg(test)]
mod tests;
mod types;

/// Makes a trait a service: writes a client that calls it and a server that serves it.
///
/// ```
/// # use serde::{Deserialize, Serialize};
/// #[derive(Debug, Serialize, Deserialize)]
/// pub enum GreetError {
///     Empty,
/// }
///
/// #[rpc_core::service]
/// pub trait Greeter {
///     /// Greets one person.
///     async fn hello(&self, name: &str) -> Result<String, GreetError>;
/// }
///
/// struct English;
///
/// impl Greeter for English {
///     async fn hello(&self, name: &str) -> Result<String, GreetError> {
///         if name.is_empty() { Err(GreetError::Empty) } else { Ok(format!("Hello, {name}!")) }
///     }
/// }
///
/// # fn serve(channel: rpc_core::Channel) {
/// let server = GreeterServer::new(English);
/// let client = GreeterClient::new(channel);
/// let call = client.hello("Ada"); // a future; nothing is sent before it is polled
/// # drop((server, call));
/// # }
/// ```
///
/// # What is written
///
/// * **The trait**, with `Send + Sync + 'static` before its own supertraits. Each method returns an
///   `impl Future<Output = ..> + Send`; implementations write `async fn`, and those whose future
///   isn't `Send` are reported where they hold what isn't. Default bodies stay; the method is
///   called over the wire all the same. The trait isn't dyn compatible.
/// * **`GreeterClient`**, `Clone` and `Debug`, with `new(Channel)` and one method per method of the
///   trait. It takes the same arguments, encodes them at once, and returns a `Call`, a `'static`
///   future:
///
///   | the method returns | the client's method returns |
///   |---|---|
///   | `T` | `Call<T>`, a future of `Result<T, RpcError>` |
///   | `Result<T, E>`, or an alias called `Result` | `Call<T, CallError<E>>` |
///   | an alias called otherwise | `Call<Alias>`: a `Result` within a `Result`, so call it `Result` |
///
/// * **`GreeterServer<S>`**, a `Service` for any `S: Greeter`, `Clone` and `Debug`, with `new(S)`
///   and `from_arc(Arc<S>)`.
///
/// All three have the visibility of the trait, which may stand anywhere, also in a function or in
/// the output of a `macro_rules!`. Names that begin with two underscores are reserved.
///
/// # Keys
///
/// | on the trait | default | |
/// |---|---|---|
/// | `#[service(name = "..")]` | the trait's name | the service's name on the wire |
/// | `#[service(crate = "..")]` | `"::rpc_core"` | where rpc-core is, if renamed or re-exported |
///
/// | on a method | default | |
/// |---|---|---|
/// | `#[rpc(name = "..")]` | the method's name, without `r#` | its name on the wire |
/// | `#[rpc(idempotent)]` | no | running it twice does no more than running it once |
/// | `#[rpc(oneway)]` | no | its caller waits for no reply: see [below](#one-way-calls) |
///
/// A method is known on the wire by its service's name and its own; where it stands in the trait
/// doesn't matter. Two methods of one name are an error.
///
/// | on a parameter | |
/// |---|---|
/// | `#[ctx] cx: &Context` | the context of the call; not a parameter of the client |
///
/// Other attributes go where they mean something: docs, `#[deprecated]`, `#[must_use]` and lints on
/// the client's method too, `#[cfg]` on all that is written for a method, anything else on the
/// trait alone. (An `#[expect]` is an `#[allow]` on the client.)
///
/// # Methods
///
/// `async fn name(&self, ..) -> Reply`, with up to 16 arguments that are plain names, and without
/// generics, lifetimes, `where`, `unsafe`, `const` or `extern`. `new` makes the client and can't be
/// a method; `#[rpc(name = "new")]` still can be its name on the wire. Traits have no generics,
/// associated types or constants.
///
/// # Types
///
/// | arguments | |
/// |---|---|
/// | anything that is `Serialize` and `Deserialize` | by value |
/// | `&str`, `&[u8]`, `Vec<&str>`, `Cow<'_, str>`, `Foo<'_>` | borrowed from the request if serde can |
/// | `&T` of anything else | an error: take `T` |
///
/// Replies are owned: anything that is `Serialize` and `DeserializeOwned`, and `()`. Neither names
/// `Self`, `impl Trait` or `dyn Trait`.
///
/// Bytes travel in one piece, instead of as numbers one by one, when their type is written as
/// `Vec<u8>` or `&[u8]`, an `Option` of one, or, for replies, a `Result` of `Vec<u8>` or
/// `Option<Vec<u8>>`. On the wire both are the same.
///
/// # One-way calls
///
/// ```
/// #[rpc_core::service]
/// pub trait Journal {
///     #[rpc(oneway)]
///     async fn log(&self, line: String);
/// }
/// # async fn call(journal: JournalClient) -> Result<(), rpc_core::RpcError> {
/// journal.log("a line".into()).await?; // it has left
/// # Ok(())
/// # }
/// ```
///
/// The call of a one-way method ends when the transport has taken the last byte of its request.
/// `Ok(())` says that it has left this process, and nothing more: it runs once or not at all, the
/// server may refuse it, and its handler may fail. `Counters::oneways_failed` of the channel counts
/// what nobody hears of. Two calls may run in either order, or at the same time, also if one had
/// ended before the other was made.
///
/// * Until it has left it is a call like others: it waits for a connection and a place, dropping it
///   takes it back or cancels it, its deadline ends it, and every error says whether it may run.
///   After that nothing cancels it.
/// * It keeps its place until the server has answered. Who makes more of them than the server
///   handles has to wait, and memory stays bounded.
/// * Its deadline is that of other calls, 10 seconds by default, and goes with it: the server stops
///   the handler when it has passed. With no caller left who could cancel the call, the deadline is
///   what frees its place. A call made in a handler inherits what is left of that one's time;
///   `.no_deadline()` lifts both.
/// * When the last channel of a connection is dropped, the connection stays until they are
///   answered. A process that ends doesn't wait.
///
/// One-way is how the client calls; server and wire know nothing of it. On the server it is a
/// method like others, and it may be `idempotent`, too.
///
/// # Errors
///
/// All mistakes in a trait are reported in one run, each under what has to change. Until they are
/// corrected, the trait, the client and the server are still there, so that nothing else is
/// reported.
#[proc_macro_attribute]
pub fn service(
    args: proc_macro::TokenStream,
    item: proc_macro::TokenStream,
) -> proc_macro::TokenStream {
    service_tokens(args.into(), item.into()).into()
}

fn service_tokens(args: TokenStream, tokens: TokenStream) -> TokenStream {
    let mut diag = diag::Diagnostics::default();
    let args = args::ServiceArgs::parse(args, &mut diag);
    let Some(item) = lower::parse(tokens.clone(), &mut diag) else {
        return diag.finish().into_iter().chain([tokens]).collect();
    };
    let service = lower::lower(args, &item, &mut diag);
    match diag.finish() {
        None => expand::expand(&service),
        Some(errors) => expand::fallback(errors, &service, item),
    }
}
