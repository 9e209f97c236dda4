//! A model of the protocol between people, operators and the API server. The model checker tries the steps of
//! the protocol in every order. A test on a real control plane reaches some of these orders only by chance.
//!
//! ```text
//!  size ──► action: possible steps ──► state ──► property: the conditions
//!             │          ▲                         │
//!             ├── code: compile and decide         │ fails without
//!             └── admission: copy of the CEL rules ▼
//!                        └────────────────────── guard ──► docs/model.md
//! ```
//!
//! The module `promise` describes the properties. Property I1 says: a pod is bound only if the API server found it
//! cleared. The API server reads the Clearance from a cache, which can lag behind etcd. So it can admit a pod after the
//! loss of its clearance. Property I2 says that this pod is soon gone.

mod action;
mod admission;
mod code;
mod guard;
mod promise;
mod property;
mod size;
mod state;

use std::{collections::BTreeSet, fs, path::Path};

use stateright::{Checker, HasDiscoveries, Model};

use self::{
    guard::{FINDINGS, Finding, Guard},
    size::{BUDGETS, CLOCKS, END, HANDOVER, HOLDS, LAGS, OVERRIDES, PODS, Size},
};

/// The protocol, complete or without one of its guards.
#[derive(Clone, Copy, Debug)]
struct Protocol {
    size: Size,
    without: Option<Guard>,
}

impl Protocol {
    fn has(&self, guard: Guard) -> bool {
        self.without != Some(guard)
    }

    /// Explores the states until all are visited or the condition `enough` is met. The search is
    /// breadth-first, so it finds a shortest path to each failure of a property.
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
fn the_protocol_holds_while_all_caches_lag() {
    holds(LAGS, None);
}

#[test]
fn the_protocol_holds_when_an_approval_ends() {
    holds(END, None);
}

#[test]
fn the_protocol_holds_for_successive_pods_of_one_name() {
    holds(PODS, None);
}

#[test]
fn the_protocol_holds_with_disruption_budgets() {
    holds(BUDGETS, None);
}

#[test]
fn the_protocol_holds_while_another_operator_takes_over() {
    holds(HANDOVER, None);
}

#[test]
fn the_protocol_holds_with_different_clocks() {
    holds(CLOCKS, None);
}

#[test]
fn the_protocol_holds_with_holds_and_decisions_to_resume() {
    holds(HOLDS, None);
}

#[test]
fn the_protocol_holds_with_overrides() {
    holds(OVERRIDES, None);
}

/// A model that also held without its guards would prove nothing. So without a guard, the property in
/// [`Finding::without`] must fail. If `without` names no property, the model must still hold.
#[test]
fn the_protocol_fails_without_each_guard() {
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
