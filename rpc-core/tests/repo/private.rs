//! Holds `rpc_core::__private` and what `#[service]` writes together; the rest of the API isn't its
//! business.

use std::collections::BTreeSet;

use super::{Source, files};

/// The names that `pub use` brings into a source.
fn exported(text: &str) -> BTreeSet<String> {
    let statements = text.split("pub use ").skip(1).filter_map(|rest| rest.split(';').next());
    let pieces = statements.flat_map(|statement| statement.split([',', '{', '}']));
    let names = pieces.map(|piece| {
        let piece = piece.trim();
        piece.rsplit([' ', ':']).next().unwrap_or_default().to_owned()
    });
    names.filter(|name| !name.is_empty()).collect()
}

/// The names that stand behind a path.
fn used(text: &str, path: &str) -> BTreeSet<String> {
    let names = text.split(path).skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        rest[..end].to_owned()
    });
    names.filter(|name| !name.is_empty()).collect()
}

#[test]
fn generated_code_uses_all_of_private_and_nothing_else() {
    let private = Source::open("rpc-core/src/private.rs").expect("rpc-core/src/private.rs");
    let expansions = files("rpc-macros/src/expand/snapshots", "rs");
    assert!(!expansions.is_empty());
    let in_expansions = expansions.iter().flat_map(|source| {
        let direct = used(&source.text, "::__private::");
        direct.into_iter().chain(used(&source.text, "__rpc::"))
    });
    // Macros are parts of expansions.
    let in_macros = used(&private.text, "$crate::__private::");
    let used: BTreeSet<_> = in_expansions.chain(in_macros).collect();
    assert_eq!(exported(&private.text), used, "left: exported by private.rs; right: used");
}

#[test]
fn generated_code_names_this_crate_for_private_only() {
    for source in files("rpc-macros/src/expand/snapshots", "rs") {
        for path in ["::rpc_core::", "crate::rpc::"] {
            let named = used(&source.text, path);
            assert!(named.iter().all(|name| name == "__private"), "{}: {named:?}", source.path);
        }
    }
}

#[test]
fn use_declarations_are_read_as_the_compiler_reads_them() {
    let text = "pub use std::{boxed::Box, sync::Arc};\npub use crate::{\n    __a as a, B,\n    \
                c::{D, E},\n};\nuse x::Y;\n";
    let names: Vec<_> = exported(text).into_iter().collect();
    assert_eq!(names, ["Arc", "B", "Box", "D", "E", "a"]);
}
