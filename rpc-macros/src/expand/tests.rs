//! What users get: snapshots of whole expansions, formatted as the workspace is, and their length.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

use proc_macro2::TokenStream;
use quote::quote;

use crate::service_tokens;

#[test]
fn empty() {
    let service = quote! {
        trait Nothing {}
    };
    let text = check("empty", TokenStream::new(), service);
    within_budget(&text, 0);
}

#[test]
fn small() {
    let service = quote! {
        /// Greets people.
        pub trait Greeter {
            /// Greets one person.
            async fn hello(&self, name: &str) -> Result<String, GreetError>;
        }
    };
    let text = check("small", TokenStream::new(), service);
    within_budget(&text, 1);
}

#[test]
fn large() {
    let service = quote! {
        /// Keeps values under names.
        pub trait Store {
            /// The value under `key`.
            #[rpc(idempotent)]
            async fn get(&self, key: &str) -> Option<Vec<u8>>;
            /// Puts a value under `key`.
            async fn put(&self, key: &str, value: &[u8]) -> Result<(), Full>;
            /// Removes what is under `key`.
            #[rpc(idempotent)]
            async fn remove(&self, key: &str) -> Result<Vec<u8>, Missing>;
            /// Whether there is something under `key`.
            async fn contains(&self, key: &str) -> bool;
            /// How many keys there are.
            async fn len(&self) -> u64;
            /// Removes everything.
            async fn clear(&self);
            /// The keys that start with `prefix`.
            async fn keys(&self, prefix: &str, limit: u32) -> Vec<String>;
            /// What the store is doing.
            async fn status(&self) -> Status;
            /// Says who may write.
            async fn grant(&self, user: User, #[ctx] cx: &Context) -> Result<(), Denied>;
            /// Writes everything to a file.
            async fn save(&self, path: PathBuf) -> io::Result<u64>;
        }
    };
    let text = check("large", TokenStream::new(), service);
    within_budget(&text, 10);
}

#[test]
fn streams() {
    let service = quote! {
        /// Counts and joins.
        pub trait Streams {
            /// Counts up to `to`.
            async fn count(&self, to: u32) -> Streaming<u32>;
            /// Joins what the caller sends.
            async fn join(&self, separator: &str, words: Streaming<String>) -> String;
            /// Both at once.
            async fn double(&self, items: Streaming<u32>) -> Result<Streaming<u32>, Denied>;
        }
    };
    check("streams", TokenStream::new(), service);
}

#[test]
fn bytes() {
    let service = quote! {
        /// Keeps files.
        pub trait Files {
            /// Keeps one.
            async fn put(&self, name: &str, file: Bytes) -> u64;
            /// Gives one back.
            async fn get(&self, name: &str) -> Result<Bytes, NotThere>;
            /// Gives back what it is given.
            async fn echo(&self, file: Bytes) -> Bytes;
        }
    };
    check("bytes", TokenStream::new(), service);
}

#[test]
fn odd() {
    let service = quote! {
        #[cfg(feature = "odd")]
        #[deprecated]
        pub(crate) trait S: Debug
        where
            Self: Clone,
        {
            async fn r#match(&self, r#type: Cow<'_, str>, request: u8, service: u8) -> r#fn::Result;
            #[rpc(idempotent, name = "dflt")]
            #[cfg_attr(windows, deprecated, inline)]
            #[expect(non_snake_case)]
            async fn Default(&self, reply: u32) -> u32 {
                reply + 1
            }
            #[cfg(any())]
            async fn nothing(&self) -> Result<Vec<u8>, Nothing>;
            #[rpc(oneway)]
            async fn log(&self, line: String);
        }
    };
    check("odd", quote!(name = "odd.v1", crate = "crate::rpc"), service);
}

/// An expansion that nobody can read hides its mistakes. Longer signatures than these take more.
#[track_caller]
fn within_budget(text: &str, methods: usize) {
    let (lines, budget) = (text.lines().count(), 40 + 16 * methods);
    assert!(lines <= budget, "{lines} lines for {methods} methods, {budget} allowed");
}

/// Compares an expansion with its snapshot. `UPDATE_SNAPSHOTS=1 cargo test -p rpc-macros` writes
/// it.
#[track_caller]
fn check(name: &str, args: TokenStream, item: TokenStream) -> String {
    let text = format(service_tokens(args, item));
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/expand/snapshots");
    let path = dir.join(name).with_extension("rs");
    if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
        fs::write(&path, &text).unwrap();
    }
    let expected = fs::read_to_string(&path).unwrap_or_default();
    assert!(text == expected, "{name} is not what its snapshot shows:\n{text}");
    text
}

/// prettyplease turns `#[doc]` into comments, rustfmt breaks lines as it does everywhere here.
fn format(tokens: TokenStream) -> String {
    let pretty = prettyplease::unparse(&syn::parse2(tokens).unwrap());
    let mut rustfmt = Command::new("rustfmt")
        .args(["--edition", "2024", "--config", "max_width=100"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("rustfmt, a component in rust-toolchain.toml");
    rustfmt.stdin.take().unwrap().write_all(pretty.as_bytes()).unwrap();
    let output = rustfmt.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}
