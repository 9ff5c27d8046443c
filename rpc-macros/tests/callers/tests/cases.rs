//! The cases that have to compile, once more: in edition 2021, and under every lint of clippy's
//! that is not an experiment.

#![deny(clippy::all, clippy::pedantic)]

use std::{collections::BTreeSet, fs, path::Path};

/// Every case in `tests/ui/pass`, as a module. What is missing is listed by the test below.
macro_rules! cases {
    ($($name:ident at $path:literal)*) => {
        $(
            #[allow(dead_code, reason = "it is a program")]
            #[path = $path]
            mod $name;
        )*

        const CASES: &[&str] = &[$(stringify!($name)),*];
    };
}

cases! {
    arg_names at "../../ui/pass/arg_names.rs"
    attributes at "../../ui/pass/attributes.rs"
    borrowed_args at "../../ui/pass/borrowed_args.rs"
    context at "../../ui/pass/context.rs"
    default_method at "../../ui/pass/default_method.rs"
    from_macro at "../../ui/pass/from_macro.rs"
    hundred_methods at "../../ui/pass/hundred_methods.rs"
    no_implicit_prelude at "../../ui/pass/no_implicit_prelude.rs"
    oneway at "../../ui/pass/oneway.rs"
    pointers at "../../ui/pass/pointers.rs"
    results at "../../ui/pass/results.rs"
    scopes at "../../ui/pass/scopes.rs"
    shadowed_names at "../../ui/pass/shadowed_names.rs"
    sixteen_args at "../../ui/pass/sixteen_args.rs"
    streams at "../../ui/pass/streams.rs"
}

/// Says `crate::`, and is in a module here.
const AT_THE_ROOT: &[&str] = &["crate_path"];

#[test]
fn every_case_is_here() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ui/pass");
    let files = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let found: BTreeSet<_> =
        files.map(|path| path.file_stem().unwrap().to_str().unwrap().to_owned()).collect();
    let listed = CASES.iter().chain(AT_THE_ROOT).map(|&name| name.to_owned()).collect();
    assert_eq!(found, listed);
}
