//! Two kinds of charts, lines over a logarithmic axis and horizontal bars; no contenders, no scenarios.

use crate::svg::{Anchor, GRID, LOUD, QUIET, Svg};
use crate::text::short;

const WIDTH: f64 = 760.0;
const LINES_HEIGHT: f64 = 400.0;
const BAR_HEIGHT: f64 = 13.0;
const GROUP_GAP: f64 = 9.0;
/// Room for the title and for what it says below it.
const TOP: f64 = 58.0;
const BOTTOM: f64 = 44.0;
const LEFT: f64 = 64.0;
/// Room for the names at the ends of lines.
const RIGHT: f64 = 96.0;
/// How far names at the ends of lines stay apart.
const NAME_HEIGHT: f64 = 14.0;

pub(crate) struct Line {
    pub(crate) name: &'static str,
    pub(crate) color: &'static str,
    pub(crate) dashed: bool,
    /// In order of x; both positive.
    pub(crate) points: Vec<[f64; 2]>,
}

pub(crate) struct Lines {
    pub(crate) title: &'static str,
    pub(crate) subtitle: &'static str,
    pub(crate) x_axis: &'static str,
    /// What is marked on the axis, and how it is called.
    pub(crate) x_ticks: Vec<(f64, String)>,
    /// Whether y is logarithmic, or linear from zero.
    pub(crate) y_log: bool,
    pub(crate) lines: Vec<Line>,
}

impl Lines {
    pub(crate) fn draw(&self) -> String {
        let mut svg = Svg::new(WIDTH, LINES_HEIGHT);
        draw_titles(&mut svg, self.title, self.subtitle);
        let ys = self.lines.iter().flat_map(|line| line.points.iter().map(|[_, y]| *y));
        let y_ticks =
            ticks(ys.clone().fold(f64::MAX, f64::min), ys.fold(0.0, f64::max), self.y_log);
        let (Some((x_first, _)), Some((x_last, _))) = (self.x_ticks.first(), self.x_ticks.last())
        else {
            return svg.finish();
        };
        let (Some(&y_first), Some(&y_last)) = (y_ticks.first(), y_ticks.last()) else {
            return svg.finish();
        };
        let x_at = |x: f64| LEFT + (WIDTH - LEFT - RIGHT) * share(x, *x_first, *x_last, true);
        let y_at = |y: f64| {
            let height = LINES_HEIGHT - TOP - BOTTOM;
            TOP + height * (1.0 - share(y, y_first, y_last, self.y_log))
        };
        for tick in y_ticks {
            let y = y_at(tick);
            svg.line([LEFT, y], [WIDTH - RIGHT, y], GRID);
            svg.text([LEFT - 8.0, y + 4.0], Anchor::End, QUIET, &short(tick));
        }
        let base = LINES_HEIGHT - BOTTOM;
        for (tick, name) in &self.x_ticks {
            svg.line([x_at(*tick), base], [x_at(*tick), base + 4.0], QUIET);
            svg.text([x_at(*tick), base + 18.0], Anchor::Middle, QUIET, name);
        }
        svg.text([(LEFT + WIDTH - RIGHT) / 2.0, base + 36.0], Anchor::Middle, QUIET, self.x_axis);
        self.draw_lines(&mut svg, x_at, y_at);
        svg.finish()
    }

    /// The lines, and their names where they end, as far apart as reading needs.
    fn draw_lines(&self, svg: &mut Svg, x_at: impl Fn(f64) -> f64, y_at: impl Fn(f64) -> f64) {
        let mut ends = Vec::new();
        for line in &self.lines {
            let points: Vec<_> = line.points.iter().map(|&[x, y]| [x_at(x), y_at(y)]).collect();
            svg.path(&points, line.color, line.dashed);
            ends.extend(points.last().map(|&[x, y]| (x, y, line)));
        }
        ends.sort_by(|(_, a, _), (_, b, _)| a.total_cmp(b));
        let mut free = f64::MIN;
        for (x, y, line) in ends {
            let y = y.max(free);
            svg.text([x + 8.0, y + 4.0], Anchor::Start, line.color, line.name);
            free = y + NAME_HEIGHT;
        }
    }
}

/// Some bars that belong together.
pub(crate) struct Group {
    pub(crate) name: &'static str,
    pub(crate) color: &'static str,
    /// In the order of the chart's parts.
    pub(crate) values: Vec<f64>,
}

pub(crate) struct Bars {
    pub(crate) title: &'static str,
    pub(crate) subtitle: &'static str,
    /// Whether the values of a group stand one behind the other, or below.
    pub(crate) stacked: bool,
    pub(crate) groups: Vec<Group>,
}

impl Bars {
    pub(crate) fn draw(&self) -> String {
        let rows = self.groups.iter().map(|group| self.rows(group)).sum::<usize>() as f64;
        let height = TOP + rows * BAR_HEIGHT + self.groups.len() as f64 * GROUP_GAP + 12.0;
        let mut svg = Svg::new(WIDTH, height);
        draw_titles(&mut svg, self.title, self.subtitle);
        let extent = |group: &Group| match self.stacked {
            true => group.values.iter().sum(),
            false => group.values.iter().copied().fold(0.0, f64::max),
        };
        let longest = self.groups.iter().map(extent).fold(f64::MIN_POSITIVE, f64::max);
        let left = LEFT + 24.0;
        let scale = (WIDTH - left - RIGHT) / longest;
        let mut y = TOP;
        for group in &self.groups {
            let own = self.rows(group) as f64 * BAR_HEIGHT;
            svg.text([left - 8.0, y + own / 2.0 + 4.0], Anchor::End, LOUD, group.name);
            let mut x = left;
            for (index, value) in group.values.iter().enumerate() {
                let width = value * scale;
                svg.rect([x, y], [width, BAR_HEIGHT - 1.0], &shade(group.color, index));
                if self.stacked {
                    x += width;
                } else {
                    let at = [x + width + 6.0, y + BAR_HEIGHT - 2.0];
                    svg.text(at, Anchor::Start, QUIET, &short(*value));
                    y += BAR_HEIGHT;
                }
            }
            if self.stacked {
                let at = [x + 6.0, y + BAR_HEIGHT - 2.0];
                svg.text(at, Anchor::Start, QUIET, &short(extent(group)));
                y += BAR_HEIGHT;
            }
            y += GROUP_GAP;
        }
        svg.finish()
    }

    fn rows(&self, group: &Group) -> usize {
        if self.stacked { 1 } else { group.values.len() }
    }
}

fn draw_titles(svg: &mut Svg, title: &str, subtitle: &str) {
    svg.title([16.0, 26.0], title);
    svg.text([16.0, 44.0], Anchor::Start, QUIET, subtitle);
}

/// The color, fainter for each further part of a group.
fn shade(color: &str, index: usize) -> String {
    let opacity = ["", "a0", "58"];
    format!("{color}{}", opacity.get(index).copied().unwrap_or("30"))
}

/// How far along an axis a value is, from 0 to 1.
fn share(value: f64, first: f64, last: f64, log: bool) -> f64 {
    if log {
        (value / first).ln() / (last / first).ln().max(f64::MIN_POSITIVE)
    } else {
        (value - first) / (last - first).max(f64::MIN_POSITIVE)
    }
}

/// Round numbers that span what is between the two: powers of ten, or about five equal steps from 0.
fn ticks(lowest: f64, highest: f64, log: bool) -> Vec<f64> {
    if highest <= 0.0 || !highest.is_finite() {
        return Vec::new();
    }
    let mut ticks = Vec::new();
    if log {
        let mut tick = 10_f64.powf(lowest.log10().floor());
        while tick < highest {
            ticks.push(tick);
            tick *= 10.0;
        }
        ticks.push(tick);
    } else {
        let rough = highest / 5.0;
        let power = 10_f64.powf(rough.log10().floor());
        let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
        let step = steps.into_iter().find(|&step| step >= rough).unwrap_or(rough);
        let mut tick = 0.0;
        while tick < highest {
            ticks.push(tick);
            tick += step;
        }
        ticks.push(tick);
    }
    ticks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_round_and_span_the_values() {
        assert_eq!(ticks(3.0, 470.0, true), [1.0, 10.0, 100.0, 1000.0]);
        assert_eq!(ticks(3.0, 470.0, false), [0.0, 100.0, 200.0, 300.0, 400.0, 500.0]);
        assert_eq!(ticks(f64::MAX, 0.0, true), []);
    }

    #[test]
    fn names_at_the_ends_of_lines_stay_apart() {
        let line = |name| Line { name, color: "#000000", dashed: false, points: vec![[1.0, 5.0]] };
        let (title, x_ticks) = ("t", vec![(1.0, "1".to_owned()), (2.0, "2".to_owned())]);
        let lines = vec![line("one"), line("two")];
        let chart = Lines { title, subtitle: "", x_axis: "x", x_ticks, y_log: false, lines }.draw();
        let height = |name: &str| -> f64 {
            let element = chart.lines().find(|line| line.contains(name)).expect("a text");
            let (_, rest) = element.split_once(" y=\"").expect("a position");
            rest.split('"').next().expect("a number").parse().expect("a number")
        };
        assert!(height(">two<") - height(">one<") >= NAME_HEIGHT);
    }
}
