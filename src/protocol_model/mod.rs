//! The protocol between people, operators and the API server, as a model small enough that every order in which
//! its steps can come is tried: what a test on a real control plane meets by luck, this meets always.
//!
//! ```text
//!  size ──► action: what can happen next ──► state ──► property: what must hold
//!             │          ▲                               │
//!             ├── code   │ compile and decide themselves │ fails without
//!             └── admission: the CEL policies, mirrored  ▼
//!                        └──────────────────────────── guard ──► docs/model.md
//! ```
//!
//! A promise about what "the API server saw" is judged by the cache that its validating stage had, and by its
//! clock: that cache may lag behind etcd. What slips in meanwhile is what I2 is for.

mod action;
mod admission;
mod code;
mod guard;
mod property;
mod size;
mod state;

use std::{collections::BTreeSet, fs, path::Path};

use stateright::{Checker, HasDiscoveries, Model};

use self::{
    guard::{FINDINGS, Finding, Guard},
    size::{BUDGETS, CLOCKS, END, HANDOVER, LAGS, PODS, Size},
};

/// The protocol, whole or without one of its guards.
#[derive(Clone, Copy, Debug)]
struct Protocol {
    size: Size,
    without: Option<Guard>,
}

impl Protocol {
    fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// Tries everything, or until `enough` is found; the shortest way to each example is found first.
    fn explore(self, enough: HasDiscoveries) -> impl Checker<Self> {
        let checker = self.checker().finish_when(enough).spawn_bfs().join();
        let without = self.without.map_or_else(String::new, |guard| format!(" without {guard:?}"));
        let (states, steps) = (checker.unique_state_count(), checker.state_count());
        println!("{}{without}: {states} states, {steps} steps", self.size.name);
        checker
    }
}

fn holds(size: Size, without: Option<Guard>) {
    Protocol { size, without }.explore(HasDiscoveries::AnyFailures).assert_properties();
}

#[test]
fn it_holds_while_everything_lags() {
    holds(LAGS, None);
}

#[test]
fn it_holds_when_an_approval_ends() {
    holds(END, None);
}

#[test]
fn it_holds_for_one_pod_after_another() {
    holds(PODS, None);
}

#[test]
fn it_holds_against_disruption_budgets() {
    holds(BUDGETS, None);
}

#[test]
fn it_holds_while_another_takes_over() {
    holds(HANDOVER, None);
}

#[test]
fn it_holds_with_clocks_apart() {
    holds(CLOCKS, None);
}

/// A model that holds whatever is taken away would say nothing.
#[test]
fn without_a_guard_it_fails() {
    for Finding { guard, size, without, .. } in FINDINGS {
        let Ok(property) = without else {
            holds(size, Some(guard));
            continue;
        };
        let protocol = Protocol { size, without: Some(guard) };
        let checker = protocol.explore(HasDiscoveries::AllOf(BTreeSet::from([property])));
        let path = checker.discovery(property);
        let path = path.unwrap_or_else(|| panic!("without {guard:?} it still holds: {property}"));
        println!("  fails: {property}\n  after: {:?}", path.into_actions());
    }
}

#[test]
fn every_guard_is_in_the_code_and_in_the_document() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap_or_else(|e| panic!("{path}: {e}"));
    let document = read("docs/model.md");
    for finding in FINDINGS {
        let (path, item, words) = finding.code;
        let code = read(path);
        assert!(code.contains(item) && code.contains(words), "{path} has no {item} with: {words}");
        assert!(document.contains(&finding.row()), "docs/model.md has no line\n{}", finding.row());
    }
}
