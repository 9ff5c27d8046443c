//! The `#[service]` attribute of rpc-core, which re-exports it; no code that runs in a call.
//!
//! `args` and `lower` read the user's trait into a `model` and collect every mistake in it (`diag`
//! has the texts, `types` the rules about types, `attrs` those about attributes); `expand` writes
//! the model down, and can't fail. `src/expand/snapshots` shows what comes out.
//!
//! What a method costs in a release build without LTO, beside tarpc 0.38 in the same program: a
//! client and a server of 100 methods, each called once, less the same with one method, by 99. CPU
//! time is that of rustc, on a busy machine: good for a comparison only.
//!
//! | | ours | tarpc |
//! |---|---|---|
//! | 10 signatures of std's types: code | 2.5 KB | 3.9 KB |
//! | time | 29 ms | 56 ms |
//! | two types of its own for each method, with serde's derives: code | 7.3 KB | 3.9 KB |
//! | time | 148 ms | 80 ms |
//!
//! More than half of the 7.3 KB is coding: each type has code of its own, on both sides.

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
///   called over the wire all the same.
/// * **The trait for `Arc<G>` and `Box<G>`** of an implementation `G`.
/// * **`GreeterClient`**, `Clone` and `Debug`, with `new(Channel)` and one method per method of the
///   trait. It takes the same arguments, encodes them at once, and returns a `Call`, a `'static`
///   future:
///
///   | the method returns | the client's method returns |
///   |---|---|
///   | `T` | `Call<T>`, a future of `Result<T, RpcError>` |
///   | `Result<T, E>`, or an alias called `Result` | `Call<T, CallError<E>>` |
///   | an alias called otherwise | `Call<Alias>`: a `Result` within a `Result`, so call it `Result` |
///   | `Streaming<T>` | `Call<Streaming<T>>`, which ends when the stream begins |
///   | `Result<Streaming<T>, E>` | `Call<Streaming<T>, CallError<E>>` |
///
/// * **`GreeterServer<S>`**, a `Service` for any `S: Greeter`, `Clone` and `Debug`, with `new(S)`
///   and `from_arc(Arc<S>)`.
///
/// All have the visibility of the trait, which may stand anywhere, also in a function or in the
/// output of a `macro_rules!`. Names that begin with two underscores are reserved.
///
/// # Keys
///
/// | on the trait | default | |
/// |---|---|---|
/// | `#[service(name = "..")]` | the trait's name | the service's name on the wire |
/// | `#[service(crate = ..)]` | `::rpc_core` | where rpc-core is, if renamed or re-exported: `framework::rpc`, `$crate::rpc` in a macro, or a string |
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
/// ```
/// use rpc_core::Context;
///
/// #[rpc_core::service(name = "store.v1")]
/// pub trait Store {
///     /// The value under `key`.
///     #[rpc(idempotent, name = "get")]
///     async fn value(&self, key: &str) -> Option<Vec<u8>>;
///     /// Who asks, which the caller doesn't say.
///     async fn tenant(&self, #[ctx] cx: &Context) -> String;
/// }
/// ```
///
/// # What is accepted
///
/// What has one meaning on the wire is accepted. What hasn't is an error that says what to write.
///
/// | the trait | | why |
/// |---|---|---|
/// | any visibility, place, supertraits, `where Self: ..` | yes | |
/// | no methods at all | yes | a service that knows no method |
/// | type, lifetime or constant parameters, associated types | no | both sides must agree on the types: see [below](#generic-services) |
/// | associated constants, macros as items | no | the client has no implementation to ask; the attribute can't look into macros |
/// | `unsafe`, `auto`, `#[async_trait]` | no | nothing to uphold; not needed |
/// | on a `struct`, an `impl`, .. | no | the contract is the trait |
///
/// | a method | | why |
/// |---|---|---|
/// | `async fn name(&self, ..) -> Reply` | yes | |
/// | with a default body, also one that uses `?` and `return` | yes | |
/// | under `#[cfg]` | yes | on everything that is written for it |
/// | called like anything but `new`: `clone`, `call`, `drop`, `r#match`, .. | yes | `new` makes the client; `#[rpc(name = "new")]` keeps the name on the wire |
/// | `fn`, `fn -> impl Future` | no | the macro adds what makes the future `Send` |
/// | `self`, `&mut self`, `self: Arc<Self>`, no receiver | no | all calls share the implementation |
/// | type and lifetime parameters, `where` | no | one method, one layout on the wire |
/// | `const`, `unsafe`, `extern`, `pub`, variadic | no | they mean nothing to the caller |
/// | two of one name, also on the wire | no | the name is the identity |
/// | `#[rpc(oneway)]` on a method that returns nothing | yes | [see below](#one-way-calls) |
/// | `#[rpc(oneway)]` on another | no | nobody would wait for what it returns |
///
/// | arguments | | why |
/// |---|---|---|
/// | anything `Serialize` and `Deserialize`, by value | yes | |
/// | `&str`, `&[u8]`, `Option<&str>`, `Vec<&str>`, `Cow<'_, str>`, `Foo<'_>` | yes | borrowed from the request if serde can |
/// | up to 16 of them, called like anything | yes | they are a tuple, and serde's end there: use a struct |
/// | `&T` of anything else, `&mut T` | no | there is nothing on the server to borrow from: take `T` |
/// | `Self`, `impl Trait`, `dyn Trait`, pointers, `fn(..)` | no | the other side can't know the type, or the address |
/// | patterns, `mut`, `_` | no | the client needs a name; implementations take it apart |
/// | attributes other than `#[ctx]` | no | both sides have the same arguments |
/// | `Streaming<T>` as the last one | yes | [see below](#streams) |
/// | `Streaming<T>` elsewhere, twice, or within another type | no | its items follow everything else |
/// | `Streaming<T>` with `oneway` or `idempotent` | no | nobody would hear of its end; it can't be sent again |
///
/// | replies | | why |
/// |---|---|---|
/// | anything `Serialize` and `DeserializeOwned`, `()`, nothing | yes | |
/// | `Result<T, E>`, and aliases of that name | yes | the caller gets `T` or `CallError<E>` |
/// | `&T`, `Foo<'_>`, also `&'static str` | no | the caller owns the reply |
/// | `Self`, `impl Trait`, `dyn Trait`, pointers, `!` | no | as for arguments; every call has a reply |
/// | `Streaming<T>`, `Result<Streaming<T>, E>` | yes | [see below](#streams) |
/// | `Streaming<T>` within another type, or by an alias | no | it is no value, and it is known by its name |
///
/// Bytes travel in one piece, instead of as numbers one by one, when their type is written as
/// `Vec<u8>` or `&[u8]`, an `Option` of one, or, for replies, a `Result` of `Vec<u8>` or
/// `Option<Vec<u8>>`. On the wire both are the same.
///
/// `bytes::Bytes` as the last argument, as the reply, or as a reply's `Ok` isn't copied either: a large
/// one goes out of the caller's buffer, and the handler's shares the buffer in which it came. The
/// connection uses that one again when the last handle is dropped: such `Bytes` can be read and cut for
/// nothing, but to make a `Vec<u8>` of them is a copy.
///
/// # Generic services
///
/// A generic trait has no one meaning on the wire. A generic implementation has:
///
/// ```
/// # trait Backend: Send + Sync + 'static {
/// #     fn load(&self, key: &str) -> Option<String>;
/// # }
/// #[rpc_core::service]
/// trait Store {
///     async fn get(&self, key: &str) -> Option<String>;
/// }
///
/// struct Cached<B>(B);
///
/// impl<B: Backend> Store for Cached<B> {
///     async fn get(&self, key: &str) -> Option<String> {
///         self.0.load(key)
///     }
/// }
/// ```
///
/// One for every type there is, `impl<B: Backend> Store for B`, can't be: it would be a second one
/// for `Arc` and `Box`.
///
/// # Sharing and testing
///
/// An implementation is shared by putting it into an `Arc`. Both `new` and `from_arc` take it.
/// (Where a service has a method called `clone`, write `Arc::clone(&shared)`: both types have one.)
/// `&'static G` is no implementation: where a list holds references to implementations, a method
/// call on an item, a `&&G`, would need the outer one to be `'static`. The trait isn't dyn
/// compatible (`dyn Greeter`, E0038); where one of several implementations is chosen at run time, a
/// `match` chooses the server, as every `GreeterServer<_>` is a `Service`.
///
/// Code that calls takes a `GreeterClient`, or an `impl Greeter` if it is to run where the
/// implementation is. A test gives either of them a fake that implements the trait, and keeps an
/// `Arc` of it to look at afterwards. Deadlines, cancellation, panics and errors are real then, and
/// no socket is needed:
///
/// ```
/// use std::sync::{Arc, Mutex};
///
/// use rpc_core::{Channel, RpcError};
///
/// #[rpc_core::service]
/// trait Mailer {
///     async fn send(&self, to: &str, text: &str);
/// }
///
/// // What is tested.
/// async fn register(name: &str, mailer: &MailerClient) -> Result<(), RpcError> {
///     mailer.send(name, "Welcome!").await
/// }
///
/// // What stands in.
/// #[derive(Default)]
/// struct Fake(Mutex<Vec<String>>);
///
/// impl Mailer for Fake {
///     async fn send(&self, to: &str, _: &str) {
///         self.0.lock().unwrap().push(to.to_owned());
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let fake = Arc::new(Fake::default());
/// let mailer = MailerClient::new(Channel::local(MailerServer::new(Arc::clone(&fake))));
/// register("Ada", &mailer).await.unwrap();
/// assert_eq!(*fake.0.lock().unwrap(), ["Ada"]);
/// # }
/// ```
///
/// A fake that awaits `std::future::pending` makes calls time out, one that panics makes them fail
/// with *handler panicked*, and a `Server` that is dropped loses the connection.
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
/// # Streams
///
/// ```
/// use rpc_core::Streaming;
///
/// #[rpc_core::service]
/// pub trait Numbers {
///     /// A stream in reply.
///     async fn count(&self, to: u32) -> Streaming<u32>;
///     /// A stream as the last argument.
///     async fn sum(&self, numbers: Streaming<u32>) -> u64;
///     /// Both, or an error in place of the reply's.
///     async fn double(&self, numbers: Streaming<u32>) -> Result<Streaming<u32>, String>;
/// }
/// # struct Plain;
/// impl Numbers for Plain {
///     async fn count(&self, to: u32) -> Streaming<u32> {
///         (1..=to).collect()
///     }
///     async fn sum(&self, mut numbers: Streaming<u32>) -> u64 {
///         let mut sum = 0;
///         while let Some(Ok(number)) = numbers.next().await {
///             sum += u64::from(number);
///         }
///         sum
///     }
/// #   async fn double(&self, _: Streaming<u32>) -> Result<Streaming<u32>, String> {
/// #       Err(String::new())
/// #   }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), rpc_core::RpcError> {
/// # let client = NumbersClient::new(rpc_core::Channel::local(NumbersServer::new(Plain)));
/// let mut numbers = client.count(3).await?;
/// while let Some(number) = numbers.next().await {
///     println!("{}", number?);
/// }
/// // What comes from one call may go on into another.
/// let sum = client.sum(client.count(3).await?).await?;
/// assert_eq!(sum, 6);
/// # Ok(())
/// # }
/// ```
///
/// The items are what serde knows; they own what they hold. [`Streaming`](../rpc_core/struct.Streaming.html)
/// says how one is made and read, and what its ends mean;
/// [`StreamSender`](../rpc_core/struct.StreamSender.html) how one that is sent item by item ends, and how
/// it says that it breaks off. A call that returns a stream ends when
/// the server's method has returned one: until then its deadline holds as for any call, and from
/// then on the timeout counts for each item anew. A stream among the arguments is sent by a task
/// that belongs to the call, and to the stream in reply if there is one.
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
