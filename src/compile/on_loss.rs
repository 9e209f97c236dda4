//! Computes the `onLoss` of a system after the system changed its risk level.
//!
//! A user who may use two levels could move a system to the milder level, and so keep pods that lose their clearance.
//! To prevent this, the stricter value of both levels applies for each field, until no pod of the system runs or
//! terminates. An edit of the level itself applies at once, because only governance can edit a level.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time,
    jiff::{SignedDuration, Timestamp},
};

use crate::api::{OnLoss, OnLossMode, PodCount, SystemClearance};

/// For this time after a system changed its level, the operator ignores a pod count of zero. The count can lack a pod
/// that started just before the change.
const SETTLE: SignedDuration = SignedDuration::from_secs(30);

/// The `onLoss` in the Clearance entry of a system, and the times that decide how long this `onLoss` applies.
#[derive(Debug, PartialEq, Eq)]
pub struct Terms {
    pub on_loss: OnLoss,
    /// The time at which the system changed its level. `None` if `on_loss` equals the `onLoss` of the current level.
    pub switched_at: Option<Time>,
    /// The time at which the operator must compute the `onLoss` again, even if no object changes.
    pub revisit: Option<Timestamp>,
}

/// Computes the `onLoss` of a system. The system names the risk level `name`, and `level` is the `onLoss` of this
/// level. `before` is the current Clearance entry of the system.
pub fn terms(
    before: Option<&SystemClearance>,
    (name, level): (&str, OnLoss),
    pods: Option<PodCount>,
    now: Timestamp,
) -> Terms {
    let of_level = |on_loss| Terms { on_loss, switched_at: None, revisit: None };
    let Some(before) = before else { return of_level(level) };
    let switched = before.risk_level.as_deref().is_some_and(|earlier| earlier != name);
    let since = if switched { Some(now) } else { before.switched_at.as_ref().map(|at| at.0) };
    let Some(since) = since else { return of_level(level) };
    let on_loss = stricter(&before.on_loss, &level);
    let (settled, none_left) = (since + SETTLE, pods.is_some_and(|p| p.running == 0 && p.terminating == 0));
    if on_loss == level || (now >= settled && none_left) {
        return of_level(level);
    }
    Terms { on_loss, switched_at: Some(Time(since)), revisit: Some(settled).filter(|at| now < *at) }
}

/// The stricter value of each field, or the value of `next` if neither is stricter.
fn stricter(before: &OnLoss, next: &OnLoss) -> OnLoss {
    let dead_man_switch = before.dead_man_switch || next.dead_man_switch;
    // A level with the mode `Audit` stops no pod, so its grace period does not count.
    let (mode, grace_period_seconds) = match (before.mode, next.mode) {
        (_, OnLossMode::Audit) => (before.mode, before.grace_period_seconds),
        (OnLossMode::Audit, _) => (next.mode, next.grace_period_seconds),
        _ => (next.mode, before.grace_period_seconds.min(next.grace_period_seconds)),
    };
    OnLoss { mode, grace_period_seconds, dead_man_switch }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVICT: OnLoss =
        OnLoss { mode: OnLossMode::Evict, grace_period_seconds: 20, dead_man_switch: false };
    const AUDIT: OnLoss = OnLoss { mode: OnLossMode::Audit, grace_period_seconds: 5, dead_man_switch: false };
    const SLOW: OnLoss =
        OnLoss { mode: OnLossMode::ScaleDown, grace_period_seconds: 3600, dead_man_switch: false };
    const DEAD: OnLoss = OnLoss { mode: OnLossMode::Evict, grace_period_seconds: 600, dead_man_switch: true };

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).expect("in range")
    }

    fn pods(running: u32, terminating: u32) -> PodCount {
        PodCount { running, terminating, ..PodCount::default() }
    }

    fn entry(level: &str, terms: Terms) -> SystemClearance {
        SystemClearance {
            risk_level: Some(level.to_owned()),
            on_loss: terms.on_loss,
            switched_at: terms.switched_at,
            ..SystemClearance::default()
        }
    }

    fn first(level: &str, on_loss: &OnLoss) -> SystemClearance {
        entry(level, terms(None, (level, on_loss.clone()), None, at(0)))
    }

    #[test]
    fn a_milder_level_takes_effect_when_no_pod_is_left() {
        let before = first("a", &EVICT);
        let switch = terms(Some(&before), ("b", AUDIT), Some(pods(0, 0)), at(100));
        assert_eq!(
            (&switch.on_loss, switch.revisit),
            (&EVICT, Some(at(130))),
            "the pod count can be older than the switch"
        );
        let before = entry("b", switch);
        for (second, pods, on_loss) in [
            (129, Some(pods(0, 0)), EVICT),
            (131, Some(pods(1, 0)), EVICT),
            (131, Some(pods(0, 1)), EVICT),
            (131, None, EVICT),
            (131, Some(pods(0, 0)), AUDIT),
        ] {
            let terms = terms(Some(&before), ("b", AUDIT), pods, at(second));
            assert_eq!(terms.on_loss, on_loss, "{second} {pods:?}");
            assert_eq!(terms.switched_at.is_some(), on_loss == EVICT);
        }
    }

    #[test]
    fn a_stricter_level_takes_effect_at_once() {
        for (before, next) in [(AUDIT, EVICT), (SLOW, EVICT), (EVICT, EVICT), (AUDIT, DEAD)] {
            let terms = terms(Some(&first("a", &before)), ("b", next.clone()), Some(pods(3, 0)), at(100));
            assert_eq!(terms, Terms { on_loss: next, switched_at: None, revisit: None });
        }
    }

    #[test]
    fn the_stricter_value_of_each_field_applies() {
        for (before, next, both) in [
            (EVICT, SLOW, OnLoss { mode: OnLossMode::ScaleDown, ..EVICT }),
            (DEAD, EVICT, OnLoss { dead_man_switch: true, ..EVICT }),
            (DEAD, AUDIT, DEAD),
        ] {
            let terms = terms(Some(&first("a", &before)), ("b", next), Some(pods(1, 0)), at(100));
            assert_eq!(terms.on_loss, both);
        }
    }

    #[test]
    fn a_detour_over_other_levels_does_not_relax_the_terms() {
        let mut before = first("mild", &AUDIT);
        for (second, level, on_loss) in
            [(1, "strict", EVICT), (2, "mild", AUDIT), (3, "slow", SLOW), (4, "mild", AUDIT)]
        {
            before = entry(level, terms(Some(&before), (level, on_loss), Some(pods(1, 0)), at(second)));
            assert_eq!(
                (before.on_loss.mode == OnLossMode::Audit, before.on_loss.grace_period_seconds),
                (false, 20)
            );
        }
    }

    #[test]
    fn an_edit_of_the_level_applies_at_once() {
        let terms = terms(Some(&first("a", &EVICT)), ("a", AUDIT), Some(pods(1, 0)), at(100));
        assert_eq!((terms.on_loss, terms.switched_at), (AUDIT, None));
    }

    #[test]
    fn an_entry_without_a_level_takes_the_terms_of_the_current_level() {
        let before = SystemClearance { on_loss: EVICT, ..SystemClearance::default() };
        assert_eq!(terms(Some(&before), ("b", AUDIT), Some(pods(1, 0)), at(100)).on_loss, AUDIT);
    }
}
