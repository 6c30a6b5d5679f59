//! Every way around the rules that is known, and what the rules let through.

use std::path::Path;

use super::super::facts::HostFiles;
use super::super::facts::fixtures::FakeFiles;
use super::*;

fn host() -> FakeFiles {
    let names: Vec<_> =
        programs::PROGRAMS.iter().map(|program| format!("/usr/bin/{}", program.name)).collect();
    let files = names.iter().fold(FakeFiles::default(), |files, path| files.file(path, 0o755));
    files
        .link("/bin", "/usr/bin")
        .file("/etc/hostname", 0o644)
        .file("/etc/shadow", 0o640)
        .file("/var/log/syslog", 0o644)
        .file("/proc/77/environ", 0o400)
        .link("/proc/self", "/proc/77")
        .put("/tmp/evil/ls", Kind::File, 1000, 0o777)
}

fn policy() -> Policy {
    Policy { docker: true, ..Policy::default() }
}

fn line(command: &str) -> Result<Approved, Denied> {
    policy().approve(&Invocation::Command(command.to_owned()), &host())
}

fn argv(argv: &[&str]) -> Result<Approved, Denied> {
    let argv = argv.iter().map(|argument| (*argument).to_owned()).collect();
    policy().approve(&Invocation::Argv(argv), &host())
}

fn rule(command: &str) -> Rule {
    line(command).expect_err(command).rule
}

fn written(command: &str) -> String {
    let approved = line(command).unwrap_or_else(|denied| panic!("{command}: {denied}"));
    let arguments = approved.arguments.iter().map(|argument| argument.to_str().unwrap());
    std::iter::once(approved.name).chain(arguments).collect::<Vec<_>>().join(" ")
}

#[test]
fn the_known_ways_around_a_list_of_words_are_refused_by_name() {
    for (command, expected) in [
        ("env rm -rf /srv", Rule::RunsPrograms),
        ("env sh -c reboot", Rule::RunsPrograms),
        ("env -i bash", Rule::RunsPrograms),
        ("env -S 'rm -rf /'", Rule::RunsPrograms),
        ("env A=1 reboot", Rule::RunsPrograms),
        ("/tmp/evil/ls", Rule::ProgramPath),
        ("./ls", Rule::ProgramPath),
        ("../bin/ls", Rule::ProgramPath),
        ("/usr/bin/ls", Rule::ProgramPath),
        ("cat /etc/shadow", Rule::PathSecret),
        ("cat /proc/self/environ", Rule::PathOutside),
        ("head -c 100000 /proc/77/environ", Rule::PathOutside),
        ("printenv RUNNER_SECRET", Rule::Variable),
        ("date -s 12:00", Rule::Changes),
        ("date --set=12:00", Rule::Changes),
        ("date 010203042030", Rule::Changes),
        ("date -f /etc/shadow", Rule::Option),
        ("hostname newname", Rule::Changes),
        ("hostname -F /etc/hostname", Rule::Changes),
        ("journalctl --no-pager --vacuum-size=1", Rule::Changes),
        ("journalctl --no-pager --rotate", Rule::Changes),
        ("journalctl --no-pager -f", Rule::Follow),
        ("journalctl --no-pager -D /srv", Rule::Connection),
        ("top", Rule::Required),
        ("top -b", Rule::Required),
        ("top -n 1", Rule::Required),
        ("top -b -n 100000", Rule::Value),
        ("tail -f /var/log/syslog", Rule::Follow),
        ("tail -F /var/log/syslog", Rule::Follow),
        ("tail -n5f /var/log/syslog", Rule::Value),
        ("tail --follow=name /var/log/syslog", Rule::Follow),
        ("tail --fol /var/log/syslog", Rule::Option),
        ("docker logs -f web", Rule::Follow),
        ("docker logs --follow web", Rule::Follow),
        ("docker stats", Rule::Required),
        ("docker -H tcp://10.0.0.1 ps", Rule::Connection),
        ("docker -Htcp://10.0.0.1 ps", Rule::Connection),
        ("docker --host=tcp://10.0.0.1 ps", Rule::Connection),
        ("docker --context other ps", Rule::Connection),
        ("docker --config /tmp ps", Rule::Connection),
        ("docker container ls", Rule::Subcommand),
        ("docker run alpine", Rule::Subcommand),
        ("docker exec web sh", Rule::Subcommand),
        ("docker", Rule::Subcommand),
        ("systemctl show ssh", Rule::Subcommand),
        ("systemctl restart ssh", Rule::Subcommand),
        ("systemctl --no-pager status", Rule::Subcommand),
        ("systemctl status -H root@other", Rule::Connection),
        ("sudo ls", Rule::ProgramUnknown),
        ("rm -rf /", Rule::ProgramUnknown),
        ("LS", Rule::ProgramUnknown),
        ("find / -exec id", Rule::ProgramUnknown),
        ("awk 1", Rule::ProgramUnknown),
        ("X=1 ls", Rule::Assignment),
        ("PATH=/tmp/evil ls", Rule::Assignment),
        ("ls; reboot", Rule::Syntax),
        ("ls && reboot", Rule::Syntax),
        ("ls | sh", Rule::Syntax),
        ("echo $(reboot)", Rule::Syntax),
        ("echo `reboot`", Rule::Syntax),
        ("echo x > /etc/passwd", Rule::Syntax),
        ("ls\nreboot", Rule::Control),
        ("ls\rreboot", Rule::Control),
        ("ls\treboot", Rule::Control),
        ("ls /etc/*", Rule::Expansion),
        ("ls ~", Rule::Expansion),
        ("echo {a,b}", Rule::Expansion),
        ("ls # all", Rule::Expansion),
        ("ps auxe", Rule::Option),
        ("ps e", Rule::Option),
        ("ps -ef e", Rule::Option),
        ("ps -eo environ", Rule::Value),
        ("ps -e -o pid,environ", Rule::Value),
        ("ps -e -p x", Rule::Value),
        ("ps -u xe", Rule::Option),
        ("ps -e --sort=x", Rule::Value),
        ("ps -ef -o pid", Rule::Operand),
        ("ps aux -e", Rule::Operand),
        ("ls -R /", Rule::Option),
        ("du --files0-from=/etc/shadow", Rule::Option),
        ("free -s 1", Rule::Follow),
        ("cat -", Rule::PathRelative),
        ("cat", Rule::Operand),
        ("cat -- -n", Rule::PathRelative),
        ("id -Z root wheel", Rule::Option),
    ] {
        assert_eq!(rule(command), expected, "{command:?}");
    }
}

#[test]
fn an_argument_list_is_held_to_the_same_rules() {
    assert_eq!(argv(&["env", "rm"]).unwrap_err().rule, Rule::RunsPrograms);
    assert_eq!(argv(&["ls", "a\nb"]).unwrap_err().rule, Rule::Control);
    assert_eq!(argv(&["ls -l"]).unwrap_err().rule, Rule::ProgramUnknown);
    // What a shell would act upon is text here, because nobody acts upon it.
    let approved = argv(&["echo", "$(reboot); `id` > /etc/passwd"]).unwrap();
    assert_eq!(approved.arguments, ["$(reboot); `id` > /etc/passwd"]);
}

#[test]
fn programs_that_only_look_are_given_what_was_checked() {
    for (command, expected) in [
        ("uptime -p", "uptime -p"),
        ("uname -a", "uname -a"),
        ("date", "date"),
        ("date -u '+%H:%M %Z'", "date -u -- +%H:%M %Z"),
        ("date -Iseconds", "date -Iseconds"),
        ("whoami", "whoami"),
        ("id -un root", "id -u -n -- root"),
        ("df -h /", "df -h -- /"),
        ("du -sh /var/log", "du -x -s -h -- /var/log"),
        ("du /var/log", "du -x -s -- /var/log"),
        ("free -m", "free -m"),
        ("hostname -f", "hostname -f"),
        ("cat -n /etc/hostname", "cat -n -- /etc/hostname"),
        ("tail -20 /var/log/syslog", "tail -n 20 -- /var/log/syslog"),
        ("tail --lines=+5 /var/log/syslog", "tail -n +5 -- /var/log/syslog"),
        ("head -c 10 /var/log/../log/syslog", "head -c 10 -- /var/log/syslog"),
        ("ls", "ls"),
        ("ls -lah /var/log /", "ls -l -a -h -- /var/log /"),
        ("pwd", "pwd"),
        ("env", "env"),
        ("printenv", "printenv"),
        ("echo -n 'a b'", "echo -n a b"),
        ("true", "true"),
        ("top -bn1", "top -b -n 1"),
        ("ps aux --sort=-rss", "ps aux --sort=-rss"),
        ("ps -ef", "ps -ef"),
        ("ps -eo pid,comm", "ps -e -o pid,comm"),
        ("ps -p 1,2 -o pid,args", "ps -p 1,2 -o pid,args"),
        ("systemctl status ssh.service", "systemctl status --no-pager -- ssh.service"),
        ("journalctl --no-pager -u ssh", "journalctl --no-pager -n 1000 --no-pager -u ssh"),
        ("journalctl -n 5 --since yesterday", "journalctl --no-pager -n 5 -S yesterday"),
        ("docker ps -a", "docker ps -a"),
        ("docker logs web", "docker logs -n 1000 -- web"),
        ("docker logs --tail 5 web", "docker logs -n 5 -- web"),
        ("docker stats --no-stream", "docker stats --no-stream"),
        ("docker inspect -f '{{.Id}}' web", "docker inspect --format={{.Id}} -- web"),
        ("docker ps --format '{{.Names}} {{json .Ports}}'", "docker ps --format={{.Names}} {{json .Ports}}"),
        ("docker images", "docker images"),
        ("docker info", "docker info"),
        ("docker version", "docker version"),
    ] {
        assert_eq!(written(command), expected, "{command}");
    }
}

#[test]
fn docker_needs_a_grant_of_its_own() {
    let denied = Policy::default().approve(&Invocation::Command("docker ps".to_owned()), &host());
    assert_eq!(denied.unwrap_err().rule, Rule::Docker);
}

#[test]
fn a_program_comes_from_where_only_root_could_put_it() {
    let uptime = Invocation::Command("uptime".to_owned());
    let approved = |files: &FakeFiles, folders: &[&str]| {
        let folders = folders.iter().map(PathBuf::from).collect();
        Policy { folders, ..Policy::default() }.approve(&uptime, files).map_err(|denied| denied.rule)
    };
    let empty = FakeFiles::default();
    assert_eq!(approved(&empty, &[]), Err(Rule::ProgramMissing));
    let of_a_user = empty.clone().put("/usr/bin/uptime", Kind::File, 1000, 0o755);
    assert_eq!(approved(&of_a_user, &[]), Err(Rule::ProgramUntrusted));
    let for_a_group = empty.clone().put("/usr/bin/uptime", Kind::File, 0, 0o775);
    assert_eq!(approved(&for_a_group, &[]), Err(Rule::ProgramUntrusted));
    let in_an_open_folder = empty.clone().file("/usr/bin/uptime", 0o755).folder("/usr/bin", 0o777);
    assert_eq!(approved(&in_an_open_folder, &[]), Err(Rule::ProgramUntrusted));
    let by_a_link = empty
        .clone()
        .put("/home/u/uptime", Kind::File, 1000, 0o755)
        .link("/usr/bin/uptime", "/home/u/uptime");
    assert_eq!(approved(&by_a_link, &[]), Err(Rule::ProgramUntrusted));
    let not_a_program = empty.clone().file("/usr/bin/uptime", 0o644);
    assert_eq!(approved(&not_a_program, &[]), Err(Rule::ProgramMissing));
    let elsewhere = empty.file("/opt/tools/uptime", 0o755);
    assert_eq!(approved(&elsewhere, &[]), Err(Rule::ProgramMissing));
    assert_eq!(approved(&elsewhere, &["/opt/tools"]).unwrap().program, Path::new("/opt/tools/uptime"));
}

#[test]
fn the_programs_of_this_host_are_found() {
    let approved =
        Policy::default().approve(&Invocation::Command("uname -s".to_owned()), &HostFiles).unwrap();
    assert!(approved.program.is_absolute(), "{approved:?}");
    let denied = Policy::default().approve(&Invocation::Command("cat /etc/shadow".to_owned()), &HostFiles);
    assert_eq!(denied.unwrap_err().rule, Rule::PathSecret);
    let denied =
        Policy::default().approve(&Invocation::Command("cat /proc/self/environ".to_owned()), &HostFiles);
    assert_eq!(denied.unwrap_err().rule, Rule::PathOutside);
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn whatever_is_asked_the_program_is_one_of_the_list_and_absolute(
            program in prop::sample::select(programs::PROGRAMS.iter().map(|program| program.name).collect::<Vec<_>>()),
            arguments in prop::collection::vec(prop_oneof![
                "[^\\x00]{0,12}",
                "-{1,2}[a-zA-Z]{1,6}(=[a-z0-9]{0,4})?",
                Just("/etc/hostname".to_owned()),
                Just("/etc/shadow".to_owned()),
                Just("status".to_owned()),
                Just("logs".to_owned()),
            ], 0..5),
        ) {
            let argv: Vec<_> = std::iter::once(program.to_owned()).chain(arguments).collect();
            if let Ok(approved) = policy().approve(&Invocation::Argv(argv), &host()) {
                prop_assert_eq!(approved.name, program);
                prop_assert!(approved.program.is_absolute());
                let arguments = approved.arguments.iter().map(|argument| argument.to_str().unwrap()).collect::<Vec<_>>();
                prop_assert!(program == "echo" || !arguments.contains(&"/etc/shadow"), "{:?}", arguments);
                prop_assert!(program == "echo" || !arguments.contains(&"-f"), "{:?}", arguments);
            }
        }
    }
}

#[test]
fn a_template_of_docker_has_fields_and_no_functions() {
    let policy = Policy { docker: true, ..Policy::default() };
    for template in [
        "{{pad \"x\" 9 1}}",
        "{{printf \"%9d\" .Id}}",
        "{{range .Mounts}}{{end}}",
        "{{.Id",
        ".Id}}",
        "{{Id}}",
    ] {
        let argv = ["docker", "inspect", "--format", template, "web"].map(str::to_owned).to_vec();
        let denied = policy.approve(&Invocation::Argv(argv), &host()).unwrap_err();
        assert_eq!(denied.rule, Rule::Value, "{template}");
    }
}

#[test]
fn a_journal_is_not_shown_with_every_field() {
    for format in ["json", "json-pretty", "export", "verbose"] {
        let line = format!("journalctl -o {format}");
        let denied = Policy::default().approve(&Invocation::Command(line), &host()).unwrap_err();
        assert_eq!(denied.rule, Rule::Value, "{format}");
    }
}
