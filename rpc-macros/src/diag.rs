//! Every message of the macro and the collection of those that one trait earns; no rules.

use std::fmt::Display;

use proc_macro2::{Span, TokenStream};
use quote::ToTokens;

/// The mistakes found so far. All of them are reported in one run, each under its own token.
///
/// Like `serde_derive`'s `Ctxt`: one that is dropped without [`finish`](Self::finish) would swallow
/// mistakes, so debug builds panic.
#[derive(Default)]
pub(crate) struct Diagnostics {
    errors: Option<syn::Error>,
    finished: bool,
}

impl Diagnostics {
    /// Notes a mistake that `tokens` make.
    pub(crate) fn push(&mut self, tokens: impl ToTokens, text: impl Display) {
        self.extend(syn::Error::new_spanned(tokens, text));
    }

    /// Notes a mistake at `span`.
    pub(crate) fn push_at(&mut self, span: Span, text: impl Display) {
        self.extend(syn::Error::new(span, text));
    }

    /// Notes what syn didn't like.
    pub(crate) fn extend(&mut self, error: syn::Error) {
        match &mut self.errors {
            Some(errors) => errors.combine(error),
            None => self.errors = Some(error),
        }
    }

    /// How many mistakes there are. Two equal counts around a check mean that it passed.
    pub(crate) fn count(&self) -> usize {
        self.errors.iter().flatten().count()
    }

    /// `compile_error!`s for all mistakes, or `None` when there are none.
    pub(crate) fn finish(mut self) -> Option<TokenStream> {
        self.finished = true;
        self.errors.take().map(|errors| errors.to_compile_error())
    }
}

impl Drop for Diagnostics {
    fn drop(&mut self) {
        debug_assert!(
            self.finished || std::thread::panicking(),
            "mistakes were collected and never reported"
        );
    }
}

/// Defines one function per message, and the list that the UI tests are compared with.
macro_rules! texts {
    ($($name:ident($($arg:ident),*) = $text:literal;)*) => {
        $(pub(crate) fn $name($($arg: &dyn Display),*) -> String {
            format!($text)
        })*

        /// All messages: their names, and their texts with placeholders.
        #[cfg(test)]
        const ALL: &[(&str, &str)] = &[$((stringify!($name), $text)),*];
    };
}

// What is wrong, then what to write. Lower case, no full stop.
texts! {
    // The trait.
    not_a_trait() = "`#[service]` goes on a trait: it writes a client and a server for it";
    on_impl() = "`#[service]` goes on the trait: its implementations are plain `impl` blocks";
    async_trait() = "a service needs no `#[async_trait]`: remove it, from the implementations too";
    trait_generics(name) = "`{name}` can't be generic, as both sides must agree on the types: write \
        concrete ones here, and `impl<T> {name} for YourType<T>` for what is generic";
    trait_qualifier(word) = "a service can't be `{word}`: remove the keyword";
    assoc_type(name) = "`{name}` could be another type on either side: write the concrete type \
        where it is used";
    assoc_const(name) = "a service has only methods: move `{name}` out of the trait, or return it \
        from one";
    macro_item() = "a service has only methods: write them out, or let a macro write the whole \
        trait";
    other_item() = "a service has only methods: write `async fn name(&self, ..) -> Reply;`";

    // Methods.
    method_vis() = "a method is as visible as its trait: remove the visibility";
    not_async(name) = "`{name}` must be async: write `async fn {name}`";
    returns_future(name) = "`{name}` must be async: write `async fn {name}` and return what the \
        future yields; the macro makes it `Send`";
    no_receiver(name) = "`{name}` needs a receiver: write `async fn {name}(&self, ..)`";
    mut_receiver() = "calls share the service: write `&self`, and keep what changes in a lock or \
        an atomic";
    value_receiver() = "calls share the service: write `&self`";
    method_qualifier(word) = "a method of a service can't be `{word}`: remove the keyword";
    variadic() = "a method of a service has a fixed list of arguments: take a `Vec`";
    method_generics() = "a method of a service isn't generic: write the types that go over the \
        wire";
    method_lifetime() = "a method of a service names no lifetimes: leave them out, or write `'_`";
    method_where() = "a method of a service has nothing generic: remove the where clause";
    reserved(name) = "`{name}` makes a client: call the method something else; `#[rpc(name = \
        \"{name}\")]` keeps the name on the wire";
    duplicate_method(name) = "`{name}` is defined twice: rename one";
    duplicate_wire_name(name) = "two methods are called `{name}` on the wire: give one another \
        `#[rpc(name = \"..\")]`";
    too_many_args() = "a method takes at most 16 arguments: put some of them into a struct";
    duplicate_arg(name) = "two arguments are called `{name}`: rename one";
    arg_pattern() = "an argument has a plain name here: the implementation may take it apart";
    arg_attribute() = "an argument takes no attribute but `#[ctx]`";

    // Types of arguments and replies.
    self_type() = "`Self` isn't known to the client: write the concrete type";
    impl_trait() = "`impl Trait` isn't one type: write the type that goes over the wire";
    dyn_trait() = "`dyn Trait` can't go over the wire: write a concrete type, such as an enum";
    pointer(what) = "a {what} can't go over the wire: write a type that owns its data";
    never() = "a method returns a reply: write `()` if there is nothing to say";
    borrowed_arg(ty, instead) = "`{ty}` can't be decoded on the server: take {instead}";
    context_arg(ty) = "`{ty}` can't be decoded on the server: write `#[ctx]` before it for the \
        context of the call";
    borrowed_reply(instead) = "a reply is owned by the caller: return {instead}";
    reply_lifetime() = "a reply is owned by the caller: write `'static`, or a type without this \
        lifetime";
    stream_inside() = "a stream can't stand inside of another type: take it as the last argument, \
        return `Streaming<T>` or `Result<Streaming<T>, E>`";
    stream_last() = "the items of a stream follow all other arguments: make it the last one";
    stream_twice() = "a method takes one stream: take one whose items are an enum";
    stream_oneway() = "a one-way call ends when its request has left, before a stream would: remove \
        `oneway`";
    stream_idempotent() = "an idempotent call may be sent again, which a stream can't: remove \
        `idempotent`";
    borrowed_item(instead) = "an item is owned by its reader: write {instead}";
    item_lifetime() = "an item is owned by its reader: write `'static`, or a type without this \
        lifetime";

    // Attributes.
    rpc_form() = "`#[rpc]` says something about a method: write `#[rpc(idempotent)]` or \
        `#[rpc(name = \"..\")]`";
    rpc_on_trait() = "`#[rpc]` goes on a method: for the trait, write `#[service(name = \"..\")]`";
    rpc_in_cfg_attr() = "`#[rpc]` can't depend on a cfg: both sides must agree on it";
    unknown_rpc_key(key) = "`#[rpc]` knows no `{key}`: it knows `idempotent`, `oneway` and `name`";
    unknown_service_key(key) = "`#[service]` knows no `{key}`: it knows `name` and `crate`";
    oneway() = "the caller of a one-way method waits for no reply: return nothing, or remove `oneway`";
    key_twice(key) = "`{key}` stands here twice: remove one";
    flag_value(key) = "`{key}` takes no value: write just `{key}`";
    string_value(key) = "`{key}` takes a string: write `{key} = \"..\"`";
    empty_name() = "a name on the wire can't be empty";
    crate_path() = "`crate` takes the path of rpc-core: write `crate = my::rpc_core`";
    ctx_place() = "`#[ctx]` goes on a parameter: write `#[ctx] cx: &Context`";
    ctx_form() = "`#[ctx]` takes nothing: write `#[ctx] cx: &Context`";
    ctx_twice() = "a call has one context: remove this parameter";
    ctx_type() = "the context is borrowed: write `#[ctx] cx: &Context`";
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    #[should_panic(expected = "never reported")]
    fn forgetting_to_report_panics() {
        Diagnostics::default().push_at(Span::call_site(), "x");
    }

    #[test]
    fn every_message_has_a_ui_test_of_its_name_that_shows_it() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/ui/fail");
        let is_shown = |(name, text): &&(&str, &str)| {
            let shown = fs::read_to_string(dir.join(name).with_extension("stderr"));
            shown.is_ok_and(|shown| shown.lines().any(|line| fits(text, line)))
        };
        let missing: Vec<_> = ALL.iter().filter(|message| !is_shown(message)).collect();
        assert!(missing.is_empty(), "not shown by a .stderr of that name: {missing:#?}");
    }

    #[test]
    fn a_text_fits_only_lines_with_all_of_it() {
        assert!(fits("`{a}` is {b} here", "error: `x` is y here"));
        assert!(!fits("`{a}` is {b} here", "error: `x` is y"));
        assert!(!fits("take one", "error: take two"));
    }

    /// Whether `line` has all that `text` says around its placeholders.
    fn fits(text: &str, line: &str) -> bool {
        text.split(['{', '}']).step_by(2).all(|fragment| line.contains(fragment))
    }
}
