//! Writes SVG: the few elements that plots are made of. What they mean is not its business.

use std::fmt::Write;

/// Text and lines that carry no data.
pub(crate) const QUIET: &str = "#6b7280";
pub(crate) const LOUD: &str = "#111827";
pub(crate) const GRID: &str = "#e5e7eb";

/// Which end of a text is at its position.
#[derive(Clone, Copy)]
pub(crate) enum Anchor {
    Start,
    Middle,
    End,
}

pub(crate) struct Svg {
    body: String,
    width: f64,
    height: f64,
}

impl Svg {
    pub(crate) fn new(width: f64, height: f64) -> Self {
        Self { body: String::new(), width, height }
    }

    pub(crate) fn rect(&mut self, [x, y]: [f64; 2], [width, height]: [f64; 2], fill: &str) {
        self.push(format_args!(
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" rx="2" fill="{fill}"/>"#
        ));
    }

    pub(crate) fn line(&mut self, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2], color: &str) {
        self.push(format_args!(
            r#"<line x1="{x1:.1}" y1="{y1:.1}" x2="{x2:.1}" y2="{y2:.1}" stroke="{color}"/>"#
        ));
    }

    /// A line through all points, with a dot on each.
    pub(crate) fn path(&mut self, points: &[[f64; 2]], color: &str, dashed: bool) {
        let joined: Vec<_> = points.iter().map(|[x, y]| format!("{x:.1},{y:.1}")).collect();
        let joined = joined.join(" ");
        let dashes = if dashed { r#" stroke-dasharray="5 4""# } else { "" };
        self.push(format_args!(
            r#"<polyline points="{joined}" fill="none" stroke="{color}" stroke-width="2"{dashes}/>"#
        ));
        for [x, y] in points {
            self.push(format_args!(r#"<circle cx="{x:.1}" cy="{y:.1}" r="3" fill="{color}"/>"#));
        }
    }

    pub(crate) fn text(&mut self, [x, y]: [f64; 2], anchor: Anchor, color: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = text.replace('&', "&amp;").replace('<', "&lt;");
        self.push(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" text-anchor="{anchor}" fill="{color}">{text}</text>"#
        ));
    }

    pub(crate) fn title(&mut self, [x, y]: [f64; 2], text: &str) {
        self.push(format_args!(
            r#"<text x="{x:.1}" y="{y:.1}" fill="{LOUD}" font-size="15" font-weight="600">{text}</text>"#
        ));
    }

    /// The document, on white: whoever shows it may have a dark page.
    pub(crate) fn finish(self) -> String {
        let Self { body, width, height } = self;
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
             width=\"{width}\" height=\"{height}\" font-family=\"system-ui, sans-serif\" \
             font-size=\"12\">\n\
             <rect width=\"{width}\" height=\"{height}\" rx=\"6\" fill=\"#ffffff\"/>\n{body}</svg>\n"
        )
    }

    fn push(&mut self, element: std::fmt::Arguments<'_>) {
        writeln!(self.body, "{element}").expect("a String takes all that is written");
    }
}
