//! Every row of the table of control plane 2.6 is a test here, in the table's order.

use std::path::Path;
use std::sync::Arc;

use bridge_core::{BoxFuture, Bridge, BridgeError, Call, ConfigMistakes, Driver};
use protocol::{AggregateCapabilities, Capabilities, Field, FieldKind, Manifest};
use runtime::settings::Mapping;
use serde_json::{Value, json};

use super::*;
use crate::config::{ManagedBridges, SourceLimits};

/// A driver that is only asked for its manifest.
struct OnlyManifest(Manifest);

impl Driver for OnlyManifest {
    fn name(&self) -> &str {
        &self.0.package_name
    }

    fn manifest(&self) -> &Manifest {
        &self.0
    }

    fn capabilities(&self) -> &Capabilities {
        unreachable!("only the manifest is read")
    }

    fn aggregate_capabilities(&self) -> &AggregateCapabilities {
        unreachable!("only the manifest is read")
    }

    fn check(&self, _: &SourceConfig) -> Result<(), ConfigMistakes> {
        unreachable!("only the manifest is read")
    }

    fn connect<'a>(
        &'a self,
        _: &'a SourceConfig,
        _: &'a Call,
    ) -> BoxFuture<'a, Result<Box<dyn Bridge>, BridgeError>> {
        unreachable!("only the manifest is read")
    }
}

fn registry() -> Registry {
    let field = |key: &str, kind| Field::new(key, key, kind);
    let (text, secret) = (FieldKind::String, FieldKind::Password);
    let postgres = Manifest::new("postgres", "PostgreSQL")
        .with_url("postgresql://…")
        .with(field("host", text))
        .with(field("port", FieldKind::Number))
        .with(field("database", text))
        .with(field("user", text))
        .with(field("password", secret))
        .with(field("ssl", FieldKind::Boolean))
        .with(field("clientKey", secret))
        .with(field("sslrootcert", text).advanced())
        .with(field("pool.max", FieldKind::Number).advanced());
    let mongodb = Manifest::new("mongodb", "MongoDB").with_url("mongodb://…").with(field("database", text));
    let redis = Manifest::new("redis", "Redis")
        .with_url("redis://…")
        .with(field("host", text))
        .with(field("password", secret))
        .with(field("db", FieldKind::Number).advanced());
    let storage = Manifest::new("storage", "Storage")
        .with(field("s3Bucket", text))
        .with(field("key2", text))
        .with(field("accessKeyId", text))
        .with(field("keyFilename", text))
        .with(field("contactPoints", text));
    let project = Manifest::new("project", "Project").with(field("url", text)).with(field("key", secret));
    let bare = Manifest::new("bare", "No manifest");
    let drivers = [postgres, mongodb, redis, storage, project, bare];
    drivers
        .into_iter()
        .fold(Registry::empty(), |registry, manifest| registry.with(Arc::new(OnlyManifest(manifest))))
}

/// What a set of sources comes to with some variables.
struct Case {
    assigned: Vec<AssignedSource>,
    settings: SourceSettings,
    environment: Mapping,
}

impl Case {
    /// Runner-local sources, each `name` or `name:bridge`; a PostgreSQL one without a bridge.
    fn local(sources: &[&str]) -> Self {
        let source = |spelled: &&str| {
            let (name, bridge) = spelled.split_once(':').unwrap_or((spelled, "postgres"));
            AssignedSource {
                id: format!("id-{name}"),
                name: name.to_owned(),
                bridge: bridge.to_owned(),
                credentials_location: CredentialsLocation::RunnerLocal,
                config: None,
            }
        };
        Self {
            assigned: sources.iter().map(source).collect(),
            settings: SourceSettings::default(),
            environment: Mapping::default(),
        }
    }

    fn managed(mut self, name: &str, config: Value) -> Self {
        self.assigned.push(AssignedSource {
            id: format!("id-{name}"),
            name: name.to_owned(),
            bridge: "postgres".to_owned(),
            credentials_location: CredentialsLocation::Managed,
            config: Some(serde_json::from_value(config).unwrap()),
        });
        self
    }

    fn with(mut self, variable: &str, value: &str) -> Self {
        self.environment.insert(format!("SEMILAYER_SOURCE_{variable}"), value);
        self
    }

    fn strict(mut self) -> Self {
        self.settings.strict = true;
        self
    }

    fn prefix(mut self, source: &str, prefix: &str) -> Self {
        let limits = SourceLimits { env_prefix: Some(prefix.to_owned()), ..SourceLimits::default() };
        self.settings.by_name.insert(source.to_owned(), limits);
        self
    }

    fn resolve(&self) -> Resolved {
        super::resolve(&self.assigned, &registry(), &self.settings, &self.environment)
    }

    fn config(&self, source: &str) -> Value {
        match &self.resolve().sources[source] {
            Ok(config) => serde_json::to_value(config).unwrap(),
            Err(problem) => panic!("{problem}"),
        }
    }

    fn problem(&self, source: &str) -> String {
        self.resolve().sources[source].clone().map(|config| format!("{config:?}")).unwrap_err().to_string()
    }

    fn warnings(&self) -> String {
        self.resolve().warnings.join("\n")
    }
}

/// The value that a field of a bridge without manifest gets from a variable.
fn untyped(value: &str) -> Value {
    Case::local(&["main:bare"]).with("MAIN_FIELD", value).config("main")["field"].clone()
}

fn file(folder: &Path, name: &str, content: &str) -> String {
    use std::os::unix::fs::PermissionsExt;
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_hyphen_becomes_an_underscore() {
    let case = Case::local(&["main-db"]).with("MAIN_DB_URL", "postgresql://a");
    assert_eq!(case.config("main-db"), json!({"url": "postgresql://a"}));
}

#[test]
fn the_longest_name_owns_a_variable_and_the_shorter_one_does_not_see_it() {
    let case = Case::local(&["main", "main-db"])
        .with("MAIN_URL", "postgresql://one")
        .with("MAIN_DB_URL", "postgresql://two");
    assert_eq!(case.config("main"), json!({"url": "postgresql://one"}));
    assert_eq!(case.config("main-db"), json!({"url": "postgresql://two"}));
    assert_eq!(case.warnings(), "");
}

#[test]
fn a_variable_of_a_misspelt_source_is_told_with_the_name_that_it_must_have() {
    let case = Case::local(&["orders", "shop"])
        .with("ODERS_URL", "postgresql://hunter2")
        .with("SHOP_URL", "postgresql://b")
        .with("SHOPP_URL", "postgresql://c")
        .with("WAREHOUSE_URL", "postgresql://d")
        .with("IDLE_TIMEOUT", "5m")
        .with("CONNECT_TIMEOUT", "5s");
    assert_eq!(
        case.warnings(),
        "SEMILAYER_SOURCE_ODERS_URL belongs to no assigned source; for source orders it must be \
         SEMILAYER_SOURCE_ORDERS_URL"
    );
    // `shop` has its own variables, so that nothing of it can be missing.
    assert_eq!(case.resolve().strangers, ["SEMILAYER_SOURCE_SHOPP_URL", "SEMILAYER_SOURCE_WAREHOUSE_URL"]);
    assert!(case.problem("orders").contains("set SEMILAYER_SOURCE_ORDERS_URL"));
}

#[test]
fn a_managed_source_keeps_its_variables_from_a_shorter_name() {
    let case = Case::local(&["main"])
        .managed("main-db", json!({"host": "h"}))
        .with("MAIN_HOST", "h")
        .with("MAIN_DB_PASSWORD", "other");
    assert_eq!(case.config("main"), json!({"host": "h"}));
}

#[test]
fn a_leftover_of_a_longer_name_is_dropped_with_a_warning() {
    let case = Case::local(&["main"]).with("MAIN_HOST", "h").with("MAIN_DB_URL", "postgresql://hunter2");
    assert_eq!(case.config("main"), json!({"host": "h"}));
    let warnings = case.warnings();
    assert!(warnings.contains("SEMILAYER_SOURCE_MAIN_DB_URL is ignored"), "{warnings}");
    assert!(!warnings.contains("hunter2"), "{warnings}");
}

#[test]
fn a_leftover_of_a_longer_name_keeps_a_strict_source_from_starting() {
    let case =
        Case::local(&["main"]).with("MAIN_HOST", "h").with("MAIN_DB_URL", "postgresql://hunter2").strict();
    let problem = case.problem("main");
    assert!(problem.contains("no field takes SEMILAYER_SOURCE_MAIN_DB_URL"), "{problem}");
}

#[test]
fn a_key_that_equals_the_rest_of_a_longer_name_belongs_to_the_shorter_one() {
    let case = Case::local(&["main:redis", "main-db"])
        .with("MAIN_HOST", "h")
        .with("MAIN_DB", "0")
        .with("MAIN_DB_HOST", "other");
    assert_eq!(case.config("main"), json!({"host": "h", "db": 0}));
    assert_eq!(case.config("main-db"), json!({"host": "other"}));
}

#[test]
fn a_name_that_ends_like_a_key_is_told_apart() {
    let case = Case::local(&["main", "main-url"])
        .with("MAIN_URL", "postgresql://main")
        .with("MAIN_URL_URL", "postgresql://main-url");
    assert_eq!(case.config("main"), json!({"url": "postgresql://main"}));
    assert_eq!(case.config("main-url"), json!({"url": "postgresql://main-url"}));
}

#[test]
fn names_that_look_the_same_are_all_refused_with_their_names() {
    let case = Case::local(&["main-db", "main_db", "MAIN-DB", "other"])
        .with("MAIN_DB_URL", "postgresql://a")
        .with("OTHER_HOST", "h");
    for name in ["main-db", "main_db", "MAIN-DB"] {
        let problem = case.problem(name);
        assert!(problem.contains("MAIN-DB, main-db, main_db"), "{problem}");
    }
    assert_eq!(case.config("other"), json!({"host": "h"}));
}

#[test]
fn names_that_look_the_same_give_nothing_to_a_shorter_name() {
    let case =
        Case::local(&["main:bare", "main-db", "main_db"]).with("MAIN_HOST", "h").with("MAIN_DB_URL", "x");
    assert_eq!(case.config("main"), json!({"host": "h"}));
}

#[test]
fn a_prefix_in_the_config_file_resolves_names_that_look_the_same() {
    let case = Case::local(&["main-db", "main_db"])
        .prefix("main_db", "SECOND")
        .with("MAIN_DB_HOST", "one")
        .with("SECOND_HOST", "two");
    assert_eq!(case.config("main-db"), json!({"host": "one"}));
    assert_eq!(case.config("main_db"), json!({"host": "two"}));
}

#[test]
fn a_camel_case_name_is_capitals_without_a_break() {
    let case = Case::local(&["mainDb"]).with("MAINDB_HOST", "h");
    assert_eq!(case.config("mainDb"), json!({"host": "h"}));
    assert_eq!(case.warnings(), "");
}

#[test]
fn a_camel_case_name_is_found_under_the_other_spelling_with_a_warning() {
    let case = Case::local(&["mainDb", "main"]).with("MAIN_DB_HOST", "h").with("MAIN_HOST", "other");
    assert_eq!(case.config("mainDb"), json!({"host": "h"}));
    assert_eq!(case.config("main"), json!({"host": "other"}));
    let warnings = case.warnings();
    assert!(warnings.contains("SEMILAYER_SOURCE_MAIN_DB_") && warnings.contains("MAINDB_"), "{warnings}");
}

#[test]
fn the_other_spelling_never_takes_the_variables_of_another_source() {
    let case = Case::local(&["mainDb", "main-db"]).with("MAIN_DB_HOST", "h");
    assert_eq!(case.config("main-db"), json!({"host": "h"}));
    assert!(case.problem("mainDb").contains("SEMILAYER_SOURCE_MAINDB_URL"));
    // Nor do two names share it.
    let case = Case::local(&["mainDb", "MainDB-"]).with("MAIN_DB_HOST", "h");
    assert!(case.resolve().sources.values().all(Result::is_err));
}

#[test]
fn names_that_no_shell_can_set_need_a_prefix() {
    for name in ["sales.eu", "sales eu", "größe", "straße", ""] {
        let problem = Case::local(&[name]).with("SALES_EU_HOST", "h").problem(name);
        assert!(problem.contains("env_prefix"), "{problem}");
    }
    let case = Case::local(&["sales.eu"]).prefix("sales.eu", "SALES_EU").with("SALES_EU_HOST", "h");
    assert_eq!(case.config("sales.eu"), json!({"host": "h"}));
}

#[test]
fn a_name_with_a_double_hyphen_keeps_both() {
    let case = Case::local(&["a--b"]).with("A__B_HOST", "h");
    assert_eq!(case.config("a--b"), json!({"host": "h"}));
}

#[test]
fn ownership_is_worked_out_anew_when_assignments_change() {
    let before = Case::local(&["main:bare"]).with("MAIN_HOST", "one").with("MAIN_DB_HOST", "two");
    assert_eq!(before.config("main"), json!({"host": "one", "dbHost": "two"}));
    let after = Case { assigned: Case::local(&["main:bare", "main-db:bare"]).assigned, ..before };
    assert_eq!(after.config("main"), json!({"host": "one"}));
    assert_eq!(after.config("main-db"), json!({"host": "two"}));
}

#[test]
fn an_empty_value_counts_as_not_set() {
    let case = Case::local(&["main"]).with("MAIN_HOST", "").with("MAIN_URL", "");
    assert!(case.problem("main").contains("set SEMILAYER_SOURCE_MAIN_URL"));
    let case = Case::local(&["main"]).with("MAIN_HOST", "h").with("MAIN_PORT", "");
    assert_eq!(case.config("main"), json!({"host": "h"}));
}

#[test]
fn a_value_is_never_trimmed_and_a_file_loses_one_newline() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "password", " two\n\n");
    let case = Case::local(&["main"]).with("MAIN_HOST", " h ").with("MAIN_PASSWORD_FILE", &path);
    assert_eq!(case.config("main"), json!({"host": " h ", "password": " two\n"}));
    assert_eq!(case.warnings(), "");
}

#[test]
fn a_url_with_blanks_around_it_is_kept_with_a_warning() {
    let case = Case::local(&["main"]).with("MAIN_URL", "postgresql://h ");
    assert_eq!(case.config("main"), json!({"url": "postgresql://h "}));
    assert!(case.warnings().contains("SEMILAYER_SOURCE_MAIN_URL begins or ends with a blank"));
}

#[test]
fn digits_are_an_integer() {
    assert_eq!(untyped("9000"), json!(9000));
    let case = Case::local(&["main"]).with("MAIN_HOST", "h").with("MAIN_PORT", "9000");
    assert_eq!(case.config("main")["port"], json!(9000));
}

#[test]
fn zero_is_an_integer() {
    assert_eq!(untyped("0"), json!(0));
}

#[test]
fn leading_zeros_stay() {
    assert_eq!(untyped("007"), json!("007"));
    assert_eq!(untyped("00"), json!("00"));
}

#[test]
fn an_integer_that_javascript_would_round_stays_text() {
    assert_eq!(untyped("9007199254740991"), json!(9_007_199_254_740_991_u64));
    assert_eq!(untyped("9007199254740992"), json!("9007199254740992"));
    assert_eq!(untyped("9007199254740993"), json!("9007199254740993"));
}

#[test]
fn digits_beyond_every_integer_stay_text() {
    let digits = "123456789012345678901234567890";
    assert_eq!(untyped(digits), json!(digits));
    assert_eq!(untyped("9223372036854775808"), json!("9223372036854775808"));
}

#[test]
fn signs_fractions_exponents_and_other_bases_stay_text() {
    for text in ["-5", "+5", "3.14", "1e3", "0x1F", "1_000", " 5", "5 "] {
        assert_eq!(untyped(text), json!(text));
    }
}

#[test]
fn digits_of_other_scripts_stay_text() {
    assert_eq!(untyped("٣"), json!("٣"));
    assert_eq!(untyped("１２"), json!("１２"));
}

#[test]
fn a_password_of_digits_stays_text_where_the_manifest_says_so() {
    let case = Case::local(&["main"])
        .with("MAIN_HOST", "10")
        .with("MAIN_PASSWORD", "123456")
        .with("MAIN_USER", "007");
    assert_eq!(case.config("main"), json!({"host": "10", "password": "123456", "user": "007"}));
}

#[test]
fn a_url_of_digits_is_text() {
    let case = Case::local(&["main"]).with("MAIN_URL", "12345");
    assert_eq!(case.config("main"), json!({"url": "12345"}));
    let bare = Case::local(&["main:bare"]).with("MAIN_URL", "12345");
    assert_eq!(bare.config("main"), json!({"url": "12345"}));
}

#[test]
fn a_switch_is_read_as_one_or_refused() {
    for (text, value) in [
        ("true", true),
        ("1", true),
        ("yes", true),
        ("false", false),
        ("0", false),
        ("no", false),
        ("FALSE", false),
    ] {
        let case = Case::local(&["main"]).with("MAIN_HOST", "h").with("MAIN_SSL", text);
        assert_eq!(case.config("main")["ssl"], json!(value), "{text}");
    }
    let problem = Case::local(&["main"]).with("MAIN_HOST", "h").with("MAIN_SSL", "hunter2").problem("main");
    assert!(problem.contains("SEMILAYER_SOURCE_MAIN_SSL: expected true or false"), "{problem}");
    assert!(!problem.contains("hunter2"));
}

#[test]
fn aliases_set_the_field_that_the_bridge_has() {
    let case = Case::local(&["main"])
        .with("MAIN_USERNAME", "u")
        .with("MAIN_PASS", "p")
        .with("MAIN_DB", "d")
        .with("MAIN_HOST", "h");
    assert_eq!(case.config("main"), json!({"user": "u", "password": "p", "database": "d", "host": "h"}));
    let case = Case::local(&["main"]).with("MAIN_CONNECTION_STRING", "postgresql://h");
    assert_eq!(case.config("main"), json!({"url": "postgresql://h"}));
    let case = Case::local(&["main:redis"]).with("MAIN_DATABASE", "3").with("MAIN_HOST", "h");
    assert_eq!(case.config("main"), json!({"db": 3, "host": "h"}));
}

#[test]
fn a_fields_own_name_wins_over_its_alias() {
    let case =
        Case::local(&["main"]).with("MAIN_HOST", "h").with("MAIN_USERNAME", "alias").with("MAIN_USER", "own");
    assert_eq!(case.config("main"), json!({"host": "h", "user": "own"}));
    assert!(case.warnings().contains("SEMILAYER_SOURCE_MAIN_USERNAME is ignored"));
}

#[test]
fn a_url_wins_whole_and_the_keys_beside_it_are_warned_of() {
    let case = Case::local(&["main"])
        .with("MAIN_URL", "postgresql://one:pw@h/db")
        .with("MAIN_USER", "two")
        .with("MAIN_PASSWORD", "hunter2");
    assert_eq!(case.config("main"), json!({"url": "postgresql://one:pw@h/db"}));
    let beside_redis = Case::local(&["main:redis"]).with("MAIN_URL", "redis://h").with("MAIN_DB", "3");
    assert_eq!(beside_redis.config("main"), json!({"url": "redis://h"}));
    let warnings = case.warnings();
    assert!(warnings.contains("SEMILAYER_SOURCE_MAIN_USER is ignored"), "{warnings}");
    assert!(warnings.contains("SEMILAYER_SOURCE_MAIN_PASSWORD is ignored"), "{warnings}");
    assert!(!warnings.contains("hunter2"));
}

#[test]
fn what_completes_a_url_counts_beside_it() {
    let case = Case::local(&["main"])
        .with("MAIN_URL", "postgresql://one:pw@h/db")
        .with("MAIN_SSLROOTCERT", "/ca.pem")
        .with("MAIN_POOL_MAX", "5");
    let url = "postgresql://one:pw@h/db";
    assert_eq!(case.config("main"), json!({"url": url, "sslrootcert": "/ca.pem", "pool": {"max": 5}}));
    assert_eq!(case.warnings(), "");

    // A bridge that needs a URL in any case has nothing that could stand for it.
    let case = Case::local(&["main:mongodb"]).with("MAIN_URL", "mongodb://h").with("MAIN_DATABASE", "shop");
    assert_eq!(case.config("main"), json!({"url": "mongodb://h", "database": "shop"}));
}

#[test]
fn a_field_that_is_called_url_is_a_field_like_others() {
    let case = Case::local(&["main:project"]).with("MAIN_URL", "https://p").with("MAIN_KEY", "k");
    assert_eq!(case.config("main"), json!({"url": "https://p", "key": "k"}));
}

#[test]
fn keys_with_digits_find_their_fields() {
    let case = Case::local(&["main:storage"])
        .with("MAIN_S3_BUCKET", "b")
        .with("MAIN_KEY_2", "k")
        .with("MAIN_ACCESS_KEY_ID", "id");
    assert_eq!(case.config("main"), json!({"s3Bucket": "b", "key2": "k", "accessKeyId": "id"}));
}

#[test]
fn a_field_inside_an_object_is_set_inside_it() {
    let case = Case::local(&["main"]).with("MAIN_HOST", "h").with("MAIN_POOL_MAX", "5");
    assert_eq!(case.config("main"), json!({"host": "h", "pool": {"max": 5}}));
}

#[test]
fn double_and_trailing_underscores_name_no_field() {
    for key in ["A__B", "HOST_", "_HOST", "host", "HÖST"] {
        let case = Case::local(&["main:bare"]).with("MAIN_USER", "u").with(&format!("MAIN_{key}"), "x");
        assert_eq!(case.config("main"), json!({"user": "u"}), "{key}");
        assert!(case.warnings().contains(key), "{key}");
    }
}

#[test]
fn a_list_is_text_for_the_bridge_to_read() {
    let case = Case::local(&["main:storage"]).with("MAIN_CONTACT_POINTS", "a,b");
    assert_eq!(case.config("main"), json!({"contactPoints": "a,b"}));
}

#[test]
fn a_key_in_one_line_gets_its_line_breaks_back() {
    let (line, lines) =
        ("-----BEGIN KEY-----\\nMII\\n-----END KEY-----\\n", "-----BEGIN KEY-----\nMII\n-----END KEY-----\n");
    for value in [line, lines] {
        let case = Case::local(&["main"]).with("MAIN_HOST", "h").with("MAIN_CLIENT_KEY", value);
        assert_eq!(case.config("main")["clientKey"], json!(lines));
    }
    // Only in fields for keys, and only where it is one.
    let case = Case::local(&["main"]).with("MAIN_CLIENT_KEY", "a\\nb").with("MAIN_PASSWORD", line);
    assert_eq!(case.config("main"), json!({"clientKey": "a\\nb", "password": line}));
}

#[test]
fn a_value_may_be_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "password", "from file\n");
    let case = Case::local(&["main"]).with("MAIN_HOST", "h").with("MAIN_PASSWORD_FILE", &path);
    assert_eq!(case.config("main"), json!({"host": "h", "password": "from file"}));
}

#[test]
fn a_value_beside_its_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "password", "from file\n");
    let case = Case::local(&["main"]).with("MAIN_PASSWORD", "hunter2").with("MAIN_PASSWORD_FILE", &path);
    let problem = case.problem("main");
    assert!(
        problem.contains("SEMILAYER_SOURCE_MAIN_PASSWORD and SEMILAYER_SOURCE_MAIN_PASSWORD_FILE"),
        "{problem}"
    );
    assert!(!problem.contains("hunter2") && !problem.contains("from file"), "{problem}");
}

#[test]
fn a_file_that_cannot_be_read_is_refused_by_its_variable() {
    let case = Case::local(&["main"]).with("MAIN_PASSWORD_FILE", "/nonexistent/hunter2");
    let problem = case.problem("main");
    assert!(
        problem.contains("SEMILAYER_SOURCE_MAIN_PASSWORD_FILE") && !problem.contains("hunter2"),
        "{problem}"
    );
}

#[test]
fn a_file_that_others_can_read_is_warned_of() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let path = file(folder.path(), "password", "pw");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let case = Case::local(&["main"]).with("MAIN_PASSWORD_FILE", &path);
    assert!(case.warnings().contains("SEMILAYER_SOURCE_MAIN_PASSWORD_FILE"), "{}", case.warnings());
}

#[test]
fn a_field_that_is_called_like_a_file_is_a_field() {
    let case = Case::local(&["main:storage"]).with("MAIN_KEY_FILENAME", "/keys/one.json");
    assert_eq!(case.config("main"), json!({"keyFilename": "/keys/one.json"}));
}

#[test]
fn a_source_with_nothing_set_says_what_to_set() {
    let case = Case::local(&["main", "other:storage", "good"]).with("GOOD_HOST", "h");
    assert!(case.problem("main").contains("set SEMILAYER_SOURCE_MAIN_URL"));
    assert!(case.problem("other").contains("set SEMILAYER_SOURCE_OTHER_S3_BUCKET"));
    assert_eq!(case.config("good"), json!({"host": "h"}));
}

#[test]
fn variables_of_a_managed_source_are_ignored_with_a_warning() {
    let case = Case::local(&[]).managed("main", json!({"host": "theirs"})).with("MAIN_HOST", "ours");
    assert_eq!(case.config("main"), json!({"host": "theirs"}));
    assert!(case.warnings().contains("the variables of source main are ignored"), "{}", case.warnings());
}

#[test]
fn settings_from_the_gateway_never_reach_a_local_source() {
    let mut case = Case::local(&["main", "bare"]).with("MAIN_HOST", "ours");
    for source in &mut case.assigned {
        source.config = Some(serde_json::from_value(json!({"host": "evil", "password": "evil"})).unwrap());
    }
    assert_eq!(case.config("main"), json!({"host": "ours"}));
    assert!(case.problem("bare").contains("set SEMILAYER_SOURCE_BARE_URL"));
    assert_eq!(case.resolve().overruled, ["main", "bare"]);
}

#[test]
fn a_name_that_is_assigned_twice_is_refused_whatever_the_order() {
    let evil = json!({"host": "evil"});
    let mut cases = [
        Case::local(&["main"]).managed("main", evil.clone()).with("MAIN_HOST", "ours"),
        Case::local(&["main"]).managed("main", evil).with("MAIN_HOST", "ours"),
        Case::local(&["main", "main"]).with("MAIN_HOST", "ours"),
    ];
    cases[1].assigned.reverse();
    for case in cases {
        let problem = case.problem("main");
        assert!(problem.contains("several sources of this name were assigned"), "{problem}");
    }
}

#[test]
fn a_gateway_sends_settings_only_for_the_bridges_that_the_operator_names() {
    let mut case = Case::local(&["own"]).managed("main", json!({"host": "theirs"})).with("OWN_HOST", "ours");
    case.settings.managed = ManagedBridges::Only(vec!["sqlite".to_owned()]);
    let problem = case.problem("main");
    assert!(problem.contains("SEMILAYER_MANAGED_BRIDGES") && !problem.contains("theirs"), "{problem}");
    assert_eq!(case.config("own"), json!({"host": "ours"}));
    case.settings.managed = ManagedBridges::Only(vec!["postgres".to_owned()]);
    assert_eq!(case.config("main"), json!({"host": "theirs"}));
}

#[test]
fn a_managed_source_without_settings_is_not_configured() {
    let mut case = Case::local(&[]).managed("main", json!({}));
    case.assigned[0].config = None;
    assert!(case.problem("main").contains("the gateway sent no settings"));
}

#[test]
fn an_unknown_bridge_is_told_with_those_there_are() {
    let problem = Case::local(&["main:oracle"]).problem("main");
    assert!(problem.contains("oracle") && problem.contains("@semilayer/bridge-postgres"), "{problem}");
}

#[test]
fn every_published_field_name_is_found_from_its_variable() {
    let fields = [
        "host",
        "port",
        "database",
        "user",
        "password",
        "ssl",
        "ipFamily",
        "connectionTimeoutMillis",
        "username",
        "path",
        "authToken",
        "accountId",
        "databaseId",
        "apiToken",
        "server",
        "encrypt",
        "trustServerCertificate",
        "connectString",
        "schema",
        "poolMax",
        "url",
        "key",
        "projectId",
        "serviceAccountEmail",
        "serviceAccountKey",
        "keyFilename",
        "db",
        "token",
        "region",
        "accessKeyId",
        "secretAccessKey",
        "sessionToken",
        "endpoint",
        "node",
        "apiKey",
        "rejectUnauthorized",
        "contactPoints",
        "localDataCenter",
        "keyspace",
        "protocol",
        "dataset",
        "account",
        "warehouse",
    ];
    for name in fields {
        let variable = fields::upper(name);
        let config = Case::local(&["main:bare"]).with(&format!("MAIN_{variable}"), "x").config("main");
        assert_eq!(config, json!({name: "x"}), "{variable}");
    }
}

mod scrubbing {
    use super::*;

    fn scrub(config: Value, text: &str) -> String {
        let manifest = Manifest::new("postgres", "PostgreSQL")
            .with(Field::new("schema", "Schema", FieldKind::String).default("public"));
        scrubber(&serde_json::from_value(config).unwrap(), &manifest).scrub(text).into_owned()
    }

    #[test]
    fn every_text_of_the_settings_is_removed_wherever_it_stands() {
        let config = json!({"host": "db.internal", "user": "app_user", "password": "hunter2", "tls": {"ca": "pem-text"}});
        assert_eq!(
            scrub(config, "app_user@db.internal: password hunter2, ca pem-text, port 5432"),
            "[redacted]@[redacted]: password [redacted], ca [redacted], port 5432"
        );
    }

    #[test]
    fn the_parts_of_a_url_are_removed_too() {
        let config = json!({"url": "postgresql://app_user:hunter%232@db.internal:5432/orders?sslmode=require&opt=secret-opt"});
        assert_eq!(
            scrub(config, "app_user hunter#2 db.internal orders secret-opt sslmode require"),
            "[redacted] [redacted] [redacted] [redacted] [redacted] sslmode require"
        );
    }

    #[test]
    fn a_port_is_removed_where_it_stands_as_one() {
        let port = json!({"port": 39587});
        assert_eq!(scrub(port, "to 10.0.0.1:39587, 39587 rows"), "to 10.0.0.1[redacted], 39587 rows");
        let url = json!({"url": "postgresql://db.internal:39587/orders"});
        assert_eq!(scrub(url, "db.internal:39587"), "[redacted][redacted]");
    }

    #[test]
    fn urls_that_only_their_driver_understands_are_taken_apart_too() {
        for (url, password) in [
            ("postgres://app_user:hunter2@one.internal:5001,two.internal:5002/orders", "hunter2"),
            ("postgres://app_user:hunter2#x@one.internal,two.internal/orders", "hunter2#x"),
            ("postgres://app_user:hunter2 x@one.internal,[two.internal]:9/orders", "hunter2 x"),
            (
                "postgres:///orders?user=app_user&password=hunter2&host=one.internal&hostaddr=two.internal",
                "hunter2",
            ),
        ] {
            let text = format!("app_user {password} one.internal two.internal orders");
            let said = scrub(json!({"url": url}), &text);
            assert_eq!(said, "[redacted] [redacted] [redacted] [redacted] [redacted]", "{url}");
        }
        assert_eq!(
            scrub(json!({"url": "postgres://%2Fsrv%2Fpg/d"}), "no /srv/pg there"),
            "no [redacted] there"
        );
        assert_eq!(
            scrub(json!({"url": "https://DB.Internal/x"}), "db.internal, DB.Internal"),
            "[redacted], [redacted]"
        );
    }

    #[test]
    fn a_password_of_digits_is_removed_whatever_its_form() {
        for config in [
            json!({"password": 8_675_309}),
            json!({"auth": {"pass": 8_675_309}}),
            json!({"url": "postgres://u:8675309@h/d"}),
            json!({"url": "postgres://h/d?password=8675309"}),
        ] {
            assert_eq!(
                scrub(config.clone(), "login with 8675309 failed"),
                "login with [redacted] failed",
                "{config}"
            );
        }
    }

    #[test]
    fn a_default_and_plain_numbers_and_switches_stay() {
        let config = json!({"schema": "public", "port": 5432, "ssl": true, "url": "redis://h/0?tls=true"});
        assert_eq!(scrub(config, "public 5432 true 0"), "public 5432 true 0");
    }
}
