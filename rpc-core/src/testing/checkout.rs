//! What a run was of, for the lines that replay it: a seed does the same with the same code only.

use std::process::Command;

/// A comment for the end of a command: the commit that is checked out where this runs, with a `+` if files of it
/// have changed since. Empty if git has no answer.
#[must_use]
pub fn checkout() -> String {
    let Some(commit) = git(&["rev-parse", "--short", "HEAD"]) else { return String::new() };
    let is_clean =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|it| it.is_empty());
    let changed = if is_clean { "" } else { "+" };
    format!("  # at {commit}{changed}")
}

/// What git says, without the end of its line.
fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim_end().to_owned())
}
