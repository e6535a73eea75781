//! Bars as SVG: readable on light and on dark ground, without scripts, fonts or a library.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::samples::Samples;

/// A plot of bars that lie above each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Chart {
    /// The file's name, without its extension.
    pub(super) name: String,
    pub(super) title: String,
    /// What the numbers are.
    pub(super) unit: String,
    pub(super) bars: Vec<Bar>,
}

/// One bar: the median, and the span of the runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Bar {
    pub(super) label: String,
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) largest: f64,
    /// Whether it is the product's.
    pub(super) ours: bool,
}

impl Bar {
    pub(super) fn new(label: impl Into<String>, samples: &Samples, ours: bool) -> Self {
        let (least, largest) = samples.ends();
        Self { label: label.into(), median: samples.median(), least, largest, ours }
    }
}

/// In user units, which are about pixels.
const WIDTH: f64 = 720.0;
const LABELS: f64 = 190.0;
const VALUES: f64 = 110.0;
const TOP: f64 = 46.0;
const LINE: f64 = 30.0;
const THICK: f64 = 18.0;

const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#1f2328}\
.t{font-weight:600;font-size:15px}\
.u{fill:#59636e}\
.b{fill:#8c959f}\
.o{fill:#0969da}\
.s{stroke:#1f2328;stroke-width:1.5}\
@media(prefers-color-scheme:dark){\
text{fill:#f0f6fc}\
.u{fill:#9198a1}\
.b{fill:#656c76}\
.o{fill:#4493f8}\
.s{stroke:#f0f6fc}}";

impl Chart {
    /// The whole file.
    pub(super) fn svg(&self) -> String {
        let height = TOP + LINE * self.bars.len() as f64 + 10.0;
        let most = self.bars.iter().map(|bar| bar.largest).fold(f64::MIN_POSITIVE, f64::max);
        let scale = (WIDTH - LABELS - VALUES) / most;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\
             <title>{title}</title><style>{STYLE}</style>\
             <text class=\"t\" x=\"8\" y=\"22\">{title} <tspan class=\"u\">{unit}</tspan></text>\n",
            title = escaped(&self.title),
            unit = escaped(&self.unit),
        );
        for (n, bar) in self.bars.iter().enumerate() {
            let y = TOP + LINE * n as f64;
            let (middle, end) = (y + THICK / 2.0, LABELS + bar.median * scale);
            let (least, largest) = (LABELS + bar.least * scale, LABELS + bar.largest * scale);
            // Writing to a string cannot fail.
            let _ = writeln!(
                svg,
                "<text x=\"{at}\" y=\"{base}\" text-anchor=\"end\">{label}</text>\
                 <rect class=\"{class}\" x=\"{LABELS}\" y=\"{y}\" width=\"{width:.1}\" height=\"{THICK}\" rx=\"2\"/>\
                 <path class=\"s\" d=\"M{least:.1} {middle}H{largest:.1}\"/>\
                 <text x=\"{after:.1}\" y=\"{base}\">{value}</text>",
                at = LABELS - 8.0,
                base = y + 14.0,
                label = escaped(&bar.label),
                class = if bar.ours { "o" } else { "b" },
                width = (end - LABELS).max(1.0),
                after = largest.max(end) + 6.0,
                value = number(bar.median),
            );
        }
        svg.push_str("</svg>\n");
        svg
    }
}

/// Three digits that say something, and separators of thousands.
fn number(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.2}");
    }
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n != 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion() {
        let bar = |label: &str, median: f64, ours| Bar {
            label: label.to_owned(),
            median,
            least: median,
            largest: median,
            ours,
        };
        let chart = Chart {
            name: "a".to_owned(),
            title: "Rate & more".to_owned(),
            unit: "1/s".to_owned(),
            bars: vec![bar("ours", 4200.0, true), bar("<other>", 420.0, false)],
        };
        let svg = chart.svg();
        assert!(svg.contains("class=\"o\" x=\"190\" y=\"46\" width=\"420.0\""), "{svg}");
        assert!(svg.contains("class=\"b\" x=\"190\" y=\"76\" width=\"42.0\""), "{svg}");
        assert!(svg.contains("Rate &amp; more") && svg.contains("&lt;other>"), "{svg}");
        assert!(svg.contains("prefers-color-scheme:dark"), "{svg}");
    }

    #[test]
    fn numbers_are_short() {
        let texts = [0.123, 9.5, 42.42, 999.6, 1_234_567.0].map(number);
        assert_eq!(texts, ["0.12", "9.50", "42.4", "1,000", "1,234,567"]);
    }
}
