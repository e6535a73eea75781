//! The program itself: its examples in `docs/explain.md`, its exit codes, its standard input.
//!
//! A block with a file's name behind its language is that file; a block of `console` has commands
//! and what they print. `DOCS_UPDATE=1` writes what they print.

use std::{
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/explain.md");
const PROGRAM: &str = env!("CARGO_BIN_EXE_cors-edge");

/// A directory of its own for a test.
fn directory(name: &str) -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&directory).unwrap();
    directory
}

/// Runs a command as it stands in the page.
fn run(command: &str, directory: &Path) -> String {
    let path = Path::new(PROGRAM).parent().unwrap().display().to_string();
    let path = format!("{path}:{}", env::var("PATH").unwrap());
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).current_dir(directory).env("PATH", path);
    let output = shell.output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "{command}");
    String::from_utf8(output.stdout).unwrap()
}

/// The same date in every answer.
fn dateless(text: &str) -> String {
    let line = |line: &str| match line.split_once("Date: ") {
        Some((indent, _)) => format!("{indent}Date: Sun, 06 Nov 1994 08:49:37 GMT\n"),
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// A block of `console` with the program's output anew.
fn console(block: &str, directory: &Path) -> String {
    let mut text = String::new();
    let mut lines = block.lines().peekable();
    while let Some(line) = lines.next() {
        let Some(first) = line.strip_prefix("$ ") else { continue };
        text.extend([line, "\n"]);
        let mut command = first.to_owned();
        while command.ends_with('\\') {
            let next = lines.next().unwrap();
            text.extend([next, "\n"]);
            command.truncate(command.len() - 1);
            command += next;
        }
        text += &dateless(&run(&command, directory));
    }
    text
}

#[test]
fn the_examples_print_what_the_page_says() {
    let directory = directory("docs-explain");
    let page = fs::read_to_string(PAGE).unwrap();
    let mut expected = String::new();
    let mut examples = 0;
    for (number, part) in page.split("```").enumerate() {
        if number > 0 {
            expected += "```";
        }
        let (info, block) = part.split_once('\n').unwrap_or((part, ""));
        // Every second part is inside a block.
        if number % 2 == 1 && info == "console" {
            examples += 1;
            expected.extend(["console\n", &console(block, &directory)]);
            continue;
        }
        if number % 2 == 1
            && let Some((_, file)) = info.split_once(' ')
        {
            fs::write(directory.join(file), block).unwrap();
        }
        expected += part;
    }
    assert!(examples >= 4);
    if env::var_os("DOCS_UPDATE").is_some() {
        fs::write(PAGE, &expected).unwrap();
    } else {
        assert_eq!(page, expected);
    }
}

fn explain(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(PROGRAM)
        .arg("explain")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It need not read what it does not need.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn exit_codes() {
    let directory = directory("explain-codes");
    let file = directory.join("policy.toml");
    fs::write(&file, cors_user::config::EXAMPLE).unwrap();
    let broken = directory.join("broken.toml");
    fs::write(&broken, "[server]\n").unwrap();
    let (file, broken) = (file.to_str().unwrap(), broken.to_str().unwrap());
    let shared = "HTTP/1.1 200 OK\nAccess-Control-Allow-Origin: *\n";
    let app = "https://app.example.com";
    for (arguments, input, code) in [
        (&["--config", file, "--origin", app, "--method", "PUT"][..], "", 0),
        (&["--config", file, "--origin", "https://evil.example"], "", 3),
        (&["--config", file, "--origin", app, "--method", "P T"], "", 2),
        (&["--config", file, "--origin", "nonsense"], "", 2),
        (&["--config", broken, "--origin", app], "", 2),
        (&["--config", "/no/such/file", "--origin", app], "", 1),
        (&["--response", "-", "--origin", app], shared, 0),
        (&["--response", "-", "--origin", app, "--credentials"], shared, 3),
        (&["--response", "-", "--origin", app, "--method", "PUT"], shared, 2),
        (&["--preflight-response", "-", "--origin", app, "--method", "PUT"], shared, 3),
        (&["--response", "-", "--origin", app], "<html>", 2),
        (&["--response", "-", "--preflight-response", "-", "--origin", app], shared, 2),
        (&["--response", "/no/such/file", "--origin", app], "", 1),
        (&["--origin", app], "", 2),
        (&["--config", file], "", 2),
        (&["--config", file, "--response", "-", "--origin", app], shared, 2),
    ] {
        let output = explain(arguments, input);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {errors}");
        // Whatever it is, somebody is told.
        assert_ne!((output.stdout.len(), output.stderr.len()), (0, 0), "{arguments:?}");
    }
}

#[test]
fn the_document_is_json() {
    let text = "HTTP/1.1 200 OK\r\nAccess-Control-Allow-Origin: \u{1b}[0m\r\n\r\n\u{0}\u{ff}body";
    let output = explain(&["--response", "-", "--origin", "null", "--json"], text);
    assert_eq!(output.status.code(), Some(3));
    let document: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(document["version"], 1);
    assert_eq!(document["verdict"], "blocked");
    assert_eq!(document["failure"]["step"], "allow_origin_matches");
    let members: Vec<_> = document.as_object().unwrap().keys().collect();
    let documented = fs::read_to_string(PAGE).unwrap();
    for member in members {
        assert!(documented.contains(&format!("| `{member}` |")), "{member}");
    }
}
