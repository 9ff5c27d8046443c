//! Where results go: a document between two markers, or a folder of their own.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::plots::Plot;

const BEGIN: &str = "<!-- results: written by `compare`, not by hand -->";
const END: &str = "<!-- end of results -->";

/// Where plots are, beside a document that results are written to.
const PLOTS: &str = "benches/plots";

#[derive(Debug)]
pub(crate) enum Destination {
    /// Between the markers of a document, with the plots in `benches/plots` beside it.
    Document(PathBuf),
    /// `report.md` and the plots.
    Folder(PathBuf),
}

impl Destination {
    pub(crate) fn new(document: Option<PathBuf>) -> Self {
        // Cargo says where the crate is; without it, it is here.
        let here = || env::var_os("CARGO_MANIFEST_DIR").map_or(PathBuf::from("."), PathBuf::from);
        document.map_or_else(|| Self::Folder(here().join("target/compare")), Self::Document)
    }

    /// Refuses, before minutes are spent on measuring, a document without markers.
    pub(crate) fn check(&self) -> io::Result<()> {
        match self {
            Self::Document(path) => replace(&fs::read_to_string(path)?, "").map(drop),
            Self::Folder(path) => fs::create_dir_all(path),
        }
    }

    /// How the document links the folder of the plots.
    pub(crate) fn plots(&self) -> &'static str {
        match self {
            Self::Document(_) => PLOTS,
            Self::Folder(_) => ".",
        }
    }

    pub(crate) fn write(&self, results: &str, plots: &[Plot]) -> io::Result<()> {
        let folder = match self {
            Self::Document(path) => {
                fs::write(path, replace(&fs::read_to_string(path)?, results)?)?;
                path.parent().unwrap_or(Path::new("")).join(PLOTS)
            }
            Self::Folder(path) => {
                fs::write(path.join("report.md"), results)?;
                path.clone()
            }
        };
        fs::create_dir_all(&folder)?;
        for Plot { file, svg, .. } in plots {
            fs::write(folder.join(file), svg)?;
        }
        let (Self::Document(path) | Self::Folder(path)) = self;
        println!("written to {}", path.display());
        Ok(())
    }
}

/// The document with the results between its markers.
fn replace(document: &str, results: &str) -> io::Result<String> {
    let parts = document.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some((before, after))
    });
    let (before, after) = parts.ok_or_else(|| {
        io::Error::other(format!("the document needs two lines: {BEGIN} and {END}"))
    })?;
    Ok(format!("{before}{BEGIN}\n\n{results}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_go_between_the_markers() {
        let document = format!("head\n{BEGIN}\n\nold\n{END}\ntail\n");
        let replaced = replace(&document, "new\n").expect("both markers");
        assert_eq!(replaced, format!("head\n{BEGIN}\n\nnew\n\n{END}\ntail\n"));
        assert!(replace("no markers", "new").is_err());
    }
}
