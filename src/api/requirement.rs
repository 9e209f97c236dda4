//! The requirements that governance writes as expressions.

use kube::KubeSchema;
use serde::{Deserialize, Serialize};

use super::Control;

/// A requirement as an expression about a version, its system, its assessments and its namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Requirement {
    /// Name of the requirement in this level. Messages contain this name. Example: `images-from-our-registry`.
    #[schemars(length(min = 1, max = 63), regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"))]
    pub name: String,

    /// Expression in the Common Expression Language (CEL). A version may run only if the result is true. The variables
    /// are `system`, `version`, `assessments` (only signed ones) and `namespaceObject`. The variables `networkPolicies`
    /// and `claims` exist if the chart value `expressionVariables` lists them. Test an expression with `kubectl assent
    /// check`.
    /// Example: `version.spec.runtime.containers.all(c, c.image.startsWith("registry.example.org/"))`.
    #[schemars(length(min = 1, max = 4096))]
    pub expression: String,

    /// Message for people whose version does not meet the requirement.
    /// Example: `all images must come from registry.example.org`.
    #[schemars(length(min = 1, max = 1024))]
    pub message: String,

    /// Controls of frameworks that the requirement helps to implement, as information for auditors. Default: none.
    /// Example: `[{ framework: ISO/IEC 42001, id: A.6.2.5 }]`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    pub controls: Vec<Control>,
}
