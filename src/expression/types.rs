//! The types of values in expressions. The types of the inputs come from the schemas of the custom resources.

use std::{collections::BTreeMap, fmt, sync::Arc};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

/// The type of a value in an expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// True or false.
    Bool,
    /// A 64-bit integer.
    Int,
    /// A 64-bit floating point number.
    Double,
    /// A text.
    String,
    /// An instant.
    Timestamp,
    /// A length of time.
    Duration,
    /// The literal `null`.
    Null,
    /// A list of elements of one type.
    List(Arc<Type>),
    /// A map from strings to values of one type.
    Map(Arc<Type>),
    /// An object with known fields. Each field can be absent.
    Object(Arc<BTreeMap<String, Type>>),
    /// A value of any type. The compilation cannot check the type of this value, so the evaluation checks it.
    Dyn,
}

impl Type {
    /// An object with `fields`.
    pub fn object<N: Into<String>>(fields: impl IntoIterator<Item = (N, Type)>) -> Self {
        Self::Object(Arc::new(fields.into_iter().map(|(name, of)| (name.into(), of)).collect()))
    }

    /// A list of elements of the type `element`.
    pub fn list(element: Type) -> Self {
        Self::List(Arc::new(element))
    }

    /// A map from strings to values of the type `value`.
    pub fn map(value: Type) -> Self {
        Self::Map(Arc::new(value))
    }

    /// The type of the values that `schema` allows.
    pub fn of_schema(schema: &JSONSchemaProps) -> Self {
        let is_set = |flag: Option<bool>| flag == Some(true);
        if is_set(schema.x_kubernetes_int_or_string) || is_set(schema.x_kubernetes_preserve_unknown_fields) {
            return Self::Dyn;
        }
        match (schema.type_.as_deref(), schema.format.as_deref()) {
            (Some("boolean"), _) => Self::Bool,
            (Some("integer"), _) => Self::Int,
            (Some("number"), _) => Self::Double,
            (Some("string"), Some("date-time")) => Self::Timestamp,
            (Some("string"), _) => Self::String,
            (Some("array"), _) => match &schema.items {
                Some(JSONSchemaPropsOrArray::Schema(element)) => Self::list(Self::of_schema(element)),
                _ => Self::list(Self::Dyn),
            },
            (Some("object"), _) => match (&schema.properties, &schema.additional_properties) {
                (Some(fields), _) if !fields.is_empty() => {
                    Self::object(fields.iter().map(|(name, field)| (name, Self::of_schema(field))))
                }
                (_, Some(JSONSchemaPropsOrBool::Schema(value))) => Self::map(Self::of_schema(value)),
                _ => Self::Dyn,
            },
            _ => Self::Dyn,
        }
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Double)
    }

    pub(super) fn is(&self, of: &Type) -> bool {
        *self == Self::Dyn || self == of
    }

    /// Whether values of both types can be equal.
    pub(super) fn is_comparable(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Dyn, _) | (_, Self::Dyn) => true,
            (Self::List(one), Self::List(two)) | (Self::Map(one), Self::Map(two)) => one.is_comparable(two),
            (one, two) => (one.is_number() && two.is_number()) || one == two,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Double => f.write_str("double"),
            Self::String => f.write_str("string"),
            Self::Timestamp => f.write_str("timestamp"),
            Self::Duration => f.write_str("duration"),
            Self::Null => f.write_str("null"),
            Self::List(element) => write!(f, "list of {element}"),
            Self::Map(value) => write!(f, "map of {value}"),
            Self::Object(_) => f.write_str("object"),
            Self::Dyn => f.write_str("any type"),
        }
    }
}

/// The names of the variables that an expression can read, with their types.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, Type>);

impl Environment {
    pub(super) fn get(&self, name: &str) -> Option<&Type> {
        self.0.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

impl<N: Into<String>> FromIterator<(N, Type)> for Environment {
    fn from_iter<I: IntoIterator<Item = (N, Type)>>(variables: I) -> Self {
        Self(variables.into_iter().map(|(name, of)| (name.into(), of)).collect())
    }
}
