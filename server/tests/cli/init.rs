//! `handover init`, for each kind of project; and that what it writes is good.

use crate::{program::Here, schema};

/// Writes a manifest from the folder's files, and checks it, by the program and by the schema that editors have: as it
/// stands, and with everything that is commented out.
#[track_caller]
fn proposed(files: &[(&str, &str)]) -> (toml::Table, serde_json::Value) {
    let here = Here::new();
    for (name, text) in files {
        here.write(&format!("shop/{name}"), text);
    }
    let told = here.run(&["init", "shop", "--json"]).expect(0).json();
    let text = here.read("shop/handover.toml");
    assert_eq!(told["manifest"], text);
    let checked = here.run(&["check", "shop", "--json"]).expect(0).json();
    assert_eq!(checked["valid"], true, "{text}");
    let whole: String = text.lines().map(|line| format!("{}\n", uncommented(line))).collect();
    assert_ne!(whole, text, "nothing is commented out");
    here.write("whole/handover.toml", &whole);
    let ended = here.run(&["check", "whole/handover.toml"]);
    assert_eq!(ended.code, 0, "{}\n{whole}", ended.stdout);
    let validator = schema::validator();
    for manifest in [&text, &whole] {
        assert_eq!(schema::mistakes(&validator, &schema::read(manifest)), [""; 0], "{manifest}");
    }
    (text.parse().unwrap(), told)
}

fn uncommented(line: &str) -> &str {
    match line.strip_prefix('#') {
        Some(rest) if !rest.starts_with(' ') => rest,
        _ => line,
    }
}

fn words(table: &toml::Table) -> Vec<&str> {
    table["command"].as_array().unwrap().iter().map(|word| word.as_str().unwrap()).collect()
}

#[track_caller]
fn took(told: &serde_json::Value, key: &str, from: &str) {
    let took = told["took"].as_array().unwrap();
    let found =
        took.iter().find(|took| took["key"] == key).unwrap_or_else(|| panic!("{key} is not in {took:?}"));
    assert!(found["from"].as_str().unwrap().contains(from), "{found}");
}

#[track_caller]
fn notes(told: &serde_json::Value, words: &str) {
    assert!(told["notes"].to_string().contains(words), "{}", told["notes"]);
}

#[test]
fn a_cargo_project() {
    let cargo =
        "[package]\nname = \"shop-api\"\nversion = \"0.1.0\"\n\n[[bin]]\nname = \"api\"\npath = \"a.rs\"\n";
    let (manifest, told) = proposed(&[("Cargo.toml", cargo)]);
    assert_eq!(manifest["service"].as_str(), Some("shop-api"));
    assert_eq!(words(&manifest), ["bin/api"]);
    took(&told, "service", "Cargo.toml, package.name");
    took(&told, "command", "the first [[bin]]");
    notes(&told, "target/release/api");
    assert!(told["manifest"].as_str().unwrap().contains("listenfd"));
}

#[test]
fn a_node_project() {
    let package = r#"{"name": "@shop/Web_App", "scripts": {"start": "NODE_ENV=production node server.js --port 3000"},
        "dependencies": {"express": "^5"}}"#;
    let (manifest, told) = proposed(&[("package.json", package)]);
    assert_eq!(manifest["service"].as_str(), Some("web-app"));
    assert!(words(&manifest)[0].ends_with("/bin/node"), "{manifest}");
    assert_eq!(words(&manifest)[1..], ["server.js", "--port", "3000"]);
    assert_eq!(manifest["environment"]["NODE_ENV"].as_str(), Some("production"));
    assert_eq!(manifest["listeners"]["http"].as_str(), Some("0.0.0.0:3000"));
    took(&told, "listeners.http", "package.json, scripts.start");
    notes(&told, "npm ci");
    let (manifest, _) = proposed(&[("package.json", r#"{"name": "a", "main": "index.js"}"#)]);
    assert_eq!(words(&manifest)[1..], ["index.js"]);
}

#[test]
fn a_django_project() {
    let files = [("manage.py", ""), ("requirements.txt", "Django==5.1\ngunicorn\n"), ("shop/wsgi.py", "")];
    let (manifest, told) = proposed(&files);
    assert_eq!(words(&manifest)[1..], ["-m", "gunicorn", "shop.wsgi:application"]);
    took(&told, "command", "gunicorn among the requirements, shop/wsgi.py");
}

#[test]
fn a_python_project_with_a_pyproject() {
    let project = "[project]\nname = \"Shop.Api\"\ndependencies = [\"fastapi\", \"uvicorn[standard]\"]\n";
    let (manifest, _) = proposed(&[("pyproject.toml", project), ("main.py", ""), (".venv/bin/python", "")]);
    assert_eq!(manifest["service"].as_str(), Some("shop-api"));
    assert_eq!(words(&manifest), [".venv/bin/python", "-m", "uvicorn", "--fd", "3", "main:app"]);
    let project = "[project]\nname = \"tool\"\n[project.scripts]\ntool = \"tool.cli:main\"\n";
    let (manifest, told) = proposed(&[("pyproject.toml", project)]);
    assert_eq!(words(&manifest)[1..], ["-m", "tool.cli"]);
    took(&told, "command", "project.scripts.tool");
}

#[test]
fn a_go_module() {
    let (manifest, told) = proposed(&[("go.mod", "module example.org/shop/web/v2 // main\n\ngo 1.24\n")]);
    assert_eq!(manifest["service"].as_str(), Some("web"));
    assert_eq!(words(&manifest), ["bin/web"]);
    notes(&told, "go build -o bin/web");
}

#[test]
fn a_procfile() {
    let text = "# comment\nworker: bin/work\nweb: gunicorn app:app --bind 0.0.0.0:$PORT\n";
    let (manifest, told) = proposed(&[("Procfile", text)]);
    assert_eq!(words(&manifest), ["/bin/sh", "-c", "exec gunicorn app:app --bind 0.0.0.0:$PORT"]);
    assert_eq!(manifest["environment"]["PORT"].as_str(), Some("8080"));
    assert_eq!(manifest["listeners"]["http"].as_str(), Some("0.0.0.0:8080"));
    took(&told, "listeners.http", "8080 is a guess");
    notes(&told, "worker would each be a service of its own");
}

#[test]
fn a_systemd_unit_with_its_socket() {
    let unit = "[Unit]\nDescription=Shop\n[Service]\nType=notify\nUser=www-data\nGroup=33\n\
        WorkingDirectory=/srv/shop\nEnvironment=\"A=x {y}\" B=2\nEnvironmentFile=-/etc/default/shop\n\
        ExecStart=/opt/shop/bin/shop --workers 4 \\\n  --verbose\nKillSignal=SIGQUIT\nTimeoutStopSec=2min\n\
        LimitNOFILE=1024:65536\n";
    let socket = "[Socket]\nListenStream=8443\nListenStream=127.0.0.1:9090\nListenStream=/run/shop.sock\n";
    let (manifest, told) = proposed(&[("shop.service", unit), ("shop.socket", socket), ("bin/shop", "")]);
    assert_eq!(manifest["service"].as_str(), Some("shop"));
    assert_eq!(words(&manifest), ["bin/shop", "--workers", "4", "--verbose"]);
    assert_eq!((manifest["user"].as_str(), manifest["group"].as_str()), (Some("www-data"), Some("33")));
    assert_eq!(manifest["working_directory"].as_str(), Some("/srv/shop"));
    assert_eq!(manifest["environment"]["A"].as_str(), Some("x {{y}"), "a brace is no placeholder");
    assert_eq!(manifest["listeners"]["http"].as_str(), Some("[::]:8443"));
    assert_eq!(manifest["listeners"]["listener2"].as_str(), Some("127.0.0.1:9090"));
    assert_eq!(manifest["readiness"]["kind"].as_str(), Some("notify"));
    assert_eq!(manifest["drain"]["signal"].as_str(), Some("SIGQUIT"));
    assert_eq!(manifest["drain"]["deadline"].as_str(), Some("120s"));
    assert_eq!(manifest["limits"]["open_files"].as_integer(), Some(65_536));
    took(&told, "user", "shop.service, User");
    notes(&told, "EnvironmentFile=-/etc/default/shop is not read");
    notes(&told, "/run/shop.sock is a Unix socket");
}

#[test]
fn a_unit_comes_before_a_procfile_and_that_before_the_project() {
    let unit = ("web.service", "[Service]\nExecStart=/usr/bin/one\n");
    let procfile = ("Procfile", "web: bin/two\n");
    let package = ("package.json", r#"{"name": "three", "scripts": {"start": "bin/three"}}"#);
    let (manifest, _) = proposed(&[unit, procfile, package]);
    assert_eq!(words(&manifest), ["/usr/bin/one"]);
    let (manifest, _) = proposed(&[procfile, package]);
    assert_eq!((words(&manifest), manifest["service"].as_str()), (vec!["bin/two"], Some("three")));
}

#[test]
fn an_empty_folder_and_nonsense_still_give_a_good_manifest() {
    let (manifest, told) = proposed(&[("README", "")]);
    assert_eq!(manifest["service"].as_str(), Some("shop"));
    took(&told, "service", "the folder's name");
    took(&told, "command", "a guess");
    let nonsense = "\u{1b}[31m {{{ = \"\n: : :\n";
    proposed(&[
        ("Cargo.toml", nonsense),
        ("package.json", nonsense),
        ("pyproject.toml", nonsense),
        ("go.mod", nonsense),
        ("Procfile", nonsense),
        ("a.service", nonsense),
    ]);
}

#[test]
fn what_no_manifest_takes_is_left_out_and_said() {
    let unit = "[Service]\nUser=%i\nKillSignal=SIGKILL\nExecStart=../bin/x {a} \u{1b}[31m\n\
        Environment=LISTEN_FDS=1 1A=b OK=1\nLimitNOFILE=3\nTimeoutStopSec=99999min\n";
    let (manifest, told) = proposed(&[("x@.service", unit)]);
    assert!(manifest.get("user").is_none() && manifest.get("drain").is_none(), "{manifest}");
    assert_eq!(manifest["environment"].as_table().unwrap().len(), 1);
    assert_eq!(words(&manifest), ["bin/x"]);
    for key in
        ["user", "drain.signal", "drain.deadline", "environment.LISTEN_FDS", "limits.open_files", "command"]
    {
        notes(&told, key);
    }
}

#[test]
fn nothing_is_written_over_unless_forced() {
    let here = Here::new();
    here.write("handover.toml", "mine");
    let ended = here.run(&["init"]).expect(1);
    assert!(ended.stderr.contains("--force"), "{}", ended.stderr);
    assert_eq!(here.read("handover.toml"), "mine");
    let printed = here.run(&["init", "--print"]).expect(0).stdout;
    assert_eq!(here.read("handover.toml"), "mine");
    here.run(&["init", "--force"]).expect(0);
    assert_eq!(here.read("handover.toml"), printed);
    // Nor through a link that leads nowhere yet.
    std::os::unix::fs::symlink(here.path("elsewhere"), here.path("link")).unwrap();
    std::fs::remove_file(here.path("handover.toml")).unwrap();
    std::fs::rename(here.path("link"), here.path("handover.toml")).unwrap();
    here.run(&["init"]).expect(1);
    assert!(!here.path("elsewhere").exists());
    here.run(&["init", "--print", "--force"]).expect(2);
    here.run(&["init", "nowhere"]).expect(1);
}
