//! Reads from the API server who the current user is, which roles this user holds, and who else holds a role.
//!
//! ```text
//!  SelfSubjectReview ───────────────────────────────────► Approver, the current user
//!  SelfSubjectAccessReview ─────────────────────────────► roles that the current user holds
//!  ClusterRoles, ClusterRoleBindings, ApproverRoles ────► Holders of each role
//! ```

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::{
    api::{
        authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec},
        rbac::v1::{ClusterRole, ClusterRoleBinding, PolicyRule, Subject},
    },
    jiff::Timestamp,
};
use kube::{
    Api, Client,
    api::{ListParams, PostParams},
};

use crate::{
    api::{Approver, ApproverRole, GROUP},
    cli::error::{Error, Result, cause},
    watch::request,
};

/// The resource of `ApproverRole` objects. The name of a role is the name of its `ApproverRole`.
const ROLES: &str = "approverroles";

/// The RBAC verb of the permission to decide. A user holds a role if the user has this verb on the resource [`ROLES`]
/// with the name of the role.
const APPROVE: &str = "approve";

/// The user as whom the API server authenticates the requests of `client`.
pub async fn myself(client: &Client) -> Result<Approver> {
    request::myself(client).await.map_err(Error::api("ask the API server who you are"))
}

/// The subset of `roles` that the user holds.
pub async fn held<'a>(client: &Client, roles: impl IntoIterator<Item = &'a str>) -> Result<Vec<&'a str>> {
    let mut held = Vec::new();
    for role in roles {
        if holds(client, role).await? {
            held.push(role);
        }
    }
    Ok(held)
}

async fn holds(client: &Client, role: &str) -> Result<bool> {
    let review = SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(GROUP.to_owned()),
                resource: Some(ROLES.to_owned()),
                name: Some(role.to_owned()),
                verb: Some(APPROVE.to_owned()),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    };
    let api = Api::<SelfSubjectAccessReview>::all(client.clone());
    let answer = api.create(&PostParams::default(), &review).await;
    let answer = answer.map_err(Error::api(format!("ask the API server whether you hold role {role}")))?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// The holders of each role: users and groups with the RBAC permission, and the owners of the keys that the
/// `ApproverRole` lists. Permissions from authorizers other than RBAC are not included.
#[derive(Clone, Debug, Default)]
pub struct Holders {
    by_cluster_role: BTreeMap<String, (Vec<PolicyRule>, BTreeSet<String>)>,
    by_key: BTreeMap<String, BTreeSet<String>>,
}

impl Holders {
    /// Reads the cluster roles, their bindings and the approver roles. The error is a sentence without a full stop. It
    /// names the kinds that could not be read.
    pub async fn read(client: &Client) -> Result<Self, String> {
        let roles = Api::<ClusterRole>::all(client.clone());
        let bindings = Api::<ClusterRoleBinding>::all(client.clone());
        let keys = Api::<ApproverRole>::all(client.clone());
        let all = ListParams::default();
        let (roles, bindings, keys) =
            futures::join!(roles.list(&all), bindings.list(&all), request::list(&keys, &all));
        match (roles, bindings, keys) {
            (Ok(roles), Ok(bindings), Ok(keys)) => {
                Ok(Self::new(roles.items, bindings.items).with_keys(keys.items, Timestamp::now()))
            }
            (roles, bindings, keys) => Err(not_read([
                ("clusterroles", roles.err()),
                ("clusterrolebindings", bindings.err()),
                (ROLES, keys.err()),
            ])),
        }
    }

    fn new(roles: Vec<ClusterRole>, bindings: Vec<ClusterRoleBinding>) -> Self {
        let mut by_cluster_role: BTreeMap<String, (Vec<PolicyRule>, BTreeSet<String>)> = BTreeMap::new();
        for role in roles {
            let name = role.metadata.name.unwrap_or_default();
            by_cluster_role.entry(name).or_default().0 = role.rules.unwrap_or_default();
        }
        for binding in bindings {
            let subjects = binding.subjects.into_iter().flatten().filter(is_person);
            let subjects = subjects.map(|subject| format!("{} {}", subject.kind, subject.name));
            by_cluster_role.entry(binding.role_ref.name).or_default().1.extend(subjects);
        }
        Self { by_cluster_role, by_key: BTreeMap::new() }
    }

    /// Adds, for each role, the owners of the keys that are valid at `now`.
    fn with_keys(mut self, roles: Vec<ApproverRole>, now: Timestamp) -> Self {
        for role in roles {
            let valid = role.spec.keys.into_iter().filter(|key| key.is_valid_at(now));
            let people = valid.map(|key| format!("User {}", key.approver.user)).collect();
            self.by_key.insert(role.metadata.name.unwrap_or_default(), people);
        }
        self
    }

    /// The users and groups that hold `role`, such as `Group ethics-board`. The owner of a key appears as a user, such
    /// as `User erin`.
    pub fn of(&self, role: &str) -> Vec<String> {
        let granting =
            self.by_cluster_role.values().filter(|(rules, _)| rules.iter().any(|r| grants(r, role)));
        let by_rbac = granting.flat_map(|(_, subjects)| subjects);
        let subjects: BTreeSet<&String> =
            by_rbac.chain(self.by_key.get(role).into_iter().flatten()).collect();
        subjects.into_iter().cloned().collect()
    }
}

fn not_read(errors: [(&str, Option<kube::Error>); 3]) -> String {
    let (mut forbidden, mut failed) = (Vec::new(), Vec::new());
    for (kind, error) in errors {
        match error {
            None => {}
            Some(kube::Error::Api(status)) if status.is_forbidden() => forbidden.push(kind),
            Some(error) => failed.push(format!("cannot list {kind}: {}", cause(&error))),
        }
    }
    let forbidden = (!forbidden.is_empty()).then(|| format!("you may not list {}", forbidden.join(" and ")));
    forbidden.into_iter().chain(failed).collect::<Vec<_>>().join("; ")
}

fn grants(policy: &PolicyRule, role: &str) -> bool {
    let lists = |list: &[String], wanted: &str| list.iter().any(|entry| entry == wanted || entry == "*");
    let names = policy.resource_names.iter().flatten().collect::<Vec<_>>();
    lists(policy.api_groups.as_deref().unwrap_or_default(), GROUP)
        && lists(policy.resources.as_deref().unwrap_or_default(), ROLES)
        && lists(&policy.verbs, APPROVE)
        && (names.is_empty() || names.contains(&&role.to_owned()))
}

/// Whether the subject of a binding is a person or a group that can contain people. The API server refuses approvals by
/// service accounts and by users whose names begin with `system:`, even if a binding grants the role to them.
fn is_person(subject: &Subject) -> bool {
    match subject.kind.as_str() {
        "User" => !subject.name.starts_with("system:"),
        "Group" => !subject.name.starts_with("system:serviceaccounts"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;
    use crate::api::{Approver, ApproverKey, ApproverRoleSpec};

    fn role(name: &str, verbs: &[&str], resources: &[&str], names: &[&str]) -> ClusterRole {
        let strings = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let policy = PolicyRule {
            api_groups: Some(strings(&["assent.dev"])),
            resources: Some(strings(resources)),
            verbs: strings(verbs),
            resource_names: Some(strings(names)),
            ..PolicyRule::default()
        };
        let mut role = ClusterRole { rules: Some(vec![policy]), ..ClusterRole::default() };
        role.metadata.name = Some(name.to_owned());
        role
    }

    fn binding(role: &str, kind: &str, name: &str) -> ClusterRoleBinding {
        let mut binding = ClusterRoleBinding::default();
        role.clone_into(&mut binding.role_ref.name);
        binding.subjects =
            Some(vec![Subject { kind: kind.to_owned(), name: name.to_owned(), ..Subject::default() }]);
        binding
    }

    #[test]
    fn holders_are_bound_to_a_cluster_role_that_grants_the_role() {
        let holders = Holders::new(
            vec![
                role("ethics", &["approve"], &["approverroles"], &["ethics-board"]),
                role("all", &["*"], &["*"], &[]),
                role("viewer", &["get"], &["approverroles"], &[]),
            ],
            vec![
                binding("ethics", "Group", "ethics"),
                binding("ethics", "User", "erin"),
                binding("all", "Group", "admins"),
                binding("viewer", "Group", "everybody"),
                // The API server refuses approvals by these subjects.
                binding("all", "ServiceAccount", "kustomize-controller"),
                binding("all", "Group", "system:serviceaccounts:flux-system"),
                binding("all", "User", "system:kube-controller-manager"),
            ],
        );
        assert_eq!(holders.of("ethics-board"), ["Group admins", "Group ethics", "User erin"]);
        assert_eq!(holders.of("risk-officer"), ["Group admins"]);
    }

    #[test]
    fn unknown_holders_name_the_kinds_that_could_not_be_read() {
        let failed = |message, reason, code| {
            let status = kube::core::Status::failure(message, reason).with_code(code);
            Some(kube::Error::Api(status.boxed()))
        };
        let forbidden = || failed("refused", "Forbidden", 403);
        let busy = failed("the server is busy", "ServiceUnavailable", 503);
        let read = |roles, bindings, keys| {
            not_read([("clusterroles", roles), ("clusterrolebindings", bindings), (ROLES, keys)])
        };
        let wanted = "you may not list clusterroles and clusterrolebindings";
        assert_eq!(read(forbidden(), forbidden(), None), wanted);
        assert_eq!(read(None, None, forbidden()), "you may not list approverroles");
        let wanted = "you may not list clusterroles; cannot list approverroles: the server is busy";
        assert_eq!(read(forbidden(), None, busy), wanted);
    }

    #[test]
    fn owner_of_a_valid_key_holds_the_role() {
        let key = |user: &str, not_before: Option<&str>, not_after: Option<&str>| {
            let time = |text: &str| Time(text.parse().expect("a time"));
            ApproverKey {
                approver: Approver { user: user.to_owned(), ..Approver::default() },
                not_before: not_before.map(time),
                not_after: not_after.map(time),
                ..ApproverKey::default()
            }
        };
        let keys = vec![
            key("alice", None, None),
            key("early", Some("2026-06-02T00:00:00Z"), None),
            key("late", None, Some("2026-06-01T00:00:00Z")),
        ];
        let role =
            ApproverRole::new("risk-officer", ApproverRoleSpec { keys, ..ApproverRoleSpec::default() });
        let now = "2026-06-01T00:00:00Z".parse().expect("a time");
        let holders = Holders::default().with_keys(vec![role], now);
        assert_eq!(holders.of("risk-officer"), ["User alice"]);
        assert_eq!(holders.of("ethics-board"), [""; 0]);
    }
}
