//! Which faults a violation takes: the seed is run again with fewer of them, and what is left when it is seen
//! again is tried with fewer still. Time is not repeated with the seed, so a violation may not be seen again.

use std::time::Duration;

use anyhow::Result;

use crate::Arena;
use crate::plan::Plan;

/// Runs `plan` up to `tries` times more, and prints the fewest faults with which it ended in a violation.
pub async fn shrink(arena: &mut Arena, seed: u64, plan: &Plan, length: Duration, tries: u32) -> Result<()> {
    let mut least = plan.clone();
    let (mut parts, mut part) = (2, 0);
    for _ in 0..tries {
        if least.faults.len() < 2 || parts > least.faults.len() {
            break;
        }
        let fewer = without(&least, part, parts);
        let (verdict, _) = arena.play(seed, &fewer, length).await?;
        let again = !verdict.violations.is_empty();
        println!(
            "  {} of {} faults: {}",
            fewer.faults.len(),
            plan.faults.len(),
            if again { "seen again" } else { "not seen" }
        );
        if again {
            (least, parts, part) = (fewer, 2, 0);
        } else if part + 1 < parts {
            part += 1;
        } else {
            (parts, part) = (parts * 2, 0);
        }
    }
    if tries > 0 {
        println!("  the fewest faults that were seen to do it:");
        least.faults.iter().for_each(|fault| println!("    {fault}"));
    }
    Ok(())
}

/// The plan without the `part`-th of `parts` of its faults.
fn without(plan: &Plan, part: usize, parts: usize) -> Plan {
    let size = plan.faults.len().div_ceil(parts);
    let faults = plan.faults.iter().enumerate().filter(|(n, _)| n / size != part).map(|(_, fault)| *fault);
    Plan { skew: plan.skew, faults: faults.collect() }
}
