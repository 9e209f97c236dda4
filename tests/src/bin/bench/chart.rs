//! Draws each measurement as a multiple of its goal, on a logarithmic scale.
//!
//! ```text
//!  measure   ▆▆▆▆▆▆▆▆▆▆━━   │    the median as a bar, the range of the rounds as a line
//!            ¼    ½      goal  2x
//! ```

use std::fmt::Write as _;

use crate::report::Row;

const LABELS: f64 = 620.0;
const WIDTH: f64 = 1180.0;
const LINE: f64 = 22.0;
const TOP: f64 = 54.0;

/// The number of powers of two on each side of the goal. The scale goes from an eighth of the goal to eight times the
/// goal.
const POWERS: f64 = 3.0;

/// The colours are readable on white and on black.
const STYLE: &str = "<style>
  text { font: 13px system-ui, sans-serif; fill: #57606a }
  .title { font-weight: 600 } .end { text-anchor: end } .middle { text-anchor: middle }
  .yes { fill: #2da44e } .no { fill: #d1642f } .spread { stroke: #8c959f; stroke-width: 2 }
  .grid { stroke: #8c959f; stroke-opacity: .35 } .goal { stroke: #8c959f; stroke-width: 2 }
  @media (prefers-color-scheme: dark) { text { fill: #b1bac4 } }
</style>";

/// The rows that have a goal, as an SVG.
pub fn svg(rows: &[Row]) -> String {
    let rows: Vec<_> = rows.iter().filter_map(|row| Some((row, row.of_goal()?))).collect();
    #[allow(clippy::cast_precision_loss, reason = "rows are few")]
    let height = TOP + LINE * rows.len() as f64 + 12.0;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" role=\"img\">\n\
         <title>Each measurement as a multiple of its goal</title>\n{STYLE}\n\
         <text class=\"title\" x=\"8\" y=\"20\">Each measurement as a multiple of its goal. A bar that ends left of 1 meets the goal</text>\n"
    );
    for power in -3..=3 {
        let (at, factor) = (x(2_f64.powi(power)), label(power));
        let class = if power == 0 { "goal" } else { "grid" };
        let _ = writeln!(
            svg,
            "<line class=\"{class}\" x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{TOP}\" y2=\"{height}\"/>\
             <text class=\"middle\" x=\"{at:.1}\" y=\"{:.1}\">{factor}</text>",
            TOP - 8.0
        );
    }
    let mut y = TOP;
    for (row, of_goal) in rows {
        let class = if of_goal.median <= 1.0 { "yes" } else { "no" };
        let (start, end) = (x(0.0), x(of_goal.median));
        let (bar, middle) = (y + 5.0, y + LINE / 2.0);
        let _ = writeln!(
            svg,
            "<text class=\"end\" x=\"{:.1}\" y=\"{:.1}\">{}</text>\
             <rect class=\"{class}\" x=\"{start:.1}\" y=\"{bar:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>\
             <line class=\"spread\" x1=\"{:.1}\" x2=\"{:.1}\" y1=\"{middle:.1}\" y2=\"{middle:.1}\"/>",
            LABELS - 12.0,
            middle + 4.5,
            escaped(&row.measure),
            end - start,
            LINE - 10.0,
            x(of_goal.min),
            x(of_goal.max),
        );
        y += LINE;
    }
    svg.push_str("</svg>\n");
    svg
}

/// The x coordinate of a multiple of the goal. A value outside the scale is drawn at the end of the scale.
fn x(of_goal: f64) -> f64 {
    let power = of_goal.max(f64::MIN_POSITIVE).log2().clamp(-POWERS, POWERS);
    LABELS + (WIDTH - LABELS - 30.0) * (power + POWERS) / (2.0 * POWERS)
}

const fn label(power: i32) -> &'static str {
    match power {
        -3 => "⅛",
        -2 => "¼",
        -1 => "½",
        0 => "goal",
        1 => "2x",
        2 => "4x",
        _ => "8x",
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
