//! Steps with marks.

use serde::Serialize;

use crate::output::{Tone, paint, visible};

/// What was found at one store.
#[derive(Serialize)]
pub(super) struct Report {
    name: String,
    steps: Vec<Step>,
}

#[derive(Serialize)]
struct Step {
    part: String,
    mark: Mark,
    text: String,
}

#[derive(Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Mark {
    Good,
    Warning,
    Bad,
}

// === impl Report ===

impl Report {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), steps: Vec::new() }
    }

    pub(super) fn good(&mut self, part: &str, text: impl Into<String>) {
        self.add(part, Mark::Good, text.into());
    }

    pub(super) fn warn(&mut self, part: &str, text: impl Into<String>) {
        self.add(part, Mark::Warning, text.into());
    }

    pub(super) fn bad(&mut self, part: &str, text: impl Into<String>) {
        self.add(part, Mark::Bad, text.into());
    }

    fn add(&mut self, part: &str, mark: Mark, text: String) {
        self.steps.push(Step { part: part.to_owned(), mark, text });
    }

    pub(super) fn failed(&self) -> bool {
        self.steps.iter().any(|step| step.mark == Mark::Bad)
    }

    pub(super) fn text(&self) -> String {
        let mut text = format!("{}:\n", self.name);
        let mut part = "";
        for step in &self.steps {
            if step.part != part {
                part = &step.part;
                text += &format!("  {part}:\n");
            }
            let mark = match step.mark {
                Mark::Good => paint(Tone::Good, "✅"),
                Mark::Warning => paint(Tone::Doubtful, "⚠️ "),
                Mark::Bad => paint(Tone::Bad, "❌"),
            };
            text += &format!("    {mark} {}\n", visible(&step.text));
        }
        text
    }
}
