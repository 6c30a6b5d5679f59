//! What a bridge needs to know to connect, as forms and environment variables show it.

use serde::Serialize;

/// A bridge's manifest (spec, bridges 1.5).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// `@semilayer/bridge-<name>`, or a plugin's own name.
    pub package_name: String,
    /// The database's name for people.
    pub display_name: String,
    /// Slug of an icon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub icon: Option<String>,
    /// Whether `{url}` may stand for the fields.
    pub supports_url: bool,
    /// What such a URL looks like.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url_placeholder: Option<String>,
    /// The fields of a configuration.
    pub fields: Vec<Field>,
}

/// One field of a configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Field {
    /// Key in the configuration object.
    pub key: String,
    /// Label for people.
    pub label: String,
    /// What its values are.
    #[serde(rename = "type")]
    pub kind: FieldKind,
    /// Whether it must be set when no URL is.
    pub required: bool,
    /// Default, as text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default: Option<String>,
    /// Example.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub placeholder: Option<String>,
    /// One sentence of help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Where a form shows it.
    pub group: FieldGroup,
}

/// The type of a field's values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    /// Text.
    String,
    /// Text that forms hide.
    Password,
    /// A number.
    Number,
    /// A switch.
    Boolean,
}

/// Where a form shows a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldGroup {
    /// At once.
    #[default]
    Primary,
    /// On demand.
    Advanced,
}

impl Manifest {
    /// A manifest of the family `@semilayer/bridge-<slug>`; the slug is also its icon.
    pub fn new(slug: &str, display_name: &str) -> Self {
        Self {
            package_name: format!("@semilayer/bridge-{slug}"),
            display_name: display_name.to_owned(),
            icon: Some(slug.to_owned()),
            supports_url: false,
            url_placeholder: None,
            fields: Vec::new(),
        }
    }

    /// The same with a URL form.
    #[must_use]
    pub fn with_url(mut self, placeholder: &str) -> Self {
        self.supports_url = true;
        self.url_placeholder = Some(placeholder.to_owned());
        self
    }

    /// The same with one more field.
    #[must_use]
    pub fn with(mut self, field: Field) -> Self {
        self.fields.push(field);
        self
    }

    /// The field named `key`.
    pub fn field(&self, key: &str) -> Option<&Field> {
        self.fields.iter().find(|field| field.key == key)
    }
}

impl Field {
    /// An optional primary field.
    pub fn new(key: &str, label: &str, kind: FieldKind) -> Self {
        Self {
            key: key.to_owned(),
            label: label.to_owned(),
            kind,
            required: false,
            default: None,
            placeholder: None,
            hint: None,
            group: FieldGroup::Primary,
        }
    }

    /// The same, required.
    #[must_use]
    pub fn required(self) -> Self {
        Self { required: true, ..self }
    }

    /// The same, among the advanced ones.
    #[must_use]
    pub fn advanced(self) -> Self {
        Self { group: FieldGroup::Advanced, ..self }
    }

    /// The same with a default.
    #[must_use]
    pub fn default(self, default: &str) -> Self {
        Self { default: Some(default.to_owned()), ..self }
    }

    /// The same with help.
    #[must_use]
    pub fn hint(self, hint: &str) -> Self {
        Self { hint: Some(hint.to_owned()), ..self }
    }
}
