//! One file of `tests/bad_inputs/`: what is done with which bytes, and what must be said. README.md there has the form.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use regex::Regex;

/// A file, read.
#[derive(Debug)]
pub(crate) struct Case {
    /// `<row>/<file>`.
    pub(crate) name: String,
    pub(crate) action: Action,
    /// Environment of the program.
    pub(crate) env: Vec<(String, String)>,
    /// Shell lines before the program, in a mount namespace of its own.
    pub(crate) host: Vec<String>,
    /// Words of an agent that runs meanwhile.
    pub(crate) background: Option<Vec<String>>,
    /// A UDP port that somebody else holds meanwhile.
    pub(crate) holds: Option<String>,
    /// It names something of the live mesh.
    pub(crate) live: bool,
    /// Nobody reads what the program prints.
    pub(crate) closed: bool,
    pub(crate) exit: Option<i32>,
    /// The code of a CNI error.
    pub(crate) code: Option<u64>,
    /// All of them in one line.
    pub(crate) says: Vec<String>,
    /// Table, and what a line of it must hold: what was accepted, or stays in force.
    pub(crate) accepted: Vec<(String, String)>,
    /// Sections by name.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
}

/// Name, whether it has escapes, and lines.
type Section<'a> = (String, bool, Vec<&'a str>);

/// What is done.
#[derive(Debug, PartialEq)]
pub(crate) enum Action {
    /// `causeway` with these words.
    Causeway(Vec<String>),
    /// `causeway-cni` with this verb.
    Cni(String),
    /// A key of the live store gets the section `value`.
    Put(Vec<u8>),
    /// The section `manifest.yaml` is put into the live manifest directory, after `before.yaml` where there is one.
    Manifest,
    /// A client file of this name is put beside the others, for the live store.
    Remote(String),
}

// === impl Case ===

impl Case {
    /// Reads a file; `$NAME` in it stands for one of `variables`.
    pub(crate) fn read(path: &Path, variables: &BTreeMap<&str, String>) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("read {}", path.display()))?;
        let part = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = format!("{}/{}", part(path.parent().unwrap_or(path)), part(path));
        Self::parse(&name, &text, variables).with_context(|| name.clone())
    }

    pub(crate) fn parse(name: &str, text: &str, variables: &BTreeMap<&str, String>) -> Result<Self> {
        let mut case = Self {
            name: name.to_owned(),
            action: Action::Manifest,
            env: Vec::new(),
            host: Vec::new(),
            background: None,
            holds: None,
            live: false,
            closed: false,
            exit: None,
            code: None,
            says: Vec::new(),
            accepted: Vec::new(),
            files: BTreeMap::new(),
        };
        let mut action = None;
        let mut section: Option<Section<'_>> = None;
        for line in text.lines() {
            if let Some(title) = line.strip_prefix("-- ").and_then(|rest| rest.strip_suffix(" --")) {
                case.finish(section.take(), variables)?;
                let escaped = title.strip_suffix(" escaped");
                section = Some((escaped.unwrap_or(title).to_owned(), escaped.is_some(), Vec::new()));
                continue;
            }
            if let Some((_, _, lines)) = &mut section {
                lines.push(line);
                continue;
            }
            let line = expand(line, variables)?;
            let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
            match word {
                "" | "#" => {}
                "causeway" => action = Some(Action::Causeway(words(rest, variables)?)),
                "cni" => action = Some(Action::Cni(rest.to_owned())),
                "put" => action = Some(Action::Put(unescape(rest)?)),
                "manifest" => action = Some(Action::Manifest),
                "remote" => action = Some(Action::Remote(rest.to_owned())),
                "env" => {
                    let (key, value) = rest.split_once('=').context("env NAME=VALUE")?;
                    let value = String::from_utf8(unescape(value)?).context("a variable is text")?;
                    case.env.push((key.to_owned(), value));
                }
                "host" => case.host.push(rest.to_owned()),
                "background" => case.background = Some(words(rest, variables)?),
                "holds" => case.holds = Some(rest.to_owned()),
                "live" => case.live = true,
                "closed" => case.closed = true,
                "exit" => case.exit = Some(rest.parse().context("exit NUMBER")?),
                "code" => case.code = Some(rest.parse().context("code NUMBER")?),
                "says" => {
                    Regex::new(rest).context("says REGEX")?;
                    case.says.push(rest.to_owned());
                }
                "accepted" => {
                    let (table, regex) = rest.split_once(' ').context("accepted TABLE REGEX")?;
                    Regex::new(regex).context("accepted TABLE REGEX")?;
                    case.accepted.push((table.to_owned(), regex.to_owned()));
                }
                other => bail!("{other:?} is no directive: see README.md"),
            }
        }
        case.finish(section, variables)?;
        case.action = action.context("nothing is done: causeway, cni, put, manifest or remote")?;
        let runs = matches!(case.action, Action::Causeway(_) | Action::Cni(_));
        ensure!(runs == case.exit.is_some(), "a program, and only a program, has an exit code");
        ensure!(!case.says.is_empty() || !case.accepted.is_empty() || case.exit == Some(0), "nothing is expected");
        Ok(case)
    }

    /// Whether it needs a mesh that runs, or root.
    pub(crate) fn needs_root(&self) -> bool {
        let alone = matches!(&self.action, Action::Causeway(_) | Action::Cni(_))
            && self.host.is_empty()
            && self.background.is_none()
            && self.holds.is_none();
        !alone || self.live
    }

    /// Whether a line of the text is what is expected to be said.
    pub(crate) fn is_said(&self, text: &str) -> bool {
        self.says.is_empty() || text.lines().any(|line| self.says.iter().all(|regex| matches(regex, line)))
    }

    fn finish(&mut self, section: Option<Section<'_>>, variables: &BTreeMap<&str, String>) -> Result<()> {
        let Some((name, escaped, lines)) = section else { return Ok(()) };
        let text = lines.join("\n");
        let bytes = if escaped { unescape(&text)? } else { expand(&text, variables)?.into_bytes() };
        ensure!(self.files.insert(name.clone(), bytes).is_none(), "section {name} stands twice");
        Ok(())
    }
}

/// Whether a regular expression, checked when it was read, is found in a text.
pub(crate) fn matches(regex: &str, text: &str) -> bool {
    Regex::new(regex).is_ok_and(|regex| regex.is_match(text))
}

/// Words between blanks; one in single quotes may hold blanks.
fn words(text: &str, variables: &BTreeMap<&str, String>) -> Result<Vec<String>> {
    let mut found: Vec<String> = Vec::new();
    for (index, piece) in text.split('\'').enumerate() {
        if index % 2 == 1 {
            found.push(String::from_utf8(unescape(piece)?).context("a word is text")?);
            continue;
        }
        for word in piece.split_whitespace() {
            match word {
                // What every agent or operator needs; the words after it win.
                "@agent" | "@operator" => {
                    let flags = variables.get(&word[1..]).with_context(|| format!("{word} is not known here"))?;
                    found.extend(flags.split_whitespace().map(str::to_owned));
                }
                word => found.push(word.to_owned()),
            }
        }
    }
    Ok(found)
}

fn expand(text: &str, variables: &BTreeMap<&str, String>) -> Result<String> {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        let end = after.find(|c: char| !c.is_ascii_uppercase() && c != '_').unwrap_or(after.len());
        let (name, tail) = after.split_at(end);
        match variables.get(name) {
            Some(value) => out.push_str(value),
            // The end of a regular expression, a shell's own variable.
            None => {
                out.push('$');
                out.push_str(name);
            }
        }
        rest = tail;
    }
    out.push_str(rest);
    Ok(out)
}

/// `\n \t \r \0 \\ \xNN`, and `\{text*count}` for many.
fn unescape(text: &str) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        out.extend_from_slice(before.as_bytes());
        let mut length = 1;
        match after.chars().next() {
            Some('n') => out.push(b'\n'),
            Some('t') => out.push(b'\t'),
            Some('r') => out.push(b'\r'),
            Some('0') => out.push(0),
            Some('\\') => out.push(b'\\'),
            Some('x') => {
                let digits = after.get(1..3).context("\\x needs two digits")?;
                out.push(u8::from_str_radix(digits, 16).context("\\x needs two digits")?);
                length = 3;
            }
            Some('{') => {
                let end = after.find('}').context("\\{ needs a }")?;
                let (piece, count) = after[1..end].rsplit_once('*').context("\\{text*count}")?;
                out.extend(unescape(piece)?.repeat(count.parse().context("\\{text*count}")?));
                length = end + 1;
            }
            _ => bail!("unknown escape in {text:?}"),
        }
        rest = &after[length..];
    }
    out.extend_from_slice(rest.as_bytes());
    Ok(out)
}
