//! Lists incidents. Open incidents come before closed incidents. In both groups, the incident with the earliest next
//! deadline comes first.

use clap::Args;
use k8s_openapi::jiff::Timestamp;
use kube::{ResourceExt, api::ListParams};

use crate::{
    api::Incident,
    cli::{
        connect::{
            session::Session,
            system_record::{recorded_at, unless_installed},
        },
        error::Result,
        render::{
            output::{self, Listing},
            page::{BAD, GOOD, LOOK, PLAIN},
            table::{Cell, Head, table},
            time::relative,
        },
    },
    watch::request,
};

#[derive(Args, Clone, Debug)]
pub struct ListArgs {
    /// List the incidents of every namespace
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Listing,
}

pub async fn list(session: &Session, args: &ListArgs) -> Result<()> {
    let (api, place) = session.reach::<Incident>(args.all_namespaces);
    let listed = request::list(&api, &ListParams::default()).await;
    let mut incidents = listed.map_err(unless_installed(format!("read the incidents {place}")))?.items;
    incidents.sort_by_key(|incident| {
        let next = incident.status.as_ref().and_then(|status| status.next_deadline.as_ref());
        let next = next.map_or(Timestamp::MAX, |next| next.0);
        (is_true(incident, "Closed"), next, incident.namespace(), incident.name_any())
    });
    let text = match args.output {
        Listing::Json => output::json(&incidents)?,
        Listing::Yaml => output::yaml(&incidents)?,
        Listing::Table | Listing::Wide if incidents.is_empty() => {
            session.say_none_found("incidents", args.all_namespaces);
            return Ok(());
        }
        Listing::Table | Listing::Wide => {
            rows(&incidents, args.all_namespaces, args.output == Listing::Wide, Timestamp::now())
        }
    };
    anstream::print!("{text}");
    Ok(())
}

fn is_true(incident: &Incident, type_: &str) -> bool {
    incident.condition(type_).is_some_and(|condition| condition.status == *"True")
}

fn rows(incidents: &[Incident], everywhere: bool, wide: bool, now: Timestamp) -> String {
    let mut header: Vec<Head> = vec![("NAMESPACE", 0)];
    header.extend([
        ("NAME", 0),
        ("SYSTEM", 0),
        ("STATE", 0),
        ("HANDLED", 0),
        ("NEXT", 3),
        ("DEADLINE", 1),
        ("OPENED", 2),
    ]);
    header.extend(wide.then_some(("DESCRIPTION", 4)));
    let row = |incident: &Incident| {
        let mut row = vec![Cell::new(PLAIN, &incident.namespace().unwrap_or_default())];
        row.extend(cells(incident, now));
        row.extend(wide.then(|| Cell::new(PLAIN, &incident.spec.description)));
        row
    };
    let mut rows: Vec<_> = incidents.iter().map(row).collect();
    if !everywhere {
        header.remove(0);
        for row in &mut rows {
            row.remove(0);
        }
    }
    table(&header, &rows)
}

fn cells(incident: &Incident, now: Timestamp) -> [Cell; 7] {
    let reason = |type_: &str| incident.condition(type_).map_or("", |condition| &condition.reason);
    let state = if is_true(incident, "Closed") { "Closed" } else { reason("Holding") };
    let status = incident.status.as_ref();
    let escalation = status.and_then(|status| status.escalation.as_ref());
    let next = escalation
        .and_then(|escalation| Some((escalation.next_role.as_ref()?, escalation.next_at.as_ref()?)));
    let next = next.map(|(role, at)| format!("{role} {}", relative(at.0, now))).unwrap_or_default();
    let role = escalation.and_then(|escalation| escalation.role.as_ref());
    let handled = role.map_or_else(|| reason("Handled").to_owned(), |role| format!("Escalated to {role}"));
    let deadline = status.and_then(|status| status.next_deadline.as_ref()).map(|time| time.0);
    let late = deadline.is_some_and(|deadline| deadline <= now);
    let opened = recorded_at(incident).map(|at| relative(at, now)).unwrap_or_default();
    [
        Cell::new(PLAIN, &incident.name_any()),
        Cell::new(PLAIN, &incident.spec.system),
        Cell::new(if is_true(incident, "Holding") { BAD } else { PLAIN }, state),
        Cell::new(if is_true(incident, "Handled") { GOOD } else { LOOK }, &handled),
        Cell::new(PLAIN, &next),
        Cell::new(if late { BAD } else { PLAIN }, &deadline.map(|at| relative(at, now)).unwrap_or_default()),
        Cell::new(PLAIN, &opened),
    ]
}
