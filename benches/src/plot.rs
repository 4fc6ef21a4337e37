//! Latency against load as an SVG picture, one panel for each open row.
//!
//! Both axes are logarithmic: systems differ by a factor in rate and by a factor in latency, and
//! on such axes a factor is a distance. Text and lines take their colours from a style sheet that
//! follows the reader's light or dark theme.

use std::fmt::Write as _;

use crate::figures::{short, spread};
use crate::load::Sample;
use crate::run::Turn;
use crate::steps::Step;

/// Width of the picture.
const WIDTH: f64 = 760.0;
/// Height of one panel, with its title and its axis.
const PANEL_HEIGHT: f64 = 360.0;
/// The area of the curves within a panel.
const LEFT: f64 = 64.0;
const RIGHT: f64 = 610.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 310.0;
/// Colours of the systems, in the table's order: on a light page and on a dark one.
const COLOURS: [(&str, &str); 4] = [
    ("#0969da", "#58a6ff"),
    ("#cf222e", "#ff7b72"),
    ("#1a7f37", "#3fb950"),
    ("#8250df", "#d2a8ff"),
];
/// What has a line and a number at an axis: of each power of ten once, twice, five times.
const TICKS: [f64; 3] = [1.0, 2.0, 5.0];
/// Ticks at which an axis names the powers of ten alone.
const TICKS_MAX: usize = 9;

/// The curves of one open row.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Panel {
    /// What was asked.
    pub(crate) title: String,
    /// One for each system that was asked.
    pub(crate) series: Vec<Series>,
}

/// The curves of one system.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Series {
    /// Its name.
    pub(crate) name: &'static str,
    /// Its place among the systems, which chooses its colour.
    pub(crate) place: usize,
    /// In the order of the rates.
    pub(crate) points: Vec<Point>,
}

/// Medians over the runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Point {
    /// Requests that were due a second.
    pub(crate) rate: f64,
    /// Median latency in milliseconds.
    pub(crate) p50: f64,
    /// 99th percentile in milliseconds.
    pub(crate) p99: f64,
}

/// A logarithmic axis between two positions in the picture.
#[derive(Clone, Copy, Debug)]
struct Axis {
    least: f64,
    greatest: f64,
    from: f64,
    to: f64,
}

/// What the open rows showed, one panel for each title; none if there were none.
pub(crate) fn panels(steps: &[Step], results: &[(&'static str, Vec<Turn>)]) -> Vec<Panel> {
    let mut panels: Vec<Panel> = Vec::new();
    for (at, step) in steps.iter().enumerate().filter(|(_, step)| step.share.is_some()) {
        let title = step.curve();
        if !panels.iter().any(|panel| panel.title == title) {
            let empty = |(place, (name, _)): (usize, &(&'static str, _))| Series {
                name,
                place,
                points: Vec::new(),
            };
            let series = results.iter().enumerate().map(empty).collect();
            panels.push(Panel { title: title.clone(), series });
        }
        let panel = panels.iter_mut().find(|panel| panel.title == title).expect("just made");
        for (series, (_, turns)) in panel.series.iter_mut().zip(results) {
            series.points.extend(point(turns, at));
        }
    }
    for panel in &mut panels {
        panel.series.retain(|series| !series.points.is_empty());
        for series in &mut panel.series {
            series.points.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        }
    }
    panels.retain(|panel| !panel.series.is_empty());
    panels
}

fn point(turns: &[Turn], at: usize) -> Option<Point> {
    let median = |pick: fn(&Sample) -> f64| {
        let samples = turns.iter().filter_map(|turn| turn.samples[at].as_ref());
        spread(samples.filter(|one| one.is_valid()).map(pick)).map(|spread| spread.median)
    };
    Some(Point {
        rate: median(|one| one.due)?,
        p50: median(|one| one.p50)?,
        p99: median(|one| one.p99)?,
    })
}

/// The whole picture.
pub(crate) fn svg(panels: &[Panel]) -> String {
    let count = u32::try_from(panels.len()).unwrap_or(u32::MAX);
    let height = PANEL_HEIGHT * f64::from(count);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH:.0} {height:.0}\" \
         width=\"{WIDTH:.0}\" height=\"{height:.0}\" role=\"img\">\n<title>Latency against \
         load</title>\n<style>\n{}</style>\n<rect class=\"page\" width=\"100%\" \
         height=\"100%\"/>\n",
        style()
    );
    let mut top = 0.0;
    for panel in panels {
        line(&mut out, &format!("<g transform=\"translate(0 {top:.0})\">"));
        draw(&mut out, panel);
        line(&mut out, "</g>");
        top += PANEL_HEIGHT;
    }
    line(&mut out, "</svg>");
    out
}

fn style() -> String {
    let mut light = String::from(".page{fill:#ffffff}text{fill:#1f2328}.grid{stroke:#d8dee4}");
    let mut dark = String::from(".page{fill:#0d1117}text{fill:#e6edf3}.grid{stroke:#30363d}");
    for (place, (on_light, on_dark)) in COLOURS.iter().enumerate() {
        line(
            &mut light,
            &format!("polyline.s{place}{{stroke:{on_light}}}circle.s{place}{{fill:{on_light}}}"),
        );
        line(
            &mut dark,
            &format!("polyline.s{place}{{stroke:{on_dark}}}circle.s{place}{{fill:{on_dark}}}"),
        );
    }
    format!(
        "text{{font:12px sans-serif}}.name{{font-size:14px;font-weight:bold}}\n\
         polyline{{fill:none;stroke-width:2}}polyline.p99{{stroke-dasharray:6 4}}\n\
         {light}\n@media(prefers-color-scheme:dark){{{dark}}}\n"
    )
}

fn draw(out: &mut String, panel: &Panel) {
    let points = || panel.series.iter().flat_map(|series| &series.points);
    let x = Axis::over(points().map(|point| point.rate), LEFT, RIGHT);
    let y = Axis::over(points().flat_map(|point| [point.p50, point.p99]), BOTTOM, TOP);
    text(
        out,
        (LEFT, TOP - 16.0),
        "start\" class=\"name",
        &format!("{}: latency in ms", panel.title),
    );
    text(out, (LEFT, BOTTOM + 38.0), "start", "requests due a second");
    for tick in x.ticks() {
        let at = x.place(tick);
        grid(out, (at, TOP), (at, BOTTOM));
        text(out, (at, BOTTOM + 18.0), "middle", &number(tick));
    }
    for tick in y.ticks() {
        let at = y.place(tick);
        grid(out, (LEFT, at), (RIGHT, at));
        text(out, (LEFT - 6.0, at + 4.0), "end", &number(tick));
    }
    for (row, series) in (0_u8..).zip(&panel.series) {
        let class = series.place % COLOURS.len();
        curve(out, &format!("s{class} p50"), (x, y), series.points.iter().map(|p| (p.rate, p.p50)));
        curve(out, &format!("s{class} p99"), (x, y), series.points.iter().map(|p| (p.rate, p.p99)));
        legend(out, class, TOP + 10.0 + 44.0 * f64::from(row), series.name);
    }
}

fn curve(
    out: &mut String,
    class: &str,
    (x, y): (Axis, Axis),
    points: impl Iterator<Item = (f64, f64)>,
) {
    let places: Vec<_> = points.map(|(rate, millis)| (x.place(rate), y.place(millis))).collect();
    let list: Vec<_> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    line(out, &format!("<polyline class=\"{class}\" points=\"{}\"/>", list.join(" ")));
    for (x, y) in places {
        line(out, &format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"2.5\"/>"));
    }
}

fn legend(out: &mut String, class: usize, top: f64, name: &str) {
    for (kind, at) in [("p50", top), ("p99", top + 18.0)] {
        let (from, to) = (RIGHT + 14.0, RIGHT + 44.0);
        let points = format!("{from:.1},{at:.1} {to:.1},{at:.1}");
        line(out, &format!("<polyline class=\"s{class} {kind}\" points=\"{points}\"/>"));
        text(out, (to + 6.0, at + 4.0), "start", &format!("{name} {kind}"));
    }
}

fn grid(out: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64)) {
    let ends = format!("x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"");
    line(out, &format!("<line class=\"grid\" {ends}/>"));
}

fn text(out: &mut String, (x, y): (f64, f64), anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    let place = format!("x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\"");
    line(out, &format!("<text {place}>{words}</text>"));
}

fn line(out: &mut String, text: &str) {
    writeln!(out, "{text}").expect("writing into a string cannot fail");
}

/// A tick's number; these are round, so no digits are needed behind a comma that are zero.
fn number(tick: f64) -> String {
    let text = short(tick);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

impl Axis {
    /// An axis that holds all these values and ends at ticks.
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let (mut least, mut greatest) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|value| *value > 0.0) {
            (least, greatest) = (least.min(value), greatest.max(value));
        }
        if !least.is_finite() {
            (least, greatest) = (1.0, 10.0);
        }
        let (least, greatest) = (floor(least), ceiling(greatest));
        let greatest = if greatest > least { greatest } else { least * 10.0 };
        Self { least, greatest, from, to }
    }

    /// Where a value stands.
    fn place(&self, value: f64) -> f64 {
        let share = (value.max(self.least) / self.least).ln() / (self.greatest / self.least).ln();
        self.from + share * (self.to - self.from)
    }

    /// Round values from end to end; of many, the powers of ten.
    fn ticks(&self) -> Vec<f64> {
        let mut all = Vec::new();
        let mut power = power(self.least);
        while power <= self.greatest * 1.001 {
            all.extend(TICKS.map(|times| times * power));
            power *= 10.0;
        }
        let fits = |tick: &f64| *tick >= self.least * 0.999 && *tick <= self.greatest * 1.001;
        all.retain(fits);
        if all.len() > TICKS_MAX {
            all.retain(|tick| (tick.log10() - tick.log10().round()).abs() < 1e-6);
        }
        all
    }
}

/// The power of ten at or below a value.
fn power(value: f64) -> f64 {
    10_f64.powf((value.log10() + 1e-9).floor())
}

/// The tick at or below a value.
fn floor(value: f64) -> f64 {
    let power = power(value);
    let below = TICKS.into_iter().rev().find(|times| times * power <= value * 1.000_001);
    below.unwrap_or(1.0) * power
}

/// The tick at or above a value.
fn ceiling(value: f64) -> f64 {
    let power = power(value);
    let above = TICKS.into_iter().find(|times| times * power >= value * 0.999_999);
    above.unwrap_or(10.0) * power
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::ROWS;
    use crate::steps::{sizes, steps};

    #[test]
    fn axes_end_at_ticks_and_a_factor_is_a_distance() {
        let axis = Axis::over([0.3, 47.0].into_iter(), 0.0, 250.0);
        assert_eq!(number(axis.least) + " " + &number(axis.greatest), "0.2 50");
        let distance = axis.place(4.0) - axis.place(2.0);
        assert!((distance - (axis.place(20.0) - axis.place(10.0))).abs() < 1e-9);
        let ticks: Vec<_> = axis.ticks().into_iter().map(number).collect();
        assert_eq!(ticks, ["0.2", "0.5", "1", "2", "5", "10", "20", "50"]);
        let wide = Axis::over([1.0, 1e5].into_iter(), 0.0, 1.0);
        let ticks: Vec<_> = wide.ticks().into_iter().map(number).collect();
        assert_eq!(ticks, ["1", "10", "100", "1,000", "10,000", "100,000"]);
    }

    #[test]
    fn one_value_and_none_have_an_axis_too() {
        for values in [&[5.0][..], &[]] {
            let axis = Axis::over(values.iter().copied(), 0.0, 1.0);
            assert!(axis.greatest > axis.least && axis.place(5.0).is_finite());
        }
    }

    fn turn(samples: &[(f64, f64)]) -> Turn {
        let sample = |(due, p50): &(f64, f64)| {
            let sample =
                Sample { due: *due, p50: *p50, p99: p50 * 4.0, good: 9, ..Sample::default() };
            Some(sample)
        };
        Turn { samples: samples.iter().map(sample).collect(), ..Turn::default() }
    }

    #[test]
    fn curves_are_medians_in_the_order_of_the_rates() {
        let named = |name| *ROWS.iter().find(|row| row.name == name).unwrap();
        let steps = steps(&[named("put-open")], &[0.9, 0.5], &sizes(&[9], &[10]));
        let ours = vec![
            turn(&[(900.0, 8.0), (500.0, 2.0)]),
            turn(&[(920.0, 9.0), (520.0, 3.0)]),
            turn(&[(940.0, 7.0), (540.0, 4.0)]),
        ];
        let none = Turn { samples: vec![None, None], ..Turn::default() };
        let panels = panels(&steps, &[("ours", ours), ("etcd", vec![none])]);
        let points = vec![
            Point { rate: 520.0, p50: 3.0, p99: 12.0 },
            Point { rate: 920.0, p50: 8.0, p99: 32.0 },
        ];
        let series = vec![Series { name: "ours", place: 0, points }];
        assert_eq!(panels, [Panel { title: "PUT 128 B".to_owned(), series }]);
    }

    #[test]
    fn the_picture_holds_both_lines_of_every_system() {
        let points = vec![
            Point { rate: 100.0, p50: 1.0, p99: 10.0 },
            Point { rate: 1_000.0, p50: 2.0, p99: 100.0 },
        ];
        let series = |name, place| Series { name, place, points: points.clone() };
        let panel = Panel {
            title: "A & <B".to_owned(),
            series: vec![series("ours", 0), series("etcd", 2)],
        };
        let text = svg(&[panel.clone(), panel]);
        assert!(
            text.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 760 720\"")
        );
        assert!(text.ends_with("</g>\n</svg>\n"));
        for part in [
            "<polyline class=\"s0 p50\" points=\"64.0,310.0 610.0,269.4\"/>",
            "<polyline class=\"s2 p99\" points=\"64.0,175.0 610.0,40.0\"/>",
            ">A &amp; &lt;B: latency in ms</text>",
            ">ours p50</text>",
            ">etcd p99</text>",
            "prefers-color-scheme:dark",
        ] {
            assert!(text.contains(part), "{part}\n{text}");
        }
        for tag in ["g", "text", "style", "svg"] {
            let opened = text.matches(&format!("<{tag} ")).count()
                + text.matches(&format!("<{tag}>")).count();
            assert_eq!(opened, text.matches(&format!("</{tag}>")).count(), "{tag}");
        }
    }
}
