//! What the commands that need no server say of themselves.

use crate::program::{Here, is_as_in};

#[test]
fn the_help_of_each_command_is_as_it_was_agreed() {
    let here = Here::new();
    let mut text = String::new();
    for words in
        [&["check"][..], &["init"], &["schema"], &["context"], &["context", "add"], &["config", "show"]]
    {
        let help = here.run(&[words, &["--help"]].concat()).expect(0).stdout;
        let (own, of_every_command) = help.split_once("\nEvery command:\n").unwrap();
        assert!(of_every_command.contains("--json"), "{help}");
        text.push_str(&format!("$ handover {} --help\n{own}\n", words.join(" ")));
    }
    is_as_in("help.txt", &text);
}
