//! The report, as a table and as JSON. Next to each value of Assent, the report shows the baseline, because an absolute
//! time mainly depends on the machine. The table and the JSON call the baseline `floor`.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::stats::Spread;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Unit {
    #[serde(rename = "ms")]
    Milliseconds,
    #[serde(rename = "1/s")]
    PerSecond,
    #[serde(rename = "MiB")]
    Mebibytes,
    #[serde(rename = "KiB")]
    Kibibytes,
    #[serde(rename = "%")]
    Percent,
    #[serde(rename = "requests")]
    Requests,
    #[serde(rename = "pods")]
    Pods,
}

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::PerSecond => "/s",
            Self::Mebibytes => "MiB",
            Self::Kibibytes => "KiB",
            Self::Percent => "%",
            Self::Requests => "req",
            Self::Pods => "pods",
        }
    }
}

/// The goal of a measurement. The median of the rounds must meet the goal.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Goal {
    /// At most this many milliseconds more than the baseline.
    Over(f64),
    /// At most this multiple of the baseline.
    Times(f64),
    /// At least this share of the baseline.
    Share(f64),
    /// At most this value, whatever the baseline is.
    Within(f64),
}

/// One measurement. `assent` has the values with Assent, usually one for each round. `floor` has the values of the
/// baseline, or is empty if there is no baseline.
#[derive(Clone, Debug)]
pub struct Row {
    pub measure: String,
    pub unit: Unit,
    pub floor: Vec<f64>,
    pub assent: Vec<f64>,
    pub goal: Option<Goal>,
}

impl Row {
    /// Whether the median meets the goal. `None` if there is no goal.
    pub fn met(&self) -> Option<bool> {
        let median = Spread::of(&self.assent).median;
        self.goal.map(|goal| match goal {
            Goal::Over(added) => self.added().median <= added,
            Goal::Times(times) => self.ratio().is_some_and(|r| r.median <= times),
            Goal::Share(share) => self.ratio().is_some_and(|r| r.median >= share),
            Goal::Within(limit) => median <= limit,
        })
    }

    /// The result as a multiple of the goal. A multiple of at most 1 meets the goal.
    pub fn of_goal(&self) -> Option<Spread> {
        Some(match self.goal? {
            Goal::Over(added) => self.added().map(|is| is / added),
            Goal::Times(times) => self.ratio()?.map(|is| is / times),
            Goal::Share(share) => self.ratio()?.map(|is| share / is),
            // Zero has no multiples. The chart shows a result of zero as half of the goal.
            Goal::Within(0.0) => Spread::of(&self.assent).map(|is| is + 0.5),
            Goal::Within(limit) => Spread::of(&self.assent).map(|is| is / limit),
        })
    }

    fn pairs(&self) -> impl Iterator<Item = (f64, f64)> {
        self.floor.iter().copied().zip(self.assent.iter().copied())
    }

    /// The value with Assent divided by the floor, for each round. A slow machine affects both values, so the ratio
    /// varies less than each value.
    fn ratio(&self) -> Option<Spread> {
        let ratios: Vec<_> = self.pairs().filter(|(floor, _)| *floor > 0.0).map(|(f, a)| a / f).collect();
        (!ratios.is_empty()).then(|| Spread::of(&ratios))
    }

    fn added(&self) -> Spread {
        Spread::of(&self.pairs().map(|(floor, assent)| assent - floor).collect::<Vec<_>>())
    }

    fn cells(&self) -> [String; 6] {
        let spread = |of: &[f64]| {
            if of.is_empty() {
                "-".to_owned()
            } else {
                format!("{} {}", show(Spread::of(of)), self.unit.name())
            }
        };
        let ratio = self.ratio().map_or_else(
            || "-".to_owned(),
            |ratio| match self.goal {
                Some(Goal::Over(_)) => format!("{}x, {:+.2} ms", show(ratio), self.added().median),
                _ => format!("{}x", show(ratio)),
            },
        );
        let goal = self.goal.map_or_else(
            || "-".to_owned(),
            |goal| match goal {
                Goal::Over(added) => format!("<= +{added} ms"),
                Goal::Times(times) => format!("<= {times}x"),
                Goal::Share(share) => format!(">= {share}x"),
                Goal::Within(limit) => format!("<= {limit} {}", self.unit.name()),
            },
        );
        let met = self.met().map_or("-", |met| if met { "yes" } else { "NO" });
        [self.measure.clone(), spread(&self.floor), spread(&self.assent), ratio, goal, met.to_owned()]
    }

    fn json(&self) -> Value {
        json!({
            "measure": self.measure, "unit": self.unit, "goal": self.goal, "met": self.met(),
            "floor": { "spread": Spread::of(&self.floor), "rounds": self.floor },
            "assent": { "spread": Spread::of(&self.assent), "rounds": self.assent },
            "ratio": self.ratio(), "added": self.added(),
        })
    }
}

/// Formats a median and its range. A larger median has fewer decimals.
fn show(Spread { median, min, max }: Spread) -> String {
    let decimals = if median >= 100.0 {
        0
    } else if median >= 10.0 {
        1
    } else {
        2
    };
    format!("{median:.decimals$} ({min:.decimals$}..{max:.decimals$})")
}

pub fn table(rows: &[Row]) -> String {
    let head = ["measure", "floor", "Assent", "ratio", "goal", "met?"].map(str::to_owned);
    let lines: Vec<[String; 6]> = [head].into_iter().chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    lines.iter().fold(String::new(), |mut table, line| {
        let cells: Vec<_> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(table, "{}", cells.join("  ").trim_end());
        table
    })
}

pub fn json(machine: &Value, rows: &[Row]) -> Value {
    json!({ "machine": machine, "rows": rows.iter().map(Row::json).collect::<Vec<_>>() })
}

/// Reads the rows from the output of [`json`].
pub fn rows(figures: &Value) -> Result<Vec<Row>> {
    let row = |row: &Value| {
        let rounds = |of: &str| serde_json::from_value(row[of]["rounds"].clone());
        Ok(Row {
            measure: row["measure"].as_str().context("a row without a measure")?.to_owned(),
            unit: serde_json::from_value(row["unit"].clone())?,
            floor: rounds("floor")?,
            assent: rounds("assent")?,
            goal: serde_json::from_value(row["goal"].clone())?,
        })
    };
    figures["rows"].as_array().into_iter().flatten().map(row).collect()
}
