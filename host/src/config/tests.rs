use runtime::settings::Mapping;

use super::*;

const MINIMUM: [(&str, &str); 2] = [("SEMILAYER_RUNNER_ID", "r1"), ("SEMILAYER_RUNNER_TOKEN", "rk_x")];

fn load(flags: &Flags, more: &[(&str, &str)]) -> Result<Loaded, String> {
    let source: Mapping = MINIMUM.iter().chain(more).copied().collect();
    Config::load(flags, &source).map_err(|mistakes| mistakes.to_string())
}

fn with_file(text: &str) -> Result<Loaded, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runner.toml");
    std::fs::write(&path, text).unwrap();
    let config = path.to_str().unwrap().to_owned();
    load(&Flags { config: Some(config), ..Flags::default() }, &[])
}

#[test]
fn id_and_token_suffice() {
    let config = load(&Flags::default(), &[]).unwrap().config;
    assert_eq!(config.gateway.as_str(), "wss://runner.semilayer.com/connect");
    assert_eq!(config.health, Some(([127, 0, 0, 1], 8080).into()));
    assert_eq!((config.max_jobs, config.drain_timeout), (64, Duration::from_secs(30)));
    assert!(!format!("{config:?}").contains("rk_x"));
}

#[test]
fn flags_stand_above_the_environment_and_the_environment_above_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("runner.toml");
    std::fs::write(&path, "max_jobs = 1\ndrain_timeout = \"1s\"\n[health]\nport = 1\n").unwrap();
    let flags = Flags { max_jobs: Some("3".into()), ..Flags::default() };
    let config = path.to_str().unwrap();
    let env = [("SEMILAYER_CONFIG", config), ("SEMILAYER_MAX_JOBS", "2"), ("SEMILAYER_DRAIN_TIMEOUT", "2s")];
    let config = load(&flags, &env).unwrap().config;
    assert_eq!(config.max_jobs, 3);
    assert_eq!(config.drain_timeout, Duration::from_secs(2));
    assert_eq!(config.health, Some(([127, 0, 0, 1], 1).into()));
}

#[test]
fn every_mistake_is_reported_at_once() {
    let source: Mapping = [
        ("SEMILAYER_GATEWAY_URL", "ftp://example.com"),
        ("SEMILAYER_MAX_JOBS", "0"),
        ("SEMILAYER_HEALTH_PORT", "99999"),
        ("SEMILAYER_DRAIN_TIMEOUT", "soon"),
        ("SEMILAYER_LOG_FORMAT", "xml"),
        ("SEMILAYER_CONFIG", "/nonexistent/runner.toml"),
    ]
    .into_iter()
    .collect();
    let mistakes = Config::load(&Flags::default(), &source).unwrap_err().to_string();
    for key in [
        "SEMILAYER_RUNNER_ID",
        "SEMILAYER_RUNNER_TOKEN",
        "SEMILAYER_GATEWAY_URL",
        "SEMILAYER_MAX_JOBS",
        "SEMILAYER_HEALTH_PORT",
        "SEMILAYER_DRAIN_TIMEOUT",
        "SEMILAYER_LOG_FORMAT",
        "SEMILAYER_CONFIG",
    ] {
        assert!(mistakes.lines().any(|line| line.starts_with(&format!("{key}: "))), "{key} in\n{mistakes}");
    }
}

#[test]
fn a_token_in_the_arguments_is_taken_with_a_warning() {
    let flags = Flags { token: Some("rk_argv".into()), ..Flags::default() };
    let loaded = load(&flags, &[]).unwrap();
    assert_eq!(loaded.config.token.expose(), "rk_argv");
    assert!(loaded.warnings.iter().any(|warning| warning.key == "SEMILAYER_RUNNER_TOKEN"));
}

#[test]
fn gateway_urls_are_understood_in_every_spelling() {
    for (text, url) in [
        ("wss://g.example.com", "wss://g.example.com/connect"),
        ("https://g.example.com/", "wss://g.example.com/connect"),
        ("https://g.example.com/runners/v1", "wss://g.example.com/runners/v1"),
        ("http://localhost:8787", "ws://localhost:8787/connect"),
        (" WSS://g.example.com:444/connect?a=b ", "wss://g.example.com:444/connect?a=b"),
    ] {
        assert_eq!(gateway_url(text).unwrap().as_str(), url);
    }
    for wrong in ["", "g.example.com", "ftp://g.example.com", "wss://", "wss://user:pw@g.example.com"] {
        assert!(gateway_url(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_plain_gateway_must_be_this_host_or_be_asked_for() {
    let url = |url| [("SEMILAYER_GATEWAY_URL", url)];
    assert!(load(&Flags::default(), &url("ws://127.0.0.1:8787/connect")).is_ok());
    assert!(load(&Flags::default(), &url("ws://[::1]:8787")).is_ok());
    assert!(load(&Flags::default(), &url("ws://localhost")).is_ok());
    let refused = load(&Flags::default(), &url("ws://10.0.0.5/connect")).unwrap_err();
    assert!(refused.contains("expected wss://"), "{refused}");
    let insecure = Flags { insecure_gateway: true, ..Flags::default() };
    assert!(load(&insecure, &url("ws://10.0.0.5/connect")).is_ok());
}

#[test]
fn a_file_can_set_limits_and_prefixes_of_sources() {
    let loaded = with_file(
        "strict_sources = true\nsource_idle_timeout = \"10m\"\n[sources.\"sales.eu\"]\nenv_prefix = \"SALES_EU\"\nmax_jobs = 4\nidle_timeout = 5\n",
    );
    let sources = loaded.unwrap().config.sources;
    assert!(sources.strict);
    let expected = SourceLimits {
        env_prefix: Some("SALES_EU".into()),
        max_jobs: Some(4),
        idle_timeout: Some(Duration::from_secs(5)),
    };
    assert_eq!(sources.limits("sales.eu"), expected);
    assert_eq!(sources.idle_timeout("other"), Duration::from_secs(600));
}

#[test]
fn unknown_and_wrong_keys_of_the_file_are_mistakes() {
    let mistakes = with_file(
        "max_job = 4\n[log]\nlevle = \"info\"\n[sources.main]\nmax_jobs = \"many\"\npassword = \"hunter2\"\n",
    )
    .unwrap_err();
    for key in ["max_job", "log.levle", "sources.main.max_jobs", "sources.main.password"] {
        assert!(mistakes.contains(&format!("{key}: ")), "{key} in\n{mistakes}");
    }
    assert!(!mistakes.contains("hunter2"));
}

#[test]
fn a_file_that_is_not_toml_is_refused_without_quoting_it() {
    let mistakes = with_file("id = \"r1\"\ntoken = \"hunter2").unwrap_err();
    assert!(mistakes.contains("near line 2") && !mistakes.contains("hunter2"), "{mistakes}");
}

#[test]
fn the_fallback_for_the_health_port_is_port_and_zero_disables() {
    let health = |env: &[(&str, &str)]| load(&Flags::default(), env).unwrap().config.health;
    assert_eq!(health(&[("PORT", "9000")]), Some(([127, 0, 0, 1], 9000).into()));
    assert_eq!(health(&[("PORT", "9000"), ("SEMILAYER_HEALTH_PORT", "0")]), None);
    assert_eq!(health(&[("SEMILAYER_HEALTH_HOST", "0.0.0.0")]), Some(([0, 0, 0, 0], 8080).into()));
}

#[test]
fn settings_of_later_versions_are_not_taken_in_silence() {
    let loaded = load(&Flags::default(), &[("SEMILAYER_EXEC", "full")]).unwrap();
    assert!(loaded.warnings.iter().any(|warning| warning.key == "SEMILAYER_EXEC"));
    let off = load(&Flags::default(), &[("SEMILAYER_EXEC", "off")]).unwrap();
    assert!(off.warnings.iter().all(|warning| warning.key != "SEMILAYER_EXEC"));
}

#[test]
fn a_plain_gateway_on_this_host_is_never_dialed_through_a_proxy() {
    let through = |gateway: &str, flags: &Flags| {
        let env = [("SEMILAYER_GATEWAY_URL", gateway), ("ALL_PROXY", "http://proxy.example:3128")];
        let config = load(flags, &env).unwrap().config;
        config.proxies.for_url(&config.gateway).map(runtime::dial::Proxy::address)
    };
    assert_eq!(through("ws://127.0.0.1:8787", &Flags::default()), None);
    assert_eq!(through("ws://localhost", &Flags::default()), None);
    let proxy = Some("proxy.example:3128".to_owned());
    assert_eq!(through("wss://gateway.example", &Flags::default()), proxy);
    let insecure = Flags { insecure_gateway: true, ..Flags::default() };
    assert_eq!(through("ws://gateway.example", &insecure), proxy);
}

#[test]
fn an_operator_can_say_for_which_bridges_a_gateway_may_send_settings() {
    let managed = |text: &str| {
        load(&Flags::default(), &[("SEMILAYER_MANAGED_BRIDGES", text)]).map(|it| it.config.sources.managed)
    };
    let all = load(&Flags::default(), &[]).unwrap().config.sources.managed;
    assert!(all.allows("@semilayer/bridge-sqlite") && all == managed("all").unwrap());
    assert!(!managed("none").unwrap().allows("@semilayer/bridge-sqlite"));
    let some = managed("postgres, @example/bridge").unwrap();
    assert!(some.allows("@semilayer/bridge-postgres") && some.allows("@example/bridge"));
    assert!(!some.allows("@semilayer/bridge-sqlite"));
    assert!(managed("postgres,,").unwrap_err().contains("SEMILAYER_MANAGED_BRIDGES: expected all, none"));
}

#[cfg(feature = "plugins")]
mod plugins {
    use super::*;
    use crate::config::load_plugins;

    #[test]
    fn a_plugin_has_what_all_have_and_what_stands_under_its_name() {
        let text = "plugin_dir = \"/plugins\"\nstate_dir = \"/state\"\n[plugins]\nallow = [\"10.0.0.5:9200\"]\n\
                    [plugins.\"@acme/bridge-things\"]\nallow = [\"api.example.com\"]\nmemory_mb = 64\nsockets = true\n";
        let plugins = with_file(text).unwrap().config.plugins;
        assert_eq!(plugins.dir.as_deref(), Some(std::path::Path::new("/plugins")));
        assert_eq!(plugins.cache.as_deref(), Some(std::path::Path::new("/state/plugins")));
        assert_eq!(plugins.trusted_keys, None);
        let (things, others) = (plugins.grants("@acme/bridge-things"), plugins.grants("@acme/bridge-other"));
        assert_eq!((things.limits.memory_bytes, things.sockets), (64 << 20, true));
        assert_eq!((&others.allow, others.sockets), (&plugins.common.allow, false));
        assert_ne!(things.allow, others.allow);
    }

    #[test]
    fn mistakes_about_plugins_name_their_setting() {
        let text = "[plugins]\ntrusted_keys = []\nallow = [\"http://x\"]\n[plugins.\"@a/one\"]\nmemmory_mb = 1\n\
                    [plugins.\"@a/two\"]\nmemory_mb = 0\nallow = [\"x y\"]\n";
        let mistakes = with_file(text).unwrap_err();
        for part in [
            "plugins.trusted_keys: expected at least one key",
            "plugins.allow.[0]: ",
            "plugins.\"@a/one\": unknown field `memmory_mb`",
            "plugins.\"@a/two\".memory_mb: expected a whole number from 1 to 4096",
            "plugins.\"@a/two\".allow",
        ] {
            assert!(mistakes.contains(part), "{part} in\n{mistakes}");
        }
    }

    #[test]
    fn commands_that_only_look_at_bridges_need_no_token() {
        let flags = Flags { plugin_dir: Some("/plugins".to_owned()), ..Flags::default() };
        let nothing: Mapping = Vec::<(&str, &str)>::new().into_iter().collect();
        assert!(load_plugins(&flags, &nothing).is_ok_and(|plugins| plugins.dir.is_some()));
    }
}

#[test]
fn a_misspelt_variable_is_warned_of_without_its_value() {
    let environment = [
        ("SEMILAYER_EXEC", "off"),
        ("SEMILAYER_EXEC_SANDBOX_IMGES", "hunter2"),
        ("SEMILAYER_EXEC_SANDBOX_IMAGES", "python:*"),
        ("SEMILAYER_EXEC_COLOUR", "hunter2"),
        ("SEMILAYER_CONFG", "hunter2"),
        ("SEMILAYER_SANDBOX_MEMROY", "1g"),
        ("SEMILAYER_SOURCE_MAIN_URL", "postgres://db"),
    ];
    let warnings = load(&Flags::default(), &environment).unwrap().warnings;
    let told: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    let expected = [
        "SEMILAYER_CONFG: is not a setting; did you mean SEMILAYER_CONFIG?",
        "SEMILAYER_EXEC_COLOUR: is not a setting",
        "SEMILAYER_EXEC_SANDBOX_IMGES: is not a setting; did you mean SEMILAYER_EXEC_SANDBOX_IMAGES?",
    ];
    assert_eq!(told, expected);
}
