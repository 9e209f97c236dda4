//! Counts the people who fill each role, at most as many as the risk level requires. With separation of duties, one
//! person fills only one role.

use std::collections::{BTreeMap, BTreeSet};

use crate::api::RequiredApproval;

/// The number of people who fill each role, in the order of `required`. `approvers` lists the people who decided in
/// each role.
///
/// With `separate`, one person fills only one role, and the sum of the returned numbers is the largest possible. The
/// algorithm is a maximum bipartite matching by augmenting paths. It fills the roles in the order of their names, so
/// the order of `required` does not change the result.
pub fn assign_roles(
    required: &[RequiredApproval],
    approvers: &BTreeMap<&str, BTreeSet<&str>>,
    separate: bool,
) -> Vec<usize> {
    let no_people = BTreeSet::new();
    let people = |role: &RequiredApproval| approvers.get(role.role.as_str()).unwrap_or(&no_people);
    if !separate {
        return required.iter().map(|role| people(role).len().min(role.count as usize)).collect();
    }
    let all_people: BTreeSet<&str> = required.iter().flat_map(people).copied().collect();
    let number: BTreeMap<&str, usize> = all_people.iter().copied().zip(0..).collect();
    let candidates = required.iter().map(|role| people(role).iter().map(|person| number[person]).collect());
    let candidates: Vec<Vec<usize>> = candidates.collect();
    let mut assignment = Assignment { candidates: &candidates, role_of: vec![None; all_people.len()] };
    let by_name: BTreeSet<(&str, usize)> = required.iter().map(|r| r.role.as_str()).zip(0..).collect();
    for (_, role) in by_name {
        for _ in 0..required[role].count {
            if !assignment.fill(role, &mut vec![false; required.len()]) {
                break;
            }
        }
    }
    let filled = |role| assignment.role_of.iter().filter(|of| **of == Some(role)).count();
    (0..required.len()).map(filled).collect()
}

/// An assignment of people to roles. Each person and each role is a number.
struct Assignment<'a> {
    /// The people who can fill each role, by the number of the role.
    candidates: &'a [Vec<usize>],
    /// The role of each person, by the number of the person. `None` if the person fills no role.
    role_of: Vec<Option<usize>>,
}

impl Assignment<'_> {
    /// Assigns one more person to `role`, and returns whether this was possible. If necessary, moves other people to
    /// other roles that they can fill. `tried` marks the roles that this search already tried.
    fn fill(&mut self, role: usize, tried: &mut [bool]) -> bool {
        if std::mem::replace(&mut tried[role], true) {
            return false;
        }
        let candidates = &self.candidates[role];
        let free = candidates.iter().find(|person| self.role_of[**person].is_none());
        let moved =
            || candidates.iter().find(|p| self.role_of[**p].is_some_and(|other| self.fill(other, tried)));
        let person = free.or_else(moved);
        if let Some(person) = person {
            self.role_of[*person] = Some(role);
        }
        person.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(roles: &[(&str, u32)]) -> Vec<RequiredApproval> {
        roles
            .iter()
            .map(|(role, count)| RequiredApproval { role: (*role).to_owned(), count: *count })
            .collect()
    }

    #[test]
    fn one_person_fills_only_one_place_with_separated_duties() {
        let required = places(&[("ethics", 1), ("risk", 1)]);
        let only_carol =
            BTreeMap::from([("ethics", BTreeSet::from(["carol"])), ("risk", BTreeSet::from(["carol"]))]);
        assert_eq!(assign_roles(&required, &only_carol, true), [1, 0]);
        assert_eq!(assign_roles(&required, &only_carol, false), [1, 1]);
    }

    #[test]
    fn people_move_to_the_role_that_needs_them() {
        let required = places(&[("ethics", 1), ("risk", 1)]);
        let approvers = BTreeMap::from([
            ("ethics", BTreeSet::from(["alice", "carol"])),
            ("risk", BTreeSet::from(["alice"])),
        ]);
        assert_eq!(assign_roles(&required, &approvers, true), [1, 1]);
    }

    #[test]
    fn two_places_need_two_people() {
        let approvers = BTreeMap::from([("risk", BTreeSet::from(["alice"]))]);
        assert_eq!(assign_roles(&places(&[("risk", 2)]), &approvers, true), [1]);
        assert_eq!(assign_roles(&places(&[("risk", 2)]), &approvers, false), [1]);
    }
}
