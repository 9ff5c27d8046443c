//! What users see: traits that work, and the message for each that doesn't.

use std::{fs, path::Path, process::Command};

/// The compiler's own words are a part of what has to be shown, so that they come from one version.
#[test]
fn ui() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/ui/pass/*.rs");
    let (compiler, pinned) = (compiler(), pinned());
    assert!(
        compiler.contains(&pinned),
        "tests/ui/fail/*.stderr are of rustc {pinned} (rust-toolchain.toml), and this is {compiler}"
    );
    cases.compile_fail("tests/ui/fail/*.rs");
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output().expect("rustc");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn pinned() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../rust-toolchain.toml");
    let text = fs::read_to_string(path).expect("rust-toolchain.toml");
    let channel = text.lines().find_map(|line| line.strip_prefix("channel = \""));
    channel.expect("a channel").trim_end_matches('"').to_owned()
}
