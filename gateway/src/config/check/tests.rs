use super::*;
use crate::config::{Format, parse};
use crate::lens::{FieldKind, Grant, Transform};

fn checked(json: &str) -> Result<Config, ConfigMistakes> {
    check(&parse(json, Format::Json).unwrap())
}

/// Every mistake as `path: message`.
fn mistakes(json: &str) -> Vec<String> {
    let mistakes = checked(json).unwrap_err();
    mistakes.0.iter().map(|mistake| format!("{}: {}", mistake.path, mistake.message)).collect()
}

/// The mistakes of a lens called `l` that has whatever `more` says.
fn lens_mistakes(more: &str) -> Vec<String> {
    mistakes(&format!(r#"{{"lenses":{{"l":{{"source":"s","table":"t"{more}}}}}}}"#))
}

#[test]
fn a_whole_config_is_read() {
    let config = checked(
        r#"{"stack":"shop","auth":{"jwks":"x"},
            "sources":{"main":{"bridge":"postgres","timeout":5000,"url":"postgres://x"},
                       "edge":{"bridge":"@semilayer/bridge-sqlite","credentialsLocation":"runner-local"}},
            "lenses":{"products":{"source":"main","table":"public.products","primaryKey":"id",
                "fields":{"id":{"type":"number"},
                          "title":{"type":"text","from":"product_title","transform":["trim",{"type":"lowercase"}],"searchable":{"weight":2}},
                          "state":{"type":"enum","values":["new","old"],"array":true}},
                "changeTrackingColumn":"title","grants":{"query":"public"},"relations":{},"syncInterval":"5m"}}}"#,
    )
    .unwrap();
    let sources = config.sources.unwrap();
    assert_eq!(sources[0].bridge, "@semilayer/bridge-postgres");
    assert_eq!(sources[0].timeout_ms, Some(5000));
    assert_eq!(sources[0].config.as_ref().unwrap().names().collect::<Vec<_>>(), ["url"]);
    assert_eq!(sources[1].location, Some(CredentialsLocation::RunnerLocal));
    assert_eq!(sources[1].config, None);
    let lens = config.lenses.unwrap().remove(0).into_lens(crate::model::SourceId::new());
    assert_eq!(lens.primary_key, ["id"]);
    assert_eq!(lens.grants.query, Some(Grant::Public));
    assert_eq!(lens.change_tracking_column.as_deref(), Some("product_title"));
    let title = lens.field("title").unwrap();
    assert_eq!((title.column.as_str(), title.kind), ("product_title", FieldKind::Text));
    assert_eq!(title.transforms, [Transform::Trim, Transform::Lowercase]);
    assert_eq!(lens.fields[2].values, ["new", "old"]);
    let warned: Vec<&str> = config.warnings.iter().map(|warning| warning.path.as_str()).collect();
    assert_eq!(warned, ["auth", "lenses.products.relations", "lenses.products.syncInterval"]);
}

#[test]
fn every_mistake_is_named_at_once() {
    let found = mistakes(
        r#"{"lensez":{},"sources":{"a b":{"bridge":"Nope!"},"c":{"timeout":0}},
            "lenses":{"l":{"tabel":"t","fields":{"id":{"type":"int"}}}}}"#,
    );
    let expected = [
        "lensez: is not known; did you mean lenses?",
        r#"sources."a b": expected a name of"#,
        r#"sources."a b".bridge: expected a bridge"#,
        "sources.c.bridge: is required",
        "sources.c.timeout: expected milliseconds",
        "lenses.l.tabel: is not known; did you mean table?",
        "lenses.l.source: is required",
        "lenses.l.table: is required",
        "lenses.l.fields.id.type: expected one of text, number",
    ];
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(expected), "{found}");
    }
}

#[test]
fn grants_that_cannot_be_enforced_are_refused() {
    let fields = r#","fields":{"id":{"type":"number"}}"#;
    for grant in
        [r#""authenticated""#, r#""staff""#, "true", "null", r#"{"authenticated":true}"#, r#"["public"]"#]
    {
        let found = lens_mistakes(&format!(r#"{fields},"grants":{{"query":{grant}}}"#));
        assert!(
            found[0].starts_with("lenses.l.grants.query: this version enforces \"public\" only"),
            "{found:?}"
        );
    }
    for other in ["search", "similar", "stream", "feed", "analyze"] {
        let found = lens_mistakes(&format!(r#"{fields},"rules":{{"{other}":"public"}}"#));
        assert!(
            found[0]
                .starts_with(&format!("lenses.l.rules.{other}: this version enforces grants for query only"))
        );
    }
    let found = lens_mistakes(&format!(r#"{fields},"grants":{{"qeury":"public"}}"#));
    assert_eq!(found, ["lenses.l.grants.qeury: is not known; did you mean query?"]);
    let found = lens_mistakes(&format!(r#"{fields},"grants":{{}},"rules":{{}}"#));
    assert!(found[0].starts_with("lenses.l.rules: is the older name"));
}

#[test]
fn a_runner_local_source_has_no_settings_here() {
    let found = mistakes(
        r#"{"sources":{"a":{"bridge":"postgres","credentialsLocation":"runner-local","password":"hunter2"}}}"#,
    );
    assert_eq!(found, ["sources.a: a runner-local source has its settings on the runner; remove password"]);
    let empty = r#"{"sources":{"a":{"bridge":"postgres","credentialsLocation":"runner-local","config":{}}}}"#;
    assert!(checked(empty).is_ok());
}

#[test]
fn a_setting_is_given_once() {
    let found =
        mistakes(r#"{"sources":{"a":{"bridge":"postgres","host":"x","config":{"host":"y","port":1}}}}"#);
    assert_eq!(found, ["sources.a.config.host: is given twice, in config and beside it"]);
}

#[test]
fn transforms_that_do_not_exist_yet_are_refused() {
    let found = lens_mistakes(
        r#","fields":{"a":{"type":"text","transform":["trim","slug",{"type":"date","zone":"x"}]}}"#,
    );
    assert!(found[0].starts_with("lenses.l.fields.a.transform[1]: expected one of lowercase"), "{found:?}");
    assert_eq!(found[1], "lenses.l.fields.a.transform[2].zone: this transform has no options");
    assert_eq!(found.len(), 2);
}

#[test]
fn the_primary_key_names_fields_and_becomes_their_columns() {
    let lens = |more: &str| {
        let json = format!(
            r#"{{"lenses":{{"l":{{"source":"s","table":"t","fields":{{"a":{{"type":"number","from":"A"}},"b":{{"type":"text"}},"c":{{"type":"text","primaryKey":true}}}}{more}}}}}}}"#
        );
        checked(&json).map(|config| {
            config.lenses.unwrap().remove(0).into_lens(crate::model::SourceId::new()).primary_key
        })
    };
    assert_eq!(lens("").unwrap(), ["c"]);
    assert_eq!(lens(r#","primaryKey":["a","c"]"#).unwrap(), ["A", "c"]);
    for (wrong, message) in [
        (r#","primaryKey":"a""#, "leaves out a field"),
        (r#","primaryKey":["c","nope"]"#, "there is no field of that name"),
        (r#","primaryKey":["c","c"]"#, "names a field twice"),
        (r#","primaryKey":[]"#, "expected the name of a field"),
        (r#","primaryKey":3"#, "expected the name of a field"),
    ] {
        let mistakes = lens(wrong).unwrap_err();
        assert!(mistakes.0[0].message.contains(message), "{wrong}: {mistakes:?}");
    }
}

#[test]
fn documents_that_are_no_config_are_refused() {
    assert_eq!(mistakes("[]"), [": expected an object"]);
    assert_eq!(mistakes("{}"), [": expected sources, lenses or both"]);
    assert_eq!(mistakes(r#"{"lenses":[]}"#), ["lenses: expected an object"]);
    assert_eq!(mistakes(r#"{"lenses":{"l":null}}"#), ["lenses.l: expected an object"]);
}

#[test]
fn hostile_names_are_refused_and_quoted() {
    let found =
        lens_mistakes(r#","fields":{"$where":{"type":"text"},"":{"type":"text"},"a\u0000":{"type":"text"}}"#);
    assert_eq!(found.len(), 3, "{found:?}");
    let found = mistakes(
        r#"{"lenses":{"../x":{"source":"s","table":"a\u0000b","fields":{"a":{"type":"text","from":""}}}}}"#,
    );
    assert!(found[0].starts_with(r#"lenses."../x": expected a name"#), "{found:?}");
    assert_eq!(found.len(), 3, "{found:?}");
}

#[test]
fn the_example_of_the_documentation_is_a_config() {
    let page = include_str!("../../../../docs/gateway.md");
    let example = page.split("```yaml\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let config = check(&parse(example, Format::Yaml).unwrap()).unwrap();
    assert_eq!(config.sources.unwrap()[0].config.as_ref().unwrap().expose().len(), 4);
    assert_eq!(config.lenses.unwrap().remove(0).into_lens(crate::model::SourceId::new()).fields.len(), 5);
    assert_eq!(config.warnings, []);
}
