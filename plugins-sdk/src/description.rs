//! What a plugin says of itself before it is connected to anything.

use crate::bindings::semilayer::bridge::types as wit;

pub use wit::{Aggregates, Capabilities, FieldType, Provides};

/// What a plugin is: its name, its settings, and what its own jobs understand.
///
/// ```
/// use semilayer_plugin::{Description, Field};
///
/// Description::new("@acme/bridge-things", "Things")
///     .version(env!("CARGO_PKG_VERSION"))
///     .field(Field::text("baseUrl", "Base URL").required().endpoint().hint("Where the service is."))
///     .field(Field::password("apiKey", "API key"));
/// ```
#[derive(Debug, Clone)]
pub struct Description {
    version: String,
    manifest: wit::Manifest,
    capabilities: Capabilities,
    aggregates: Aggregates,
}

/// A setting of a source. A form asks for it, and an environment variable may hold it.
#[derive(Debug, Clone)]
pub struct Field(wit::Field);

impl Description {
    /// A plugin by its package name, unique among bridges (`@acme/bridge-things`), and its name for people.
    pub fn new(package_name: &str, display_name: &str) -> Self {
        let manifest = wit::Manifest {
            package_name: package_name.to_owned(),
            display_name: display_name.to_owned(),
            icon: None,
            url_placeholder: None,
            fields: Vec::new(),
        };
        let capabilities = Capabilities::empty();
        Self { version: "0.0.0".to_owned(), manifest, capabilities, aggregates: Aggregates::empty() }
    }

    /// The plugin's own version, usually `env!("CARGO_PKG_VERSION")`.
    #[must_use]
    pub fn version(self, version: &str) -> Self {
        Self { version: version.to_owned(), ..self }
    }

    /// Slug of an icon.
    #[must_use]
    pub fn icon(mut self, slug: &str) -> Self {
        self.manifest.icon = Some(slug.to_owned());
        self
    }

    /// A setting `url` may stand for the fields, and looks like this. The plugin may connect to it.
    #[must_use]
    pub fn url(mut self, placeholder: &str) -> Self {
        self.manifest.url_placeholder = Some(placeholder.to_owned());
        self
    }

    /// The same with one more setting.
    #[must_use]
    pub fn field(mut self, field: Field) -> Self {
        self.manifest.fields.push(field.0);
        self
    }

    /// What the plugin's own `query`, `count` and `read` understand.
    #[must_use]
    pub fn capabilities(self, capabilities: Capabilities) -> Self {
        Self { capabilities, ..self }
    }

    /// What the plugin's own `aggregate` can do.
    #[must_use]
    pub fn aggregates(self, aggregates: Aggregates) -> Self {
        Self { aggregates, ..self }
    }

    pub(crate) fn providing(self, provides: Provides) -> wit::Description {
        wit::Description {
            version: self.version,
            sdk: concat!("rust ", env!("CARGO_PKG_VERSION")).to_owned(),
            manifest: self.manifest,
            provides,
            capabilities: self.capabilities,
            aggregates: self.aggregates,
        }
    }
}

impl Field {
    /// Text. `key` is in lowerCamelCase.
    pub fn text(key: &str, label: &str) -> Self {
        Self::new(key, label, FieldType::String)
    }

    /// Text that forms hide and logs never show.
    pub fn password(key: &str, label: &str) -> Self {
        Self::new(key, label, FieldType::Password)
    }

    /// A number.
    pub fn number(key: &str, label: &str) -> Self {
        Self::new(key, label, FieldType::Number)
    }

    /// A switch.
    pub fn boolean(key: &str, label: &str) -> Self {
        Self::new(key, label, FieldType::Boolean)
    }

    fn new(key: &str, label: &str, kind: FieldType) -> Self {
        Self(wit::Field {
            key: key.to_owned(),
            label: label.to_owned(),
            type_: kind,
            required: false,
            default: None,
            placeholder: None,
            hint: None,
            advanced: false,
            endpoint: false,
        })
    }

    /// It must be set when no `url` is.
    #[must_use]
    pub fn required(mut self) -> Self {
        self.0.required = true;
        self
    }

    /// What holds when it is not set: for forms to show. The plugin itself sees no value then.
    #[must_use]
    pub fn default(mut self, value: &str) -> Self {
        self.0.default = Some(value.to_owned());
        self
    }

    /// An example that forms show.
    #[must_use]
    pub fn placeholder(mut self, example: &str) -> Self {
        self.0.placeholder = Some(example.to_owned());
        self
    }

    /// One sentence of help.
    #[must_use]
    pub fn hint(mut self, hint: &str) -> Self {
        self.0.hint = Some(hint.to_owned());
        self
    }

    /// Forms show it on demand only.
    #[must_use]
    pub fn advanced(mut self) -> Self {
        self.0.advanced = true;
        self
    }

    /// Its value is a URL, or a host with an optional `:port`, that the plugin may connect to. A host without a port takes
    /// that of the setting `port`, or any when there is no such setting.
    #[must_use]
    pub fn endpoint(mut self) -> Self {
        self.0.endpoint = true;
        self
    }
}

/// A setting that does not make sense.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Its key.
    pub field: String,
    /// What would have been right; stands after "expected".
    pub expected: String,
}

impl Mistake {
    /// A mistake in the setting `field`.
    pub fn new(field: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { field: field.into(), expected: expected.into() }
    }
}

impl From<Mistake> for wit::Mistake {
    fn from(mistake: Mistake) -> Self {
        Self { field: mistake.field, expected: mistake.expected }
    }
}
