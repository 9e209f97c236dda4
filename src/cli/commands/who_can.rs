//! Lists the people who may decide about a system, so that a person who waits for an approval knows whom to ask. The
//! list has only the roles that the risk level requires. A revocation also counts in other roles.
//!
//! The people who hold a role come from RBAC and from the keys in the `ApproverRole`. The list marks the owners and the
//! author of the system if their decision does not count because the risk level separates duties.

use std::collections::{BTreeMap, BTreeSet};

use kube::{Api, api::ListParams};
use serde::Serialize;

use crate::{
    api::{AISystem, Attribution, Decision, RiskLevel, RiskLevelSpec},
    cli::{
        connect::system_record::{read_level, read_system, unless_installed},
        connect::{
            rbac::{self, Holders},
            session::Session,
        },
        error::Result,
        render::{
            escape::visible,
            output::{self, Listing},
            page::{BAD, FAINT, GOOD, PLAIN},
            table::{Cell, table},
        },
    },
    policy,
    watch::request,
};

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    role: String,
    /// The number of different people who must decide. `None` if the command names no system. Also `None` for a rejection,
    /// a revocation and an attestation.
    #[serde(skip_serializing_if = "Option::is_none")]
    needed: Option<u32>,
    risk_levels: BTreeSet<String>,
    /// Whether the user who runs the command holds the role.
    you: bool,
    /// The holders of the role by RBAC or by a key. `None` if a read failed, for example without permission.
    holders: Option<Vec<String>>,
    /// The holders who do not count because they own the system.
    owners: Vec<String>,
    /// The holder who does not count, because this person last changed the system.
    #[serde(skip_serializing_if = "Option::is_none")]
    author: Option<String>,
}

pub async fn who_can(
    session: &Session,
    decision: Decision,
    system: Option<&str>,
    format: Listing,
) -> Result<()> {
    let required = match system {
        Some(name) => Requirements::about(session, name).await?,
        None => Requirements::about_all(session).await?,
    };
    let (rows, not_read) = rows(session, decision, &required).await?;
    let text = match format {
        Listing::Json => output::json(&rows)?,
        Listing::Yaml => output::yaml(&rows)?,
        Listing::Table | Listing::Wide if rows.is_empty() => {
            anstream::eprintln!("{}", required.no_role());
            return Ok(());
        }
        Listing::Table | Listing::Wide => rows_table(&rows, system.is_some(), format == Listing::Wide),
    };
    anstream::print!("{text}");
    if matches!(format, Listing::Table | Listing::Wide) {
        let notes = required.notes(rows.len(), decision, not_read.as_deref());
        for note in &notes {
            anstream::eprintln!("{}", visible(note));
        }
    }
    Ok(())
}

/// The risk levels that state the required roles, and the system if the command names one.
struct Requirements {
    system: Option<AISystem>,
    levels: BTreeMap<String, RiskLevelSpec>,
}

impl Requirements {
    async fn about(session: &Session, name: &str) -> Result<Self> {
        let system = read_system(session, name).await?;
        let level = read_level(&session.client, &system.spec.risk_level).await?;
        let level = level.map(|level| (system.spec.risk_level.clone(), level.spec));
        Ok(Self { system: Some(system), levels: level.into_iter().collect() })
    }

    async fn about_all(session: &Session) -> Result<Self> {
        let levels =
            request::list(&Api::<RiskLevel>::all(session.client.clone()), &ListParams::default()).await;
        let levels = levels.map_err(unless_installed("read the risklevels".to_owned()))?.items.into_iter();
        let levels = levels.map(|level| (level.metadata.name.unwrap_or_default(), level.spec)).collect();
        Ok(Self { system: None, levels })
    }

    fn no_role(&self) -> String {
        let Some(system) = &self.system else {
            return "No risk level requires an approval.".to_owned();
        };
        let level = &system.spec.risk_level;
        if self.levels.is_empty() {
            format!("There is no risk level {level}: create it before people approve.")
        } else {
            format!("Risk level {level} requires no approval.")
        }
    }

    /// The notes after the table. `not_read` says why the holders of the roles are not known. `None` if they are known.
    fn notes(&self, roles: usize, decision: Decision, not_read: Option<&str>) -> Vec<String> {
        let separates = roles > 1 && self.system.is_some() && self.separates_duties(decision);
        let one_role = "One person fills one role: each role needs a different person.";
        let one_role = separates.then(|| one_role.to_owned());
        let unknown = not_read.map(|why| format!("WHO is not known: {why}."));
        one_role.into_iter().chain(unknown).collect()
    }

    /// Whether a risk level excludes the owners and the author of the system from this decision, such as an approval.
    fn separates_duties(&self, decision: Decision) -> bool {
        decision.permits() && self.levels.values().any(|level| level.separation_of_duties)
    }

    /// The owners of the system whose decision does not count. Empty if owners may make this decision.
    fn owners(&self, decision: Decision) -> BTreeSet<String> {
        let owners = self.system.iter().flat_map(|system| &system.spec.owners);
        let owners = owners.filter(|_| self.separates_duties(decision));
        owners.map(|owner| format!("{:?} {}", owner.kind, owner.name)).collect()
    }

    /// The author of the system, if the decision of the author does not count. `None` if the author may make this
    /// decision, or if the author is not known.
    fn author(&self, decision: Decision) -> Option<String> {
        let author = Attribution::of(&self.system.as_ref()?.metadata).author?.to_string();
        self.separates_duties(decision).then(|| format!("User {author}"))
    }
}

/// Returns a row for each role, and the reason why the holders of the roles are not known. The reason is `None` if they
/// are known.
async fn rows(
    session: &Session,
    decision: Decision,
    required: &Requirements,
) -> Result<(Vec<Row>, Option<String>)> {
    let mut roles: BTreeMap<&str, (u32, BTreeSet<String>)> = BTreeMap::new();
    for (name, level) in &required.levels {
        let approvals = level.approvals.iter().map(|required| (&required.role, required.count));
        let assessments = level.assessments.iter().map(|required| (&required.role, 1));
        let resumes =
            policy::required_to_resume(level).iter().map(|required| (&required.role, required.count));
        let of_overrides = level.overrides.iter();
        let overrides = of_overrides.clone().flat_map(|rules| &rules.roles);
        let overrides = overrides.map(|required| (&required.role, required.count));
        let reviews = of_overrides.flat_map(|rules| &rules.review.roles).map(|role| (role, 1));
        let required: Vec<_> = match decision {
            Decision::Attest => assessments.collect(),
            Decision::Resume => resumes.collect(),
            Decision::Override => overrides.collect(),
            Decision::Review => reviews.collect(),
            Decision::Approve | Decision::Reject | Decision::Revoke => approvals.collect(),
        };
        for (role, count) in required {
            let role = roles.entry(role).or_default();
            role.0 = count;
            role.1.insert(name.clone());
        }
    }
    let held = rbac::held(&session.client, roles.keys().copied()).await?;
    let holders = Holders::read(&session.client).await;
    let owners = required.owners(decision);
    let author = required.author(decision);
    let row = |(role, (needed, risk_levels)): (&str, (u32, BTreeSet<String>))| {
        let holders = holders.as_ref().ok().map(|holders| holders.of(role));
        Row {
            you: held.contains(&role),
            needed: (required.system.is_some() && decision.permits()).then_some(needed),
            role: role.to_owned(),
            risk_levels,
            author: author.clone().filter(|author| holders.iter().flatten().any(|holder| holder == author)),
            owners: holders.iter().flatten().filter(|holder| owners.contains(*holder)).cloned().collect(),
            holders,
        }
    };
    let rows = roles.into_iter().map(row).collect();
    Ok((rows, holders.err()))
}

fn rows_table(rows: &[Row], of_a_system: bool, wide: bool) -> String {
    let needed = rows.iter().any(|row| row.needed.is_some());
    let mut header = vec![("ROLE", 0)];
    header.extend(needed.then_some(("NEEDED", u8::from(!wide))));
    header.extend([("YOU", 0), ("WHO", 0)]);
    header.extend((wide || !of_a_system).then_some(("RISK LEVELS", 0)));
    let cells = |row: &Row| {
        let mut cells = vec![Cell::new(PLAIN, &row.role)];
        cells.extend(row.needed.map(|needed| Cell::new(PLAIN, &needed.to_string())));
        cells.push(if row.you { Cell::new(GOOD, "yes") } else { Cell::new(FAINT, "no") });
        cells.push(row.who());
        if wide || !of_a_system {
            let levels: Vec<_> = row.risk_levels.iter().map(String::as_str).collect();
            cells.push(Cell::new(PLAIN, &levels.join(",")));
        }
        cells
    };
    table(&header, &rows.iter().map(cells).collect::<Vec<_>>())
}

impl Row {
    fn who(&self) -> Cell {
        let Some(holders) = &self.holders else { return Cell::new(FAINT, "not known") };
        let in_words = |holder: &String| {
            let why = if self.owners.contains(holder) {
                " (owner: does not count)"
            } else if self.author.as_ref() == Some(holder) {
                " (last changed the system: does not count)"
            } else {
                ""
            };
            format!("{holder}{why}")
        };
        match holders.iter().map(in_words).collect::<Vec<_>>().join(", ") {
            nobody if nobody.is_empty() => Cell::new(BAD, "nobody"),
            holders => Cell::new(PLAIN, &holders),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn note_says_why_the_holders_are_not_known() {
        let required = Requirements { system: None, levels: BTreeMap::new() };
        let notes = required.notes(1, Decision::Approve, Some("you may not list approverroles"));
        assert_eq!(notes, ["WHO is not known: you may not list approverroles."]);
        assert_eq!(required.notes(1, Decision::Approve, None), [""; 0]);
    }
}
