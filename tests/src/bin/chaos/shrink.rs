//! Finds the faults that cause a violation: runs the seed again and again, with fewer faults.
//!
//! The seed does not determine the timing of the processes. So a violation may not occur again.

use std::time::Duration;

use anyhow::Result;

use crate::TestBed;
use crate::plan::Plan;

/// Runs `plan` up to `tries` more times, and prints the smallest set of faults that still caused a violation.
pub async fn shrink(bed: &mut TestBed, seed: u64, plan: &Plan, length: Duration, tries: u32) -> Result<()> {
    let mut fewest = plan.clone();
    let (mut parts, mut part) = (2, 0);
    for _ in 0..tries {
        if fewest.faults.len() < 2 || parts > fewest.faults.len() {
            break;
        }
        let fewer = without(&fewest, part, parts);
        let (verdict, _) = bed.play(seed, &fewer, length).await?;
        let again = !verdict.violations.is_empty();
        println!(
            "  {} of {} faults: {}",
            fewer.faults.len(),
            plan.faults.len(),
            if again { "violation" } else { "no violation" }
        );
        if again {
            (fewest, parts, part) = (fewer, 2, 0);
        } else if part + 1 < parts {
            part += 1;
        } else {
            (parts, part) = (parts * 2, 0);
        }
    }
    if tries > 0 {
        println!("  the smallest set of faults with a violation:");
        fewest.faults.iter().for_each(|fault| println!("    {fault}"));
    }
    Ok(())
}

/// The plan without part number `part`, if its faults are split into `parts` parts.
fn without(plan: &Plan, part: usize, parts: usize) -> Plan {
    let size = plan.faults.len().div_ceil(parts);
    let faults = plan.faults.iter().enumerate().filter(|(n, _)| n / size != part).map(|(_, fault)| *fault);
    Plan { skew: plan.skew, faults: faults.collect() }
}
