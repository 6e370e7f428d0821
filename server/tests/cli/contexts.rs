//! `handover context`, `--context`, `handover config show`.

use crate::program::Here;

fn setting(shown: &str, name: &str) -> serde_json::Value {
    let rows = shown.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    rows.into_iter().find(|row| row["setting"] == name).unwrap()
}

fn with_two() -> Here {
    let here = Here::new();
    here.run(&["context", "add", "home", "--socket", "run/home.sock"]).expect(0);
    let prod =
        ["context", "add", "prod", "--server", "prod.example.org:7443", "--identity", "keys/prod", "--use"];
    here.run(&prod).expect(0);
    here
}

#[test]
fn contexts_are_added_listed_used_and_removed() {
    let here = with_two();
    let home = here.path("run/home.sock").display().to_string();
    let listed = here.run(&["context", "list", "--json"]).expect(0).stdout;
    let rows: Vec<serde_json::Value> =
        listed.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&rows[0]["context"], &rows[0]["current"]), (&"home".into(), &false.into()));
    assert_eq!(rows[0]["socket"], home, "absolute, so that it means the same everywhere");
    assert_eq!((&rows[1]["server"], &rows[1]["current"]), (&"prod.example.org:7443".into(), &true.into()));
    let again = here.run(&["context", "add", "home", "--socket", "/other"]).expect(1);
    assert!(again.stderr.contains("--force"), "{}", again.stderr);
    here.run(&["context", "use", "home"]).expect(0);
    // The context is really what the connection goes by.
    let ended = here.run(&["status"]).expect(5);
    assert!(ended.stderr.contains(&home), "{}", ended.stderr);
    let removed = here.run(&["context", "remove", "home"]).expect(0);
    assert_eq!(removed.stdout, "context home is removed; none is current now\n");
    let ended = here.run(&["status"]).expect(5);
    assert!(ended.stderr.contains("/run/handover/handover.sock"), "{}", ended.stderr);
}

#[test]
fn each_value_says_where_it_comes_from() {
    let here = with_two();
    let shown = here.run(&["config", "show", "--json"]).expect(0).stdout;
    let context = setting(&shown, "context");
    assert_eq!((&context["value"], &context["detail"]), (&"prod".into(), &"current".into()));
    let server = setting(&shown, "server");
    assert_eq!((&server["source"], &server["detail"]), (&"context".into(), &"prod".into()));
    assert_eq!(setting(&shown, "socket")["source"], "default");
    assert_eq!(setting(&shown, "socket")["used"], false);

    let here = here.env("HANDOVER_CONTEXT", "home").env("HANDOVER_IDENTITY", "/keys/ada");
    let shown = here.run(&["config", "show", "--json"]).expect(0).stdout;
    assert_eq!(setting(&shown, "context")["detail"], "HANDOVER_CONTEXT");
    assert_eq!(setting(&shown, "socket")["source"], "context");
    assert_eq!(setting(&shown, "identity")["detail"], "HANDOVER_IDENTITY");
    let shown =
        here.run(&["config", "show", "--json", "--context", "prod", "--server", "a:1"]).expect(0).stdout;
    assert_eq!(setting(&shown, "context")["detail"], "--context");
    assert_eq!(setting(&shown, "server")["detail"], "--server");
    let plain = here.run(&["config", "show"]).expect(0).stdout;
    assert!(plain.contains("environment HANDOVER_CONTEXT"), "{plain}");
    assert!(plain.contains(&here.path(".config/handover/config.toml").display().to_string()), "{plain}");
}

#[test]
fn the_file_lies_where_xdg_says() {
    let here = Here::new();
    let home = here.path("xdg").display().to_string();
    let here = here.env("XDG_CONFIG_HOME", &home);
    here.run(&["context", "add", "a", "--socket", "/a.sock"]).expect(0);
    assert!(here.read("xdg/handover/config.toml").contains("/a.sock"));
}

#[test]
fn a_context_that_does_not_exist_names_the_nearest() {
    let here = with_two();
    let ways: [&[&str]; 3] =
        [&["status", "--context", "prd"], &["context", "use", "prd"], &["context", "remove", "prd"]];
    for words in ways {
        let ended = here.run(words).expect(2);
        assert!(
            ended.stderr.contains("there is no context \"prd\": did you mean \"prod\"?"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn contexts_that_make_no_sense_are_refused() {
    let here = Here::new();
    let words: [&[&str]; 6] = [
        &["context", "add", "x"],
        &["context", "add", "x", "--server", "a:1"],
        &["context", "add", "x", "--server", "a:1", "--socket", "/a"],
        &["context", "add", "x", "--server", "nonsense", "--identity", "/i"],
        &["context", "add", "a b", "--socket", "/a"],
        &["status", "--server", "a:1"],
    ];
    for words in words {
        here.run(words).expect(2);
    }
    for (text, wrong) in [
        ("curent = \"a\"", "curent"),
        ("[contexts.a]\nsocket = \"/a\"\nserver = \"a:1\"", "both a socket and a server"),
        ("[contexts.a]\nsocket = 5", "line 2"),
        ("\u{0}", "config.toml"),
    ] {
        here.write(".config/handover/config.toml", text);
        let ended = here.run(&["status"]).expect(1);
        assert!(ended.stderr.contains(wrong) && ended.stderr.contains("config.toml"), "{}", ended.stderr);
        // Who says everything needs no file.
        here.run(&["status", "--socket", "/nowhere.sock"]).expect(5);
    }
}

#[test]
fn a_file_of_contexts_with_mistakes_tells_all_of_them_with_their_lines() {
    let here = Here::new();
    here.write(
        ".config/handover/config.toml",
        "curent = \"a\"\n\n[contexts.a]\nsocket = 5\nadress = \"a:1\"\n\n[contexts.b]\nserver = \"b:1\"\n\n[contexts]\nc = true\n",
    );
    let told = here.run(&["status"]).expect(1).stderr;
    let expected = [
        "it has 5 mistakes",
        "line 1: \"curent\" is no key here: did you mean \"current\"?",
        "line 4: socket is no text in quotes",
        "line 5: \"adress\" is no key here: there are socket, server, identity",
        "line 7: context \"b\" has a server but no identity",
        "line 11: c is no section",
    ];
    let at: Vec<Option<usize>> = expected.iter().map(|line| told.find(line)).collect();
    assert!(at.iter().all(Option::is_some) && at.is_sorted(), "{at:?} in {told}");
}
